//! Commands that change a room by one edit. Those that are about the current song look first which one their user hears,
//! and name it: if the room has moved on by the time that they take effect, nothing happens and the user hears why.

use jam_proto::event::Entry;
use jam_proto::ids::{EntryId, RoomCode, check_room_name};
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::command::Kind;
use serde_json::json;

use super::View;
use crate::cli::{MoveArgs, Options};
use crate::connection::Cluster;
use crate::error::Failure;
use crate::output::Output;
use crate::session::{Session, Settled};
use crate::text;

/// The only step of a command line with one edit.
const STEP: &str = "edit";

pub(super) async fn play(
    options: &Options,
    room: &RoomCode,
    output: Output,
) -> Result<(), Failure> {
    let kind = |entry| Ok(Kind::Play(wire::Play { entry: or_none(entry) }));
    current(options, room, "play", "playing", output, View::heard, kind).await
}

pub(super) async fn pause(
    options: &Options,
    room: &RoomCode,
    output: Output,
) -> Result<(), Failure> {
    let kind = |entry| Ok(Kind::Pause(wire::Pause { entry: or_none(entry) }));
    current(options, room, "pause", "paused", output, View::heard, kind).await
}

pub(super) async fn back(
    options: &Options,
    room: &RoomCode,
    output: Output,
) -> Result<(), Failure> {
    let kind = |entry| Ok(Kind::Back(wire::Back { entry: or_none(entry) }));
    current(options, room, "back", "went back from", output, View::shown, kind).await
}

pub(super) async fn seek(
    options: &Options,
    room: &RoomCode,
    position: Flicks,
    output: Output,
) -> Result<(), Failure> {
    let done = format!("at {} of", text::clock(position));
    let kind = |entry: Option<EntryId>| {
        let entry = entry.ok_or_else(|| nothing_current("seek in"))?;
        Ok(Kind::Seek(wire::Seek { entry: entry.0, position: position.0 }))
    };
    let intent = format!("seek {}", position.0);
    current(options, room, &intent, &done, output, View::heard, kind).await
}

pub(super) async fn skip(
    options: &Options,
    room: &RoomCode,
    entry: Option<EntryId>,
    output: Output,
) -> Result<(), Failure> {
    if let Some(entry) = entry {
        // The user says which, so there is nothing to look up.
        let kind = Kind::Skip(wire::Skip { entry: entry.0 });
        return named(options, room, &format!("skip {entry}"), kind, "skipped", output).await;
    }
    let kind = |entry: Option<EntryId>| {
        let entry = entry.ok_or_else(|| nothing_current("skip"))?;
        Ok(Kind::Skip(wire::Skip { entry: entry.0 }))
    };
    current(options, room, "skip", "skipped", output, View::shown, kind).await
}

pub(super) async fn remove(
    options: &Options,
    room: &RoomCode,
    entry: EntryId,
    output: Output,
) -> Result<(), Failure> {
    let kind = Kind::Remove(wire::RemoveEntry { entry: entry.0 });
    named(options, room, &format!("remove {entry}"), kind, "removed", output).await
}

pub(super) async fn shift(
    options: &Options,
    args: &MoveArgs,
    output: Output,
) -> Result<(), Failure> {
    let before = match (args.before, args.to_end) {
        (Some(before), false) => before,
        (None, true) => 0,
        _ => return Err(Failure::Usage("say where to: --before ENTRY or --to-end".into())),
    };
    let kind = Kind::Move(wire::MoveEntry { entry: args.entry, before });
    named(options, &args.room, &format!("move {} {before}", args.entry), kind, "moved", output)
        .await
}

pub(super) async fn clear(
    options: &Options,
    room: &RoomCode,
    output: Output,
) -> Result<(), Failure> {
    named(options, room, "clear", Kind::Clear(wire::ClearQueue {}), "cleared", output).await
}

pub(super) async fn rename(
    options: &Options,
    room: &RoomCode,
    name: String,
    output: Output,
) -> Result<(), Failure> {
    check_room_name(&name)?;
    let (intent, done) = (format!("rename {name}"), format!("the room is now {name}"));
    let kind = Kind::Rename(wire::RenameRoom { name });
    named(options, room, &intent, kind, &done, output).await
}

/// An edit that names all it means.
async fn named(
    options: &Options,
    room: &RoomCode,
    intent: &str,
    kind: Kind,
    done: &str,
    output: Output,
) -> Result<(), Failure> {
    let mut cluster = options.find().await?;
    let mut session = claim(options, &cluster, room, intent)?;
    let settled = match session.resume(&mut cluster, STEP).await {
        Ok(None) => {
            session.submit(&mut cluster, STEP, room, wire::Command { kind: Some(kind) }).await
        }
        Ok(Some(settled)) => Ok(settled),
        Err(failure) => Err(failure),
    };
    let settled = finish(session, settled)?;
    show(room, &settled, None, done, output);
    Ok(())
}

/// An edit of the song that `which` picks from the room as it is now.
async fn current(
    options: &Options,
    room: &RoomCode,
    intent: &str,
    done: &str,
    output: Output,
    which: impl Fn(&View) -> Option<Entry>,
    to_kind: impl Fn(Option<EntryId>) -> Result<Kind, Failure>,
) -> Result<(), Failure> {
    let mut cluster = options.find().await?;
    let mut session = claim(options, &cluster, room, intent)?;
    let edited = async {
        // What an earlier run had sent was about the song of that moment.
        if let Some(settled) = session.resume(&mut cluster, STEP).await? {
            return Ok((settled, None));
        }
        let view = View::of(&mut cluster, room).await?;
        let entry = which(&view);
        let named = entry.as_ref().map(|entry| entry.id);
        let command = wire::Command { kind: Some(to_kind(named)?) };
        let settled = session.submit(&mut cluster, STEP, room, command).await?;
        Ok((settled, entry.as_ref().map(text::entry_song)))
    };
    let edited = edited.await;
    let (settled, song) = finish(session, edited)?;
    show(room, &settled, song.as_deref(), done, output);
    Ok(())
}

fn claim(
    options: &Options,
    cluster: &Cluster,
    room: &RoomCode,
    intent: &str,
) -> Result<Session, Failure> {
    Session::claim(
        cluster.dialer().world(),
        &options.state_dir()?,
        cluster.id(),
        &options.user()?,
        &format!("{room} {intent}"),
    )
}

/// Ends the command line, unless it shall be run again.
pub(super) fn finish<T>(session: Session, result: Result<T, Failure>) -> Result<T, Failure> {
    match result {
        Err(unknown @ Failure::Unknown { .. }) => Err(unknown),
        Err(failure) => {
            session.finish()?;
            Err(failure)
        }
        Ok(value) => {
            session.finish()?;
            Ok(value)
        }
    }
}

fn show(room: &RoomCode, settled: &Settled, song: Option<&str>, done: &str, output: Output) {
    let reply = &settled.reply;
    output.show(
        || {
            json!({
                "room": room.as_str(),
                "revision": reply.revision,
                "effective_at_ns": SharedTime(reply.effective_at).as_nanos(),
                "repeated": settled.earlier,
            })
        },
        || {
            let song = song.map(|song| format!(" {song}")).unwrap_or_default();
            let earlier = if settled.earlier { " (by the run before this one)" } else { "" };
            format!("{done}{song}{earlier}")
        },
    );
}

fn nothing_current(what: &str) -> Failure {
    Failure::refused(
        "not_current",
        format!("there is nothing to {what}: the queue is dry; add a song first"),
    )
}

fn or_none(entry: Option<EntryId>) -> u64 {
    entry.map_or(0, |entry| entry.0)
}
