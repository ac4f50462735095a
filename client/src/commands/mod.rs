//! What each command does. Each takes what it needs and says how it ended.

pub mod add;
mod cluster;
mod edit;
mod progress;
mod rooms;

use jam_proto::event::Entry;
use jam_proto::ids::{EntryId, RoomCode};
use jam_proto::room::{Room, Sounding};
use jam_proto::time::SharedTime;
use jam_proto::wire::v1 as wire;
use serde_json::{Value, json};

use crate::cli::{Options, Verb};
use crate::connection::Cluster;
use crate::error::{Failure, malformed};
use crate::output::Output;

/// Does what the command line says.
pub async fn run(options: &Options, verb: Verb, output: Output) -> Result<(), Failure> {
    match verb {
        Verb::Create { name } => rooms::create(options, &name, output).await,
        Verb::Rename { room, name } => edit::rename(options, &room, name, output).await,
        Verb::Rooms => rooms::list(options, output).await,
        Verb::Status { room } => rooms::status(options, &room, output).await,
        Verb::Queue { room } => rooms::queue(options, &room, output).await,
        Verb::Add(args) => add::add(options, &args, output).await,
        Verb::Play { room } => edit::play(options, &room, output).await,
        Verb::Pause { room } => edit::pause(options, &room, output).await,
        Verb::Seek { room, position } => edit::seek(options, &room, position, output).await,
        Verb::Skip { room, entry } => edit::skip(options, &room, entry.map(EntryId), output).await,
        Verb::Back { room } => edit::back(options, &room, output).await,
        Verb::Remove { room, entry } => edit::remove(options, &room, EntryId(entry), output).await,
        Verb::Move(args) => edit::shift(options, &args, output).await,
        Verb::Clear { room } => edit::clear(options, &room, output).await,
        Verb::Join(args) => crate::join::join(options, args, output).await,
        Verb::Outputs { host } => crate::join::outputs(options, host.as_deref(), output),
        Verb::Calibrate(args) => crate::calibrate::run(options, args, output).await,
        Verb::Cluster(verb) => cluster::run(options, verb, output).await,
    }
}

/// A room as the leader knows it now.
struct View {
    room: Room,
    reply: wire::StatusReply,
}

impl View {
    async fn of(cluster: &mut Cluster, code: &RoomCode) -> Result<Self, Failure> {
        let reply = cluster
            .ask("the room's status", async |door, _| {
                door.rooms().status(wire::StatusRequest { room: code.as_str().to_owned() }).await
            })
            .await?;
        let snapshot = reply.room.as_ref().ok_or_else(|| malformed("a status without a room"))?;
        let room = Room::from_wire(snapshot).map_err(malformed)?;
        Ok(Self { room, reply })
    }

    fn now(&self) -> SharedTime {
        SharedTime(self.reply.shared_time)
    }

    /// Now, or the moment ahead at which all that was acknowledged will have taken effect: a song that was
    /// added just now is in the queue, and `play` names it.
    fn settled(&self) -> SharedTime {
        self.now().max(self.room.last_effective())
    }

    /// What sounds now or, if nothing does, what will once all that was acknowledged has taken effect.
    fn sounding(&self) -> Sounding {
        let now = self.room.at(self.now());
        if now.playing && now.entry.is_some() { now } else { self.room.at(self.settled()) }
    }

    /// The song that whoever sends an edit now hears, and means; if none sounds, the one that will be current.
    fn heard(&self) -> Option<Entry> {
        self.sounding().entry
    }

    /// The song that is shown as current now, whether or not it sounds. Two people who look at it and leave it leave one song.
    fn shown(&self) -> Option<Entry> {
        self.room.at(self.now()).entry.or_else(|| self.room.at(self.settled()).entry)
    }
}

fn entry_json(entry: &Entry) -> Value {
    json!({
        "entry": entry.id.0,
        "track": entry.track.to_string(),
        "title": entry.title,
        "artist": entry.artist,
        "frames": entry.frames,
        "sample_rate": entry.sample_rate,
        "added_by": entry.added_by.as_ref(),
        "album": entry.album,
        "gain_millibels": entry.gain.0,
    })
}
