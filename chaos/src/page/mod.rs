//! What came of a run, for people and for other programs: a page, `result.json`, JUnit.
