//! What a history does not tell of its run.

use serde::{Deserialize, Serialize};

/// What the report tells beside the history and its verdicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The scenario's name.
    pub scenario: String,
    /// What it is for, one sentence.
    pub purpose: String,
    /// Of all that was drawn.
    pub seed: u64,
    /// How long the run was, s.
    pub seconds: f64,
    /// When it began, RFC 3339. None: it has no date, as a simulation.
    pub started_at: Option<String>,
    /// The one command that repeats it.
    pub again: String,
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Clients that edit.
    pub clients: u64,
    /// Clients that listen.
    pub listeners: u64,
    /// Of programs and machines: a name and its version.
    pub versions: Vec<(String, String)>,
    /// Files beside the report.
    pub links: Vec<Link>,
    /// What the machine could not do, a sentence each. The run did without.
    pub could_not: Vec<String>,
    /// What should have been judged beside the history and could not be, a sentence each: no pass.
    pub untold: Vec<String>,
    /// What was measured beside the history.
    pub figures: Vec<Figure>,
}

/// A file beside the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is, for people.
    pub text: String,
    /// Its path from the report's folder on, parts with `/` between.
    pub path: String,
}

/// Something that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// How much, in `unit`.
    pub value: f64,
    /// Such as `ms`; may be empty.
    pub unit: String,
    /// How much is allowed, for people. None: no budget.
    pub budget: Option<String>,
    /// Whether that was kept. A budget that was not kept breaks the run as a promise would. None: not judged.
    pub held: Option<bool>,
}

impl Figure {
    /// It is over its budget.
    pub(super) fn missed(&self) -> bool {
        self.held == Some(false)
    }

    /// Its value with the unit.
    pub(super) fn text(&self) -> String {
        let value = super::text::short(self.value);
        if self.unit.is_empty() { value } else { format!("{value} {}", self.unit) }
    }
}
