//! The report of small stories.
