//! Records as people read them, and the part of a history that shows something.

use std::collections::BTreeSet;
use std::fmt;

use jam_proto::wire::log::v1::{LogBatch, log_entry::Op};
use jam_proto::wire::v1::{Command, RoomSnapshot, SubmitReply};
use prost::Message;

use super::words::{command_text, members_text};
use super::{
    Answer, Entry, Got, Hex, History, ListenerSample, Phase, Record, Request, Sound, Stop, Stretch,
    What,
};

impl History {
    /// The records at `places` and `around` more before and after each, a line a record; those that were
    /// named are marked.
    pub fn excerpt(&self, places: &[usize], around: usize) -> String {
        let named: BTreeSet<usize> = places.iter().copied().collect();
        let end = self.records.len();
        let shown: BTreeSet<usize> = named
            .iter()
            .flat_map(|&place| place.saturating_sub(around)..(place + around + 1).min(end))
            .collect();
        let mut text = String::new();
        let mut before = None;
        for place in shown {
            if before.is_some_and(|before: usize| before + 1 != place) {
                text.push_str("  …\n");
            }
            before = Some(place);
            let mark = if named.contains(&place) { '>' } else { ' ' };
            text.push_str(&format!("{mark} #{place} {}\n", self.records[place]));
        }
        text
    }
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.6} s  {}", self.at_ns as f64 * 1e-9, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invoked { client, op, request } => {
                write!(out, "{client} asks {request} (op {op})")
            }
            Self::Answered { op, answer } => write!(out, "op {op} is answered: {answer}"),
            Self::Applied { node, life, index, term, entry } => {
                write!(out, "node {node} (life {life}) applied {index} of term {term}: {entry}")
            }
            Self::Installed { node, life, index, term } => {
                write!(
                    out,
                    "node {node} (life {life}) took over a snapshot up to {index} of term {term}"
                )
            }
            Self::Digest { node, life, index, digest } => {
                write!(out, "node {node} (life {life}) is {digest} at {index}")
            }
            Self::Started { node, life } => write!(out, "node {node} starts (life {life})"),
            Self::Stopped { node, life, how } => {
                write!(out, "node {node} (life {life}) ends: {how}")
            }
            Self::Leads { node, life, term } => {
                write!(out, "node {node} (life {life}) leads in term {term}")
            }
            Self::Watch { watcher, node, room, after } => {
                write!(
                    out,
                    "watcher {watcher} asks node {node} for room {room} after revision {after}"
                )
            }
            Self::Watched { watcher, got } => write!(out, "watcher {watcher} gets {got}"),
            Self::WatchEnded { watcher, why } => {
                write!(out, "watcher {watcher}'s stream ends: {why}")
            }
            Self::Time(sample) => {
                let leads = if sample.leads { ", leading" } else { "" };
                let (node, term, epoch) = (sample.node, sample.term, sample.epoch);
                write!(
                    out,
                    "node {node} says {} (term {term}, epoch {epoch}{leads})",
                    sample.shared
                )
            }
            Self::Heard(stretch) => {
                let Stretch { listener, from_ns, until_ns, sound, .. } = stretch;
                let secs = |ns: &i64| *ns as f64 * 1e-9;
                write!(
                    out,
                    "{listener} heard from {:.6} to {:.6} s ",
                    secs(from_ns),
                    secs(until_ns)
                )?;
                match sound {
                    Sound::Silence => out.write_str("nothing"),
                    Sound::Other => out.write_str("something"),
                    Sound::Song { track, from_ns, until_ns } => {
                        let (from, until) = (secs(from_ns), secs(until_ns));
                        write!(out, "song {track} from {from:.6} to {until:.6} s")
                    }
                }
            }
            Self::Listens(sample) => {
                let ListenerSample { listener, state, revision, shared, bound_ns, epoch, .. } =
                    sample;
                write!(out, "{listener} says: {state} at revision {revision}, ")?;
                match shared {
                    Some(shared) => {
                        write!(out, "it is {shared} in epoch {epoch}, to {bound_ns} ns")
                    }
                    None => out.write_str("no time"),
                }
            }
            Self::Fetched { node, track, wrong } => {
                let wrong = wrong.as_deref().unwrap_or("whole");
                write!(out, "song {} from node {node}: {wrong}", track.short())
            }
            Self::Panicked { process, said } => write!(out, "{process} panicked: {said}"),
            Self::Impostor { what, said: Some(said) } => write!(out, "{what} ended: {said}"),
            Self::Impostor { what, said: None } => write!(out, "{what} still runs"),
            Self::Damaged { place, what } => write!(out, "disk of n{place} damaged: {what}"),
            Self::Stalled { from_ns, until_ns } => {
                let lasted_ms = (until_ns - from_ns) as f64 * 1e-6;
                write!(out, "the machine stalled for {lasted_ms:.1} ms")
            }
            Self::FaultBegun { fault, text, affects } => {
                write!(out, "fault {fault} begins: {text} ({})", affects.join(", "))
            }
            Self::FaultHealed { fault } => write!(out, "fault {fault} is healed"),
            Self::Phase(phase) => write!(out, "phase: {phase}"),
            Self::Sometimes { name } => write!(out, "sometimes: {name}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { session, user } => {
                write!(out, "for session {} of {user}", session.short())
            }
            Self::Command { session, number, room, command } => {
                let session = session.short();
                write!(out, "for command {number} of session {session} in {room}: ")?;
                match Command::decode(command.0.as_slice()).ok().and_then(|command| command.kind) {
                    Some(kind) => out.write_str(&command_text(&kind)),
                    None => out.write_str("nothing that can be decoded"),
                }
            }
            Self::Upload { track } => write!(out, "to keep song {}", track.short()),
            Self::Read { room } => write!(out, "for the state of {room}"),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => out.write_str("it was told to"),
            Self::Failed { why } => write!(out, "it could not go on: {why}"),
            Self::Crash => out.write_str("it was killed"),
            Self::Power => out.write_str("its machine lost power"),
            Self::Wiped => out.write_str("its disk is gone"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
            Self::Healed => "healed",
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => out.write_str("the session is open"),
            Self::Reply(reply) => match SubmitReply::decode(reply.0.as_slice()) {
                Ok(reply) => out.write_str(&reply_text(&reply)),
                Err(_) => out.write_str("a reply that can't be decoded"),
            },
            Self::Stored => out.write_str("the song is kept"),
            Self::Room { revision, digest } => {
                write!(out, "revision {revision}, which is {digest}")
            }
            Self::NoRoom => out.write_str("there is no such room"),
            Self::Refused { code } => write!(out, "refused, {code}"),
            Self::Unknown => out.write_str("the outcome is unknown"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => out.write_str("a blank"),
            Self::Membership(text) => out.write_str(&members_text(text)),
            Self::Batch(bytes) => match LogBatch::decode(bytes.0.as_slice()) {
                Ok(batch) => {
                    let ops = batch.entries.iter().map(|entry| op_text(entry.op.as_ref()));
                    out.write_str(&ops.collect::<Vec<_>>().join("; "))
                }
                Err(_) => out.write_str("a batch that can't be decoded"),
            },
        }
    }
}

impl fmt::Display for Got {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(bytes) => match RoomSnapshot::decode(bytes.0.as_slice()) {
                Ok(room) => {
                    write!(out, "a snapshot of {} at revision {}", room.code, room.revision)
                }
                Err(_) => out.write_str("a snapshot that can't be decoded"),
            },
            Self::Events(events) => {
                let revisions: Vec<String> = events
                    .iter()
                    .map(|event| jam_proto::wire::v1::Event::decode(event.0.as_slice()))
                    .map(|event| event.map_or("?".to_owned(), |event| event.revision.to_string()))
                    .collect();
                write!(out, "events {}", revisions.join(", "))
            }
            Self::Progress { revision, applied } => {
                write!(out, "a mark: revision {revision}, all up to log index {applied}")
            }
        }
    }
}

/// A reply in a few words.
pub(crate) fn reply_text(reply: &SubmitReply) -> String {
    let revision = reply.revision;
    match &reply.rejection {
        Some(rejection) => format!("rejected at revision {revision}, {}", rejection.code),
        None if reply.entry != 0 => format!("done, revision {revision}, entry {}", reply.entry),
        None => format!("done, revision {revision}"),
    }
}

fn op_text(op: Option<&Op>) -> String {
    match op {
        Some(Op::OpenSession(open)) => {
            format!("session {} opens", Hex(open.session.clone()).short())
        }
        Some(Op::Command(command)) => {
            let session = Hex(command.session.clone()).short();
            format!("command {} of session {session} in {}", command.number, command.room)
        }
        Some(Op::RegisterTrack(_)) => "a song is registered".to_owned(),
        Some(Op::ForgetTrack(_)) => "a song is forgotten".to_owned(),
        Some(Op::RaiseLevel(raise)) => format!("the feature level rises to {}", raise.level),
        Some(Op::TimeMark(_)) => "the time is marked".to_owned(),
        Some(Op::MarkLost(_)) => "a song is marked as lost".to_owned(),
        Some(Op::SetDerived(_)) => "a song is rendered".to_owned(),
        Some(Op::ClockEpoch(epoch)) => {
            format!("clock epoch {} of node {} in term {}", epoch.epoch, epoch.node, epoch.term)
        }
        Some(Op::PauseUnheard(pause)) => format!("{} pauses, nobody listens", pause.room),
        Some(Op::ReplaceNode(replace)) => format!("place {} gets a new node", replace.node),
        None => "nothing".to_owned(),
    }
}
