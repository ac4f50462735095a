//! Heartbeats to one node, on a call that stays open: each is a message on it, and its answer another.

use jam_proto::wire::peer::v1::RaftMessage;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// With so many heartbeats that the connection does not take, it is given up.
pub const HEARTBEATS_OPEN_MAX: usize = 8;

/// The open call.
pub struct Pulse {
    /// To the other node.
    pub requests: mpsc::Sender<RaftMessage>,
    /// From there.
    pub answers: Streaming<RaftMessage>,
    /// Heartbeats that were sent and not answered. Those before the last one count no more: an answer
    /// proves that the leader was heard when its own question was sent, and no later.
    pub open: usize,
}

impl Pulse {
    /// The answer to `request`. May be given up at any time: the answer is passed over later.
    pub async fn ask(&mut self, request: RaftMessage) -> Result<RaftMessage, Status> {
        let gone = || Status::unavailable("the stream of heartbeats has ended");
        self.requests.try_send(request).map_err(|_| gone())?;
        self.open += 1;
        loop {
            let answer = self.answers.message().await?.ok_or_else(gone)?;
            self.open -= 1;
            if self.open == 0 {
                return Ok(answer);
            }
        }
    }
}
