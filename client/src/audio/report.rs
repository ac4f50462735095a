//! What sounds at the output right now, told from what was rendered and when it sounds.

use jam_proto::time::{FLICKS_PER_SECOND, Flicks, SharedTime};

use super::clocks::ClockPair;
use super::history::Piece;
use super::plan::{Due, Playhead, Song};
use super::render::Renderer;
use super::{ClockView, PlayerState};

/// At `mono_ns`, the song's frame `frame` begins at the output.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// CLOCK_MONOTONIC, ns.
    pub mono_ns: i64,
    /// The raw clock when it was made, ns.
    pub raw_ns: i64,
    /// Shared time at that instant, ns.
    pub shared_ns: Option<i64>,
    /// What the player does.
    pub state: PlayerState,
    /// The current song.
    pub song: Option<Song>,
    /// The frame.
    pub frame: u64,
    /// By how much faster than nominal the song is played, by the device's clock.
    pub rate_ppm: f64,
    /// How much later it sounds than it is due.
    pub error_ns: i64,
    /// The quality of what sounds: kbit/s, or 0: the original.
    pub kbps: Option<u32>,
    /// What makes this report another state than the one before, besides `state` and `song`: the
    /// origin of the time line.
    pub origin: Option<i64>,
}

/// How many songs ahead are looked at.
const SONGS_AHEAD: usize = 8;

impl Renderer {
    /// What sounds at a CLOCK_MONOTONIC instant, which has to be about now.
    pub fn report(&self, now_mono_ns: i64, clocks: &ClockPair) -> Report {
        let now_raw_ns = clocks.other(now_mono_ns);
        let silent = Report { mono_ns: now_mono_ns, raw_ns: now_raw_ns, ..Report::default() };
        let (Some(room), Some(view)) = (&self.room, &self.view) else { return silent };
        let shared_ns = Some(view.map.at(now_raw_ns + self.trim_ns).as_nanos());
        let silent = Report { shared_ns, ..silent };
        if !self.clock.ready() {
            return silent;
        }
        let frame = self.clock.frame_at(now_raw_ns);
        let piece = u64::try_from(frame)
            .ok()
            .and_then(|frame| self.history.at(frame).map(|piece| (frame, piece)));
        let Some((frame, piece)) = piece else {
            // A hole, or just started.
            let (due, _) = Due::at(room, view.map.at(now_raw_ns + self.trim_ns));
            let state =
                if self.has_sounded() { PlayerState::Starved } else { PlayerState::Joining };
            return Report {
                state: if due.sounding().is_some() { state } else { due.state },
                song: due.song,
                ..silent
            };
        };
        let playhead = piece.playhead_at(frame);
        let place = Report {
            state: piece.state,
            kbps: piece.kbps,
            song: piece.due.song,
            origin: Some(piece.due.origin.0),
            rate_ppm: (piece.step / self.nominal_step() - 1.0) * 1e6,
            ..silent
        };
        self.at_frame_start(place, view, piece, frame, playhead, clocks)
    }

    /// Moves a report of device frame `frame` to the start of the song's frame that sounds with it.
    fn at_frame_start(
        &self,
        report: Report,
        view: &ClockView,
        piece: &Piece,
        frame: u64,
        playhead: Playhead,
        clocks: &ClockPair,
    ) -> Report {
        let position = piece.due.frame_at(playhead);
        let begun = position.floor().max(0.0);
        let report = Report { frame: begun as u64, ..report };
        let Some(song) = piece.due.sounding() else { return report };
        // How long ago, in device frames, and then in time.
        let ago_frames = (position - begun) / (piece.step * song.frames_per_flick());
        let ago_ns = (ago_frames * 1e9 / f64::from(self.rate)).round() as i64;
        let raw_ns = self.clock.raw_at(frame) - ago_ns;
        let shared = view.map.at(raw_ns + self.trim_ns);
        let due = piece.due.origin + Flicks::from_frames(begun as u64, song.rate);
        Report {
            mono_ns: clocks.mono(raw_ns),
            shared_ns: Some(shared.as_nanos()),
            error_ns: shared.since(due).as_nanos(),
            ..report
        }
    }

    /// Playable sound ahead of `report` without a hole, across songs.
    pub fn buffer_ms(&self, report: &Report) -> u32 {
        let (Some(room), Some(song), Some(shared_ns)) = (&self.room, report.song, report.shared_ns)
        else {
            return 0;
        };
        let now_ns = report.mono_ns;
        let library = &self.deck.library;
        let until = library.here_until(&song, report.frame, now_ns);
        let mut flicks = until.saturating_sub(report.frame) as f64 / song.frames_per_flick();
        let now = SharedTime(Flicks::from_nanos(shared_ns - report.error_ns).0);
        let mut whole = until >= song.frames;
        for (_, entry) in room.next_after(now, SONGS_AHEAD) {
            if !whole {
                break;
            }
            let song = Song::of(&entry);
            let until = library.here_until(&song, 0, now_ns);
            flicks += until as f64 / song.frames_per_flick();
            whole = until >= song.frames;
        }
        (flicks * 1e3 / FLICKS_PER_SECOND as f64).max(0.0) as u32
    }
}
