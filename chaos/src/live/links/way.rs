//! What may be wrong with one direction of a link.

use serde::{Deserialize, Serialize};

/// Whether bytes pass at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// They pass.
    #[default]
    Open,
    /// They are kept, and delivered in order once the gate opens: a partition that ends before TCP gives up.
    Hold,
    /// They are swallowed, and so are ends of connections.
    Blackhole,
}

/// One direction of a link. What is 0 does not apply; the default is a healthy one.
///
/// Limits hold for each connection by itself, stalls for all connections of the link at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Way {
    /// Whether bytes pass at all.
    pub gate: Gate,
    /// Everything arrives so much later.
    pub delay_ms: u64,
    /// And up to so much later than that, evenly drawn. Order is kept.
    pub jitter_ms: u64,
    /// Once in so long a time, at a drawn moment of it, nothing passes for `stall_ms`.
    pub stall_every_ms: u64,
    /// How long nothing passes; at most `stall_every_ms`.
    pub stall_ms: u64,
    /// Bandwidth.
    pub bytes_per_sec: u64,
    /// Bytes come in pieces of at most so many, a millisecond apart.
    pub slice_bytes: u64,
}

impl Way {
    /// Nothing passes, and nothing is kept.
    pub fn blackhole() -> Self {
        Self { gate: Gate::Blackhole, ..Self::default() }
    }

    /// Nothing passes, all is kept.
    pub fn hold() -> Self {
        Self { gate: Gate::Hold, ..Self::default() }
    }

    /// All passes, later.
    pub fn delay(delay_ms: u64, jitter_ms: u64) -> Self {
        Self { delay_ms, jitter_ms, ..Self::default() }
    }

    /// Bytes pass as they come: no clock is needed.
    pub(super) fn is_prompt(&self) -> bool {
        *self == Self::default()
    }
}
