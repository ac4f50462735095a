//! The live block: what sounds, how far it is, what comes next, who is here, and how well it is in time.

use jam_proto::room::Room;
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::v1 as wire;
use unicode_width::UnicodeWidthStr;

use super::followed;
use super::sync::Sync;
use crate::audio::{PlayerState, PlayerStatus, quality_name};
use crate::follow::Followed;
use crate::news::Unheard;
use crate::text;

/// Columns of the progress bar.
const BAR: usize = 24;
/// Columns that a room's name has at least.
const NAME_MIN: usize = 12;
/// Names that are shown; more are counted.
const NAMES: usize = 4;

/// All that the block shows.
pub(super) struct LineView<'a> {
    pub room: Option<&'a Room>,
    /// Shared time, if it is known.
    pub now: Option<SharedTime>,
    /// Who sends the room's events.
    pub followed: Option<Followed>,
    /// Why no leader's clock is heard, if it is known.
    pub unheard: Option<&'a Unheard>,
    pub sync: Sync<'a>,
    /// Whether that is shown in full.
    pub in_detail: bool,
    pub status: &'a PlayerStatus,
    /// All of the current song is on this machine.
    pub song_here: bool,
    pub here: &'a [wire::Listener],
    pub volume: u8,
    pub muted: bool,
}

impl LineView<'_> {
    /// The block's lines, none wider than `width`.
    pub fn lines(&self, width: usize) -> Vec<String> {
        // The last column stays free: some terminals wrap when it is written.
        let width = width.saturating_sub(1);
        let mut lines = Vec::with_capacity(4);
        match (self.room, self.now) {
            (None, _) => lines.push("joining: waiting for the room".to_owned()),
            (Some(room), None) => {
                lines.push(named(room, "", "waiting for the leader's clock", width));
            }
            (Some(room), Some(now)) => {
                lines.push(self.sounding(room, now, width));
                lines.push(next(room, now));
            }
        }
        lines.push(self.state());
        if let Some(why) = self.unheard {
            lines.push(format!("! {}", text::clean(&why.to_string())));
        }
        if self.in_detail {
            lines.extend(self.sync.in_detail());
        }
        if let Some(trouble) = &self.status.trouble {
            lines.push(format!("! {}", text::clean(trouble)));
        }
        lines.into_iter().map(|line| text::fit(&line, width)).collect()
    }

    fn sounding(&self, room: &Room, now: SharedTime, width: usize) -> String {
        let sounding = room.at(now);
        let why = match self.status.state {
            PlayerState::Starved if !self.song_here => {
                Some("the song is still on its way here".to_owned())
            }
            _ => text::silence(sounding.playing, sounding.entry.is_some(), room.stopped()),
        };
        let Some(entry) = sounding.entry else {
            return named(room, "⏸ ", &why.unwrap_or_default(), width);
        };
        let mark = if sounding.playing { "▶" } else { "⏸" };
        let length = entry.length();
        let right = match why {
            Some(why) => {
                format!("{} / {}  {why}", text::clock(sounding.position), text::clock(length))
            }
            None => {
                let bar = progress(sounding.position, length, BAR);
                format!("{} {bar} {}", text::clock(sounding.position), text::clock(length))
            }
        };
        let room_for_song = width.saturating_sub(right.chars().count() + 4);
        let song =
            format!("{} (added by {})", text::entry_song(&entry), text::clean(&entry.added_by));
        format!("{mark} {}  {right}", text::fit(&song, room_for_song.max(12)))
    }

    fn state(&self) -> String {
        let mut parts = Vec::new();
        let names: Vec<String> = self
            .here
            .iter()
            .take(NAMES)
            .map(|listener| {
                format!("{} {}", text::clean(&listener.user), text::error(listener.offset_error_ns))
            })
            .collect();
        if !names.is_empty() {
            let more = self.here.len().saturating_sub(NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            parts.push(format!("here: {}{more}", names.join(", ")));
        }
        parts.extend(followed::in_words(self.followed));
        parts.extend(self.sync.in_words());
        if let Some(kbps) = self.status.kbps.filter(|kbps| *kbps > 0) {
            parts.push(quality_name(kbps));
        }
        parts.push(match self.muted {
            true => "muted".to_owned(),
            false => format!("volume {}%", self.volume),
        });
        format!("  {}   [+ − m i q]", parts.join(" · "))
    }
}

/// The room's name, cut so that what is said of the room has its place.
fn named(room: &Room, mark: &str, said: &str, width: usize) -> String {
    let left = width.saturating_sub(mark.width() + said.width() + 2).max(NAME_MIN);
    format!("{mark}{}: {said}", text::fit(&text::clean(room.name()), left))
}

fn next(room: &Room, now: SharedTime) -> String {
    match room.next_after(now, 1).first() {
        Some((_, entry)) => format!(
            "  next: {} (added by {})",
            text::entry_song(entry),
            text::clean(&entry.added_by)
        ),
        None => "  next: nothing yet; `jam add` puts songs into the queue".to_owned(),
    }
}

/// `━━━━╸───`, `width` columns.
fn progress(position: Flicks, length: Flicks, width: usize) -> String {
    let share = if length.0 > 0 { position.0 as f64 / length.0 as f64 } else { 0.0 };
    let halves = (share.clamp(0.0, 1.0) * 2.0 * width as f64) as usize;
    let (full, half) = (halves / 2, halves % 2);
    format!("{}{}{}", "━".repeat(full), "╸".repeat(half), "─".repeat(width - full - half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{ClockStanding, ClockView};
    use std::sync::Arc;

    use jam_proto::event::{Entry, Event, EventKind, Song};
    use jam_proto::ids::{EntryId, Revision, RoomCode, TrackId};
    use jam_proto::sync::SharedMap;

    fn event(revision: u64, kind: EventKind) -> Event {
        let stamp = SharedTime(Flicks::from_secs(10 + revision as i64).0);
        Event { revision: Revision(revision), stamp, effective_at: stamp, by: "ann".into(), kind }
    }

    fn enqueued(revision: u64, id: u64, title: &str) -> Event {
        let entry = Entry {
            id: EntryId(id),
            song: Arc::new(Song {
                track: TrackId([id as u8; 32]),
                title: title.into(),
                artist: "The Band".into(),
                album: String::new(),
                frames: 48_000 * 60,
                sample_rate: 48_000,
                own_gain: None,
            }),
            added_by: "bob".into(),
            gain: jam_proto::loudness::Gain(0),
        };
        event(revision, EventKind::Enqueued { entry, before: None })
    }

    fn room(events: &[Event]) -> Room {
        let created =
            event(1, EventKind::Created { code: RoomCode::from_random(7), name: "Friday".into() });
        let mut room = Room::begin(&created).expect("a created event");
        events.iter().for_each(|event| room.fold(event).expect("in order"));
        room
    }

    fn lines(
        room: Option<&Room>,
        now_secs: i64,
        status: &PlayerStatus,
        width: usize,
    ) -> Vec<String> {
        let here = [wire::Listener {
            user: "ann".into(),
            offset_error_ns: Some(80_000),
            ..wire::Listener::default()
        }];
        let now = Some(SharedTime(Flicks::from_secs(now_secs).0));
        let clock = ClockView {
            map: SharedMap { raw_ns: 0, shared: SharedTime(0), drift: 0.0 },
            bound_ns: 85_000,
            leader: 1,
            term: 1,
            epoch: 1,
            slept_ns: 0,
            standing: ClockStanding::default(),
        };
        LineView {
            room,
            now,
            followed: None,
            unheard: None,
            sync: Sync { clock: Some(&clock), raw_ns: 0, status },
            in_detail: false,
            status,
            song_here: false,
            here: &here,
            volume: 80,
            muted: false,
        }
        .lines(width)
    }

    #[test]
    fn playing() {
        let room =
            room(&[enqueued(2, 1, "First"), enqueued(3, 2, "Second"), event(4, EventKind::Played)]);
        let playing = PlayerStatus { state: PlayerState::Playing, ..PlayerStatus::default() };
        assert_eq!(
            lines(Some(&room), 14 + 15, &playing, 100),
            [
                "▶ The Band — First (added by bob)  0:15 ━━━━━━────────────────── 1:00",
                "  next: The Band — Second (added by bob)",
                "  here: ann ±80 µs · in sync ±85 µs · volume 80%   [+ − m i q]",
            ]
        );
        // After the song's end, without any message: the next one.
        assert!(lines(Some(&room), 14 + 61, &playing, 100)[0].starts_with("▶ The Band — Second"));
    }

    #[test]
    fn silent_for_a_reason() {
        let idle = PlayerStatus::default();
        let never = room(&[enqueued(2, 1, "First")]);
        assert!(
            lines(Some(&never), 20, &idle, 100)[0]
                .ends_with("0:00 / 1:00  nobody has pressed play yet")
        );
        let paused = [
            enqueued(2, 1, "First"),
            event(3, EventKind::Played),
            event(4, EventKind::Paused { nobody_listening: false }),
        ];
        assert!(lines(Some(&room(&paused)), 20, &idle, 100)[0].ends_with("paused by ann"));
        let dry = room(&[enqueued(2, 1, "First"), event(3, EventKind::Played)]);
        assert!(lines(Some(&dry), 13 + 61, &idle, 100)[0].contains("the queue is dry"));
        let starved = PlayerStatus { state: PlayerState::Starved, ..PlayerStatus::default() };
        assert!(lines(Some(&dry), 20, &starved, 100)[0].contains("on its way"));
        assert_eq!(lines(None, 0, &idle, 100)[0], "joining: waiting for the room");
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let room = room(&[enqueued(2, 1, &"夜に駆ける".repeat(20)), event(3, EventKind::Played)]);
        let playing = PlayerStatus { state: PlayerState::Playing, ..PlayerStatus::default() };
        for width in [10, 40, 80, 200] {
            for line in lines(Some(&room), 20, &playing, width) {
                assert!(line.width() < width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_long_name_leaves_room_for_the_reason() {
        let long = event(2, EventKind::Renamed { name: "夜に駆ける".repeat(17) });
        let line = &lines(Some(&room(&[long])), 20, &PlayerStatus::default(), 80)[0];
        assert!(line.contains("…: ") && line.ends_with("pressed play yet"), "{line}");
    }

    #[test]
    fn the_bar_fills_up() {
        let bar = |secs| progress(Flicks::from_secs(secs), Flicks::from_secs(8), 4);
        assert_eq!(
            [bar(0), bar(1), bar(2), bar(8), bar(9)],
            ["────", "╸───", "━───", "━━━━", "━━━━"]
        );
    }
}
