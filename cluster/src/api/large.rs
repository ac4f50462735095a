//! Answers with a whole room, or with all rooms, in pieces.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use jam_proto::room::{Parts, Room};
use jam_proto::shard::Shard;
use jam_proto::time::SharedTime;
use jam_proto::wire::v1::{ListRoomsReply, RoomSummary};
use jam_world::World;
use prost::Message as _;
use tokio::sync::Semaphore;

use super::encodings::Encodings;
use crate::answers::{Message, cut};
use crate::lines::Line;
use crate::presence::Presence;

/// `WatchMessage.snapshot` and `StatusReply.room`.
pub const SNAPSHOT_FIELD: u8 = 2;
/// See [`SNAPSHOT_FIELD`].
pub const ROOM_FIELD: u8 = 1;

/// The room list is one message.
const ROOMS_LISTED_MAX: usize = 10_000;
/// What an entry takes of a room that is kept while others go on from it.
const ENTRY_BYTES: usize = 48;
/// What any answer takes besides.
const ANSWER_BYTES: usize = 4 << 10;
/// What a list of the most rooms takes, not encoded.
const LIST_BYTES: usize = 512 << 10;
/// Rooms in one piece of a list, some 10 KiB with long names.
const ROOMS_PER_PIECE: usize = 32;
/// Measuring so many entries takes no time that anybody notices.
const MEASURED_AT_ONCE: usize = 256;

/// Prepares large answers, one at a time, where it holds up nothing else.
#[derive(Clone, Debug)]
pub struct Kitchen {
    world: World,
    free: Arc<Semaphore>,
    encodings: Arc<Encodings>,
}

impl Kitchen {
    /// On a machine.
    pub fn new(world: &World) -> Self {
        let (free, encodings) = (Arc::new(Semaphore::new(1)), Arc::default());
        Self { world: world.clone(), free, encodings }
    }

    /// A message that has a room in one field, and `rest` besides. `None`: there is no room.
    pub async fn with_room(
        &self,
        line: &Line,
        find: impl Fn() -> Option<Arc<Room>>,
        field: u8,
        rest: Vec<u8>,
    ) -> io::Result<Option<(Arc<Room>, Message)>> {
        let Some(entries) = find().map(|room| room.entries_kept()) else { return Ok(None) };
        // Who waits for room keeps no state that others have gone on from.
        let source = line.source(ANSWER_BYTES + entries * ENTRY_BYTES + rest.len()).await;
        let Some(room) = find() else { return Ok(None) };
        let (length, parts) = self.encoded(&room).await?;
        let mut head = BytesMut::new();
        head.put_u8(field << 3 | 2);
        prost::encode_length_delimiter(length, &mut head)?;
        let total = head.len() + length + rest.len();
        let pieces = std::iter::once(head.freeze()).chain(parts).chain(cut(Bytes::from(rest)));
        Ok(Some((room, Message::in_pieces(total, pieces, source))))
    }

    /// The length of a room's encoding, and its pieces.
    async fn encoded(
        &self,
        room: &Arc<Room>,
    ) -> io::Result<(usize, Box<dyn Iterator<Item = Bytes> + Send>)> {
        if room.entries_kept() < MEASURED_AT_ONCE {
            let parts = Parts::new(room.clone());
            let length = parts.encoded_len();
            return Ok((length, Box::new(parts.map(|part| part.encode_to_vec().into()))));
        }
        let encoding = self.encodings.of(room);
        let length = match encoding.known_len() {
            Some(length) => length,
            None => {
                let measured = encoding.clone();
                self.prepare(move || measured.measure()).await?
            }
        };
        Ok((length, Box::new(encoding.pieces())))
    }

    /// All rooms, as a `ListRoomsReply`.
    pub async fn list(
        &self,
        line: &Line,
        state: impl FnOnce() -> Shard,
        now: SharedTime,
        presence: Arc<Presence>,
    ) -> io::Result<Message> {
        let source = line.source(LIST_BYTES).await;
        let state = state();
        let prepared = self.prepare(move || {
            let codes = state.rooms().take(ROOMS_LISTED_MAX).map(|(code, _)| code);
            let rooms = codes.filter_map(|code| state.room(code));
            let listed: Vec<_> = rooms.map(|room| Listed::new(room, now, &presence)).collect();
            let length = listed.chunks(ROOMS_PER_PIECE).map(|some| reply(some).encoded_len()).sum();
            (listed, length)
        });
        let (listed, length) = prepared.await?;
        let pieces = (0..listed.len()).step_by(ROOMS_PER_PIECE).map(move |from| {
            let some = &listed[from..listed.len().min(from + ROOMS_PER_PIECE)];
            reply(some).encode_to_vec().into()
        });
        Ok(Message::in_pieces(length, pieces, source))
    }

    /// Does what takes the processor, one after the other.
    pub async fn prepare<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let _permit = self.free.acquire().await.map_err(io::Error::other)?;
        self.world.blocking(work).await
    }
}

/// A room in a list, before it is encoded.
struct Listed {
    room: Arc<Room>,
    entries: u32,
    listeners: u32,
}

impl Listed {
    fn new(room: &Arc<Room>, now: SharedTime, presence: &Presence) -> Self {
        Self {
            room: room.clone(),
            entries: count(room.queue_len_at(now)),
            listeners: count(presence.count(room.code())),
        }
    }

    fn summary(&self) -> RoomSummary {
        RoomSummary {
            code: self.room.code().as_str().to_owned(),
            name: self.room.name().to_owned(),
            playing: self.room.is_playing(),
            entries: self.entries,
            listeners: self.listeners,
        }
    }
}

fn reply(rooms: &[Listed]) -> ListRoomsReply {
    ListRoomsReply { rooms: rooms.iter().map(Listed::summary).collect() }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
