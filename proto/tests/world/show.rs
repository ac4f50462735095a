//! How things look in a story.

use jam_proto::command::{Reply, clock_text};
use jam_proto::event::{Entry, Event, EventKind};
use jam_proto::ids::EntryId;
use jam_proto::room::{LastAction, Room, Sounding};
use jam_proto::shard::Outcome;
use jam_proto::time::{FLICKS_PER_SECOND, SharedTime};

pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Command(answer) => reply(answer),
        Outcome::Track(track) => {
            format!("{} has {} frames at {}", track.title, track.frames, track.sample_rate)
        }
        Outcome::SessionOpened { existed: Some(true) } => "the session was open already".into(),
        Outcome::Level(level) => format!("feature level {level}"),
        Outcome::Node(node) => format!("node {node} takes the place"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn reply(reply: &Reply) -> String {
    let revision = reply.revision.0;
    if let Some(rejection) = &reply.rejection {
        return format!("refused at revision {revision}: {}: {rejection}", rejection.code());
    }
    let entry = reply.entry.map_or(String::new(), |entry| format!(", entry {entry}"));
    format!("ok: revision {revision}{entry}, from {}", time(reply.effective_at))
}

pub fn event(event: &Event) -> String {
    let by = if event.by.is_empty() { "the cluster" } else { &event.by };
    let did = match &event.kind {
        EventKind::Created { name, .. } => format!("created {name}"),
        EventKind::Enqueued { entry: new, before } => {
            format!("queued {} {}", entry(new), place(*before))
        }
        EventKind::Removed { entry } => format!("removed entry {entry}"),
        EventKind::Moved { entry, before } => format!("moved entry {entry} {}", place(*before)),
        EventKind::Cleared => "cleared the queue".into(),
        EventKind::Played => "started the clock".into(),
        EventKind::Paused { nobody_listening: false } => "stopped the clock".into(),
        EventKind::Paused { nobody_listening: true } => "stopped the clock: nobody listens".into(),
        EventKind::Sought { entry, position } => {
            format!("moved to {} in entry {entry}", clock_text(*position))
        }
        EventKind::Skipped { entry } => format!("skipped entry {entry}"),
        EventKind::WentBack { entry } => format!("went back to entry {entry}"),
        EventKind::Renamed { name } => format!("renamed the room {name}"),
        EventKind::EpochBumped { epoch, floor } => {
            format!("began epoch {epoch}: time stood still from {}", time(*floor))
        }
    };
    format!("event {} from {}: {by} {did}", event.revision.0, time(event.effective_at))
}

pub fn sounding(sounding: &Sounding) -> String {
    let until = sounding.until.map_or("for ever".into(), |until| format!("until {}", time(until)));
    let clock = if sounding.playing { "playing" } else { "paused" };
    match &sounding.entry {
        Some(entry) => {
            let (position, rate) = (sounding.position, entry.sample_rate);
            let title = &entry.title;
            let frame = position.as_frames(rate);
            format!(
                "{title} at {} (frame {frame} at {rate}), {clock} {until}",
                clock_text(position)
            )
        }
        None => format!("nothing, {clock} {until}"),
    }
}

pub fn entry(entry: &Entry) -> String {
    format!("{}. {} ({}, {})", entry.id, entry.title, clock_text(entry.length()), entry.added_by)
}

pub fn gain(entry: &Entry) -> String {
    format!("{}. {} {:+.2} dB", entry.id, entry.title, f64::from(entry.gain.0) / 100.0)
}

pub fn start(start: Option<SharedTime>, next: &Entry) -> String {
    let start = start.map_or("waits".into(), |start| format!("at {}", time(start)));
    format!("{start}: {}", entry(next))
}

pub fn who(room: &Room) -> Vec<String> {
    let line = |label, action: Option<&LastAction>| {
        let did = action.map_or("nobody".into(), |LastAction { by, what, at }| {
            let by = if by.is_empty() { "the cluster" } else { by };
            format!("{by} {} from {}", what.as_str(), time(*at))
        });
        format!("{label}: {did}")
    };
    vec![line("last", room.last_action()), line("stopped", room.stopped())]
}

fn place(before: Option<EntryId>) -> String {
    before.map_or("at the end".into(), |before| format!("before entry {before}"))
}

/// Seconds to the millisecond, and the flicks beyond.
fn time(time: SharedTime) -> String {
    let per_milli = FLICKS_PER_SECOND / 1000;
    let (millis, flicks) = (time.0.div_euclid(per_milli), time.0.rem_euclid(per_milli));
    let beyond = if flicks == 0 { String::new() } else { format!("+{flicks}") };
    format!("{}.{:03}{beyond}", millis.div_euclid(1000), millis.rem_euclid(1000))
}
