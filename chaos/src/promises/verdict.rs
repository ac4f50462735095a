//! What a judge says.

use std::fmt;

use serde::Serialize;

/// How a run stands against one promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was kept, as far as the history goes.
    Held {
        /// How much was judged; of what, each promise has its own word for.
        judged: usize,
    },
    /// It was broken, and this shows it.
    Violated(Vec<Finding>),
    /// It can't be told, for these reasons, one sentence each. No pass.
    Inconclusive(Vec<String>),
}

/// Something that breaks a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// One sentence.
    pub what: String,
    /// The records that show it: their places in the history, in order.
    pub shown_by: Vec<usize>,
}

/// A bug breaks a promise again and again: so many findings say all that is to say.
const FINDINGS_MAX: usize = 16;

/// What a judge has found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    more: usize,
    open: Vec<String>,
    judged: usize,
}

impl Findings {
    /// The promise is broken.
    pub fn broken(&mut self, what: String, shown_by: impl IntoIterator<Item = usize>) {
        if self.found.len() == FINDINGS_MAX {
            self.more += 1;
            return;
        }
        let mut shown_by: Vec<usize> = shown_by.into_iter().collect();
        shown_by.sort_unstable();
        shown_by.dedup();
        self.found.push(Finding { what, shown_by });
    }

    /// This can't be judged.
    pub fn open(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.open.contains(&why) {
            self.open.push(why);
        }
    }

    /// Something was judged, whatever came out.
    pub fn judged(&mut self) {
        self.judged += 1;
    }

    /// The verdict; `without` says what it means that nothing was judged at all.
    pub fn verdict(mut self, without: &str) -> Verdict {
        // What was evident first comes first.
        self.found.sort_by_key(|finding| finding.shown_by.last().copied());
        if self.more > 0 {
            let what = format!("and {} more like these", self.more);
            self.found.push(Finding { what, shown_by: Vec::new() });
        }
        if !self.found.is_empty() {
            return Verdict::Violated(self.found);
        }
        if self.judged == 0 && self.open.is_empty() {
            self.open(without);
        }
        match self.open.is_empty() {
            true => Verdict::Held { judged: self.judged },
            false => Verdict::Inconclusive(self.open),
        }
    }
}

impl Verdict {
    /// Whether the promise was kept.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { judged } => write!(out, "held ({judged} judged)"),
            Self::Violated(findings) => {
                out.write_str("BROKEN")?;
                findings.iter().try_for_each(|finding| write!(out, "\n  {finding}"))
            }
            Self::Inconclusive(why) => write!(out, "can't be told: {}", why.join("; ")),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)?;
        let places: Vec<String> = self.shown_by.iter().map(|place| format!("#{place}")).collect();
        if places.is_empty() { Ok(()) } else { write!(out, " [{}]", places.join(" ")) }
    }
}

/// What a test wants to see.
#[cfg(test)]
impl Verdict {
    /// The findings' sentences.
    pub fn sentences(&self) -> Vec<&str> {
        match self {
            Self::Violated(findings) => {
                findings.iter().map(|finding| finding.what.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Panics unless the promise was kept.
    #[track_caller]
    pub fn assert_held(&self) {
        assert!(self.is_held(), "{self}");
    }

    /// Panics unless a finding's sentence has `part` in it, and names records.
    #[track_caller]
    pub fn assert_broken(&self, part: &str) {
        let Self::Violated(findings) = self else { panic!("expected '{part}', but: {self}") };
        let found = findings.iter().find(|finding| finding.what.contains(part));
        let found = found.unwrap_or_else(|| panic!("expected '{part}', but: {self}"));
        assert!(!found.shown_by.is_empty(), "nothing shows it: {found}");
    }

    /// Panics unless it is inconclusive and a reason has `part` in it.
    #[track_caller]
    pub fn assert_open(&self, part: &str) {
        let Self::Inconclusive(why) = self else { panic!("expected '{part}', but: {self}") };
        assert!(why.iter().any(|why| why.contains(part)), "expected '{part}', but: {self}");
    }
}
