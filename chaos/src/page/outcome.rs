//! How a whole run stands.

use super::Facts;
use crate::promises::all::Judged;
use crate::promises::verdict::Verdict;

/// How a run stands: the worst of its promises and budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every promise was kept.
    Held,
    /// One was broken, or a figure is over its budget.
    Broken,
    /// None was broken, but some can't be told. No pass.
    Inconclusive,
}

impl Outcome {
    /// Of a run.
    pub fn of(facts: &Facts, judged: &Judged) -> Self {
        if judged.broken() || facts.figures.iter().any(super::Figure::missed) {
            Self::Broken
        } else if judged.held() && facts.untold.is_empty() {
            Self::Held
        } else {
            Self::Inconclusive
        }
    }

    /// `held`, `broken` or `inconclusive`: for scripts, and as a class of the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "broken",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// For those who don't see colours.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Held => "✓",
            Self::Broken => "✗",
            Self::Inconclusive => "?",
        }
    }

    /// After Jepsen's.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Broken => 1,
            Self::Inconclusive => 2,
        }
    }
}

impl From<&Verdict> for Outcome {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Held { .. } => Self::Held,
            Verdict::Violated(_) => Self::Broken,
            Verdict::Inconclusive(_) => Self::Inconclusive,
        }
    }
}
