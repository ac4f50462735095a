//! Who is listening: soft state on the leader, told by the listeners' own reports.
//!
//! Nothing here is logged. A leader that just took over knows nobody until the reports come in,
//! and so it counts a room as unheard only from when it began to lead.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jam_proto::ids::{Origin, RoomCode};
use jam_proto::sync::lead::{Stream, lead_time, near_rtt_ns};
use jam_proto::time::Flicks;
use jam_proto::wire::v1::{Listener, ListenerReport};
use tokio::time::Instant;

/// A listener that said nothing for this long is gone.
const SILENT_MAX: Duration = Duration::from_secs(5);
/// Listeners that a node keeps track of in one room. More may listen; they are not shown.
const ROOM_LISTENERS_MAX: usize = 10_000;
/// How long a look at all the round trips of a room serves its commands, of which thousands may
/// come in that time.
const NEAR_FOR: Duration = Duration::from_millis(100);

/// One listener's stream of reports. Numbers are never used again while the node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// What the node itself knows of a stream, whatever its reports say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Where it comes from.
    pub origin: Option<Origin>,
    /// Whether it has shown that it fetched sound.
    pub has_sound: bool,
    /// Its round trip, nanoseconds; 0: not measured yet.
    pub rtt_ns: i64,
}

/// All listeners that report to this node.
#[derive(Debug, Default)]
pub struct Presence {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rooms: BTreeMap<RoomCode, Heard>,
    /// Where each stream is, so that its end finds it.
    streams: BTreeMap<StreamId, RoomCode>,
    /// Since when nobody listens, in rooms where somebody did or may have.
    unheard: BTreeMap<RoomCode, Instant>,
    /// The round trip that entries wait for which concern all rooms.
    near: Option<Near>,
}

/// A room that somebody listens to.
#[derive(Debug, Default)]
struct Heard {
    listeners: BTreeMap<StreamId, Present>,
    near: Option<Near>,
}

/// The round trip that commands wait for, as it was at some instant.
#[derive(Clone, Copy, Debug)]
struct Near {
    rtt_ns: i64,
    at: Instant,
}

#[derive(Debug)]
struct Present {
    listener: Listener,
    measured: Measured,
    seen: Instant,
}

impl Presence {
    /// A report came in on a stream of which the node knows what it `measured`.
    pub fn report(
        &self,
        stream: StreamId,
        room: &RoomCode,
        report: &ListenerReport,
        measured: Measured,
        now: Instant,
    ) {
        let mut inner = self.lock();
        if inner.streams.get(&stream).is_some_and(|before| before != room) {
            inner.remove(stream, now);
        }
        let listeners = &mut inner.rooms.entry(room.clone()).or_default().listeners;
        if listeners.len() >= ROOM_LISTENERS_MAX && !listeners.contains_key(&stream) {
            return;
        }
        let listener = Listener {
            user: report.user.clone(),
            device: report.device.clone(),
            state: report.state.clone(),
            offset_error_ns: report.offset_error_ns,
            rtt_ns: measured.rtt_ns,
            buffer_ms: report.buffer_ms,
            underruns: report.underruns,
            kbps: report.kbps,
            silences: report.silences,
            silent_ns: report.silent_ns,
        };
        listeners.insert(stream, Present { listener, measured, seen: now });
        inner.streams.insert(stream, room.clone());
        inner.unheard.remove(room);
    }

    /// A stream ended: its listener is gone.
    pub fn end(&self, stream: StreamId, now: Instant) {
        self.lock().remove(stream, now);
    }

    /// Drops listeners that have been silent for too long.
    pub fn drop_silent(&self, now: Instant) {
        let mut inner = self.lock();
        let silent: Vec<StreamId> = inner
            .rooms
            .values()
            .flat_map(|heard| &heard.listeners)
            .filter(|(_, present)| now.saturating_duration_since(present.seen) >= SILENT_MAX)
            .map(|(stream, _)| *stream)
            .collect();
        for stream in silent {
            inner.remove(stream, now);
        }
    }

    /// This node begins to lead: who listened to the `playing` rooms is not known here, so their
    /// listeners get the whole time to say that they are there.
    pub fn begin_leading(&self, playing: Vec<RoomCode>, now: Instant) {
        let mut inner = self.lock();
        inner.unheard.clear();
        for room in playing {
            if !inner.rooms.contains_key(&room) {
                inner.unheard.insert(room, now);
            }
        }
    }

    /// Rooms that nobody has listened to for `long`. They stay listed until [`Self::forget`].
    pub fn unheard_for(&self, long: Duration, now: Instant) -> Vec<RoomCode> {
        let inner = self.lock();
        let unheard = inner.unheard.iter();
        unheard
            .filter(|(_, since)| now.saturating_duration_since(**since) >= long)
            .map(|(room, _)| room.clone())
            .collect()
    }

    /// The room was paused, or needs no pause.
    pub fn forget(&self, room: &RoomCode) {
        self.lock().unheard.remove(room);
    }

    /// Who listens to `room`, in the order in which they came.
    pub fn listeners(&self, room: &RoomCode) -> Vec<Listener> {
        let inner = self.lock();
        let listeners = inner.rooms.get(room).into_iter().flat_map(Heard::present);
        listeners.map(|present| present.listener.clone()).collect()
    }

    /// How many listen to `room`.
    pub fn count(&self, room: &RoomCode) -> usize {
        self.lock().rooms.get(room).map_or(0, |heard| heard.listeners.len())
    }

    /// How many listen to any room.
    pub fn total(&self) -> usize {
        self.lock().streams.len()
    }

    /// How far ahead a command for `room` is announced (any room, for `None`: an entry that
    /// concerns all of them).
    pub fn lead(&self, room: Option<&RoomCode>, commit_ns: i64, now: Instant) -> Flicks {
        lead_time(self.lock().near_rtt_ns(room, now), commit_ns)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds it can panic half-way through a change that matters.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn present(&self) -> impl Iterator<Item = &Present> {
        self.listeners.values()
    }
}

impl Near {
    fn among<'a>(present: impl Iterator<Item = &'a Present>, at: Instant) -> Self {
        let streams = present.map(|Present { listener, measured, .. }| Stream {
            origin: measured.origin,
            user: &listener.user,
            has_sound: measured.has_sound,
            rtt_ns: measured.rtt_ns,
        });
        Self { rtt_ns: near_rtt_ns(streams), at }
    }
}

impl Inner {
    fn near_rtt_ns(&mut self, room: Option<&RoomCode>, now: Instant) -> i64 {
        let serves = |near: &Near| now.saturating_duration_since(near.at) < NEAR_FOR;
        let near = match room {
            Some(room) => {
                let Some(heard) = self.rooms.get_mut(room) else { return 0 };
                let near = heard.near.filter(serves);
                *heard
                    .near
                    .insert(near.unwrap_or_else(|| Near::among(heard.listeners.values(), now)))
            }
            None => {
                let all = || self.rooms.values().flat_map(Heard::present);
                let near = self.near.filter(serves);
                *self.near.insert(near.unwrap_or_else(|| Near::among(all(), now)))
            }
        };
        near.rtt_ns
    }

    fn remove(&mut self, stream: StreamId, now: Instant) {
        let Some(room) = self.streams.remove(&stream) else { return };
        if let Some(heard) = self.rooms.get_mut(&room) {
            heard.listeners.remove(&stream);
            if heard.listeners.is_empty() {
                self.rooms.remove(&room);
                self.unheard.insert(room, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bits: u64) -> RoomCode {
        RoomCode::from_random(bits)
    }

    fn report(user: &str) -> ListenerReport {
        ListenerReport { user: user.to_owned(), state: "playing".to_owned(), ..Default::default() }
    }

    fn hears(rtt_ms: i64) -> Measured {
        Measured { has_sound: true, rtt_ns: rtt_ms * 1_000_000, ..Measured::default() }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_last_one_out_starts_the_minute() {
        let (presence, room, start) = (Presence::default(), code(1), Instant::now());
        presence.report(StreamId(1), &room, &report("ann"), hears(5), start);
        presence.report(StreamId(2), &room, &report("bob"), hears(7), start);
        presence.end(StreamId(1), start);
        assert_eq!(presence.listeners(&room).len(), 1);
        assert!(presence.unheard_for(Duration::ZERO, start).is_empty());
        presence.end(StreamId(2), start);
        assert!(presence.unheard_for(MINUTE, start + MINUTE / 2).is_empty());
        assert_eq!(presence.unheard_for(MINUTE, start + MINUTE), std::slice::from_ref(&room));
        presence.report(StreamId(3), &room, &report("eve"), hears(5), start + MINUTE);
        assert!(presence.unheard_for(MINUTE, start + MINUTE).is_empty());
    }

    #[test]
    fn the_silent_are_dropped() {
        let (presence, room, start) = (Presence::default(), code(1), Instant::now());
        presence.report(StreamId(1), &room, &report("ann"), hears(5), start);
        presence.report(StreamId(2), &room, &report("bob"), hears(5), start + SILENT_MAX / 2);
        presence.drop_silent(start + SILENT_MAX);
        assert_eq!(presence.listeners(&room)[0].user, "bob");
        assert_eq!(presence.total(), 1);
    }

    #[test]
    fn a_stream_is_in_one_room() {
        let (presence, start) = (Presence::default(), Instant::now());
        presence.report(StreamId(1), &code(1), &report("ann"), hears(5), start);
        presence.report(StreamId(1), &code(2), &report("ann"), hears(5), start);
        assert_eq!((presence.count(&code(1)), presence.count(&code(2))), (0, 1));
    }

    #[test]
    fn a_new_leader_waits_for_everybody() {
        let (presence, start) = (Presence::default(), Instant::now());
        presence.report(StreamId(1), &code(1), &report("ann"), hears(5), start);
        presence.begin_leading(vec![code(1), code(2)], start);
        assert_eq!(presence.unheard_for(MINUTE, start + MINUTE), [code(2)]);
    }

    #[test]
    fn the_lead_is_the_rooms_own() {
        let (presence, start) = (Presence::default(), Instant::now());
        presence.report(StreamId(1), &code(1), &report("ann"), hears(400), start);
        let lead = |room: Option<&RoomCode>, now| presence.lead(room, 0, now);
        assert_eq!(lead(Some(&code(1)), start), Flicks::from_millis(850));
        assert_eq!(lead(Some(&code(2)), start), Flicks::from_millis(400));
        assert_eq!(lead(None, start), Flicks::from_millis(850));
        let silent = Measured { has_sound: false, ..hears(3000) };
        presence.report(StreamId(2), &code(3), &report("eve"), silent, start);
        assert_eq!(lead(Some(&code(3)), start), Flicks::from_millis(400), "without sound");
        presence.report(StreamId(1), &code(1), &report("ann"), hears(200), start);
        for room in [Some(&code(1)), None] {
            assert_eq!(
                lead(room, start + NEAR_FOR / 2),
                Flicks::from_millis(850),
                "as it was just now"
            );
            assert_eq!(lead(room, start + NEAR_FOR), Flicks::from_millis(550));
        }
    }
}
