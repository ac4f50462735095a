//! Making rooms and looking at them.

use jam_proto::ids::{RoomCode, check_room_name};
use jam_proto::wire::v1 as wire;
use serde_json::{Value, json};

use super::{View, edit, entry_json};
use crate::audio::quality_name;
use crate::cli::Options;
use crate::error::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::text;

/// How often a code may turn out to be taken before something else must be wrong: codes have 59 random bits.
const CODES_TRIED: u32 = 3;

pub(super) async fn create(options: &Options, name: &str, output: Output) -> Result<(), Failure> {
    check_room_name(name)?;
    let mut cluster = options.find().await?;
    let mut session = Session::claim(
        cluster.dialer().world(),
        &options.state_dir()?,
        cluster.id(),
        &options.user()?,
        &format!("create {name}"),
    )?;
    let command = wire::Command {
        kind: Some(wire::command::Kind::Create(wire::CreateRoom { name: name.to_owned() })),
    };
    let made = async {
        // A command line that was left unfinished keeps the code that it had drawn.
        if let Some(settled) = session.resume(&mut cluster, "create").await? {
            return Ok(settled);
        }
        let mut tries_left = CODES_TRIED;
        loop {
            let code = RoomCode::from_random(rand::random());
            tries_left -= 1;
            match session.submit(&mut cluster, "create", &code, command.clone()).await {
                Err(failure) if failure.code() == "room_exists" && tries_left > 0 => {}
                other => return other,
            }
        }
    };
    let made = made.await;
    let made = edit::finish(session, made)?;
    output.show(
        || json!({"room": made.room.as_str(), "name": name}),
        || made.room.as_str().to_owned(),
    );
    Ok(())
}

pub(super) async fn list(options: &Options, output: Output) -> Result<(), Failure> {
    let mut cluster = options.find().await?;
    let reply = cluster
        .ask("the rooms", async |door, _| door.rooms().list_rooms(wire::ListRoomsRequest {}).await)
        .await?;
    if output.is_json() {
        for room in &reply.rooms {
            output.show(|| room_json(room), String::new);
        }
        return Ok(());
    }
    if reply.rooms.is_empty() {
        output.remark("no rooms yet; `jam create NAME` makes one");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = reply
        .rooms
        .iter()
        .map(|room| {
            let state = if room.playing { "▶" } else { "⏸" };
            vec![
                room.code.clone(),
                format!("{state} {}", text::clean(&room.name)),
                text::count(room.entries as usize, "song"),
                text::count(room.listeners as usize, "listener"),
            ]
        })
        .collect();
    output.show(|| Value::Null, || text::table(&rows));
    Ok(())
}

fn room_json(room: &wire::RoomSummary) -> Value {
    json!({
        "room": room.code,
        "name": room.name,
        "playing": room.playing,
        "entries": room.entries,
        "listeners": room.listeners,
    })
}

pub(super) async fn queue(
    options: &Options,
    room: &RoomCode,
    output: Output,
) -> Result<(), Failure> {
    let view = View::of(&mut options.find().await?, room).await?;
    let entries = view.room.queue_at(view.settled());
    if output.is_json() {
        for entry in &entries {
            output.show(|| entry_json(entry), String::new);
        }
        return Ok(());
    }
    if entries.is_empty() {
        output.remark("the queue is empty; `jam add` puts songs into it");
        return Ok(());
    }
    let sounding = view.room.at(view.settled());
    output.show(
        || Value::Null,
        || text::queue(&entries, sounding.entry.map(|entry| entry.id), sounding.playing),
    );
    Ok(())
}

pub(super) async fn status(
    options: &Options,
    room: &RoomCode,
    output: Output,
) -> Result<(), Failure> {
    let view = View::of(&mut options.find().await?, room).await?;
    output.show(|| status_json(&view), || status_text(&view));
    Ok(())
}

fn status_json(view: &View) -> Value {
    let sounding = view.sounding();
    let entry = sounding.entry.as_ref();
    let queue: Vec<Value> = view.room.queue_at(view.settled()).iter().map(entry_json).collect();
    let listeners: Vec<Value> = view.reply.listeners.iter().map(listener_json).collect();
    json!({
        "room": view.room.code().as_str(),
        "name": view.room.name(),
        "revision": view.room.revision().0,
        "playing": sounding.playing,
        "silent_because": why_silent(view),
        "entry": entry.map(|entry| entry.id.0),
        "track": entry.map(|entry| entry.track.to_string()),
        "title": entry.map(|entry| &entry.title),
        "artist": entry.map(|entry| &entry.artist),
        "frame": entry.map(|entry| sounding.position.as_frames(entry.sample_rate)),
        "frames": entry.map(|entry| entry.frames),
        "sample_rate": entry.map(|entry| entry.sample_rate),
        "shared_time_ns": view.now().as_nanos(),
        "leader": view.reply.leader,
        "term": view.reply.term,
        "epoch": view.reply.epoch,
        "queue": queue,
        "listeners": listeners,
    })
}

fn listener_json(listener: &wire::Listener) -> Value {
    json!({
        "user": listener.user,
        "device": listener.device,
        "state": listener.state,
        "offset_error_ns": listener.offset_error_ns,
        "rtt_ns": listener.rtt_ns,
        "buffer_ms": listener.buffer_ms,
        "underruns": listener.underruns,
        "silences": listener.silences,
        "silent_ns": listener.silent_ns,
        "quality": listener.kbps.map(quality_name),
    })
}

fn why_silent(view: &View) -> Option<String> {
    let sounding = view.sounding();
    text::silence(sounding.playing, sounding.entry.is_some(), view.room.stopped())
}

fn status_text(view: &View) -> String {
    let sounding = view.sounding();
    let mut out = format!("{}  {}\n", text::clean(view.room.name()), view.room.code());
    match (&sounding.entry, why_silent(view)) {
        (Some(entry), why) => {
            let mark = if sounding.playing { "▶" } else { "⏸" };
            let (at, length) = (text::clock(sounding.position), text::clock(entry.length()));
            out += &format!(
                "{mark} {}  {at} / {length}  added by {}\n",
                text::entry_song(entry),
                text::clean(&entry.added_by)
            );
            if let Some(why) = why {
                out += &format!("  silent: {why}\n");
            }
        }
        (None, why) => out += &format!("  silent: {}\n", why.unwrap_or_default()),
    }
    let queue = view.room.queue_at(view.settled());
    let current = sounding.entry.as_ref().map(|entry| entry.id);
    let upcoming: Vec<_> = queue.into_iter().filter(|entry| Some(entry.id) != current).collect();
    if upcoming.is_empty() {
        out += "\nNothing comes after it.\n";
    } else {
        out += &format!(
            "\nNext ({}):\n{}\n",
            text::count(upcoming.len(), "song"),
            text::queue(&upcoming, None, false)
        );
    }
    out += "\n";
    if view.reply.listeners.is_empty() {
        out += "Nobody is listening; `jam join` does.";
    } else {
        let rows: Vec<Vec<String>> = view.reply.listeners.iter().map(listener_row).collect();
        out += &format!("Here ({}):\n{}", view.reply.listeners.len(), text::table(&rows));
    }
    out
}

fn listener_row(listener: &wire::Listener) -> Vec<String> {
    vec![
        format!("  {}", text::clean(&listener.user)),
        text::clean(&listener.state),
        text::error(listener.offset_error_ns),
        format!("rtt {:.1} ms", listener.rtt_ns as f64 / 1e6),
        text::count(listener.underruns as usize, "underrun"),
        text::gaps(listener.silences, listener.silent_ns),
        listener.kbps.map(quality_name).unwrap_or_default(),
        text::clean(&listener.device),
    ]
}
