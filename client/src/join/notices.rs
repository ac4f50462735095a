//! What happens, in words or as JSON lines.

use jam_proto::event::{Event, EventKind};
use jam_proto::ids::EntryId;
use jam_proto::room::Room;
use serde_json::{Value, json};

use super::followed;
use super::unheard::unheard;
use crate::audio::{PlayerState, PlayerStatus};
use crate::news::{Moved, News};
use crate::text;

/// Looks (a few a second) between two lines about underruns.
const QUIET_LOOKS: u32 = 25;

/// Turns news into lines, and notices by itself what comes about without a message.
pub(super) struct Notices {
    json: bool,
    state: PlayerState,
    entry: Option<EntryId>,
    underruns: u64,
    /// Told so far, ns.
    silent_ns: i64,
    /// Looks until the next underrun is worth a line: a busy machine has many.
    quiet_looks: u32,
    trouble: Option<String>,
    /// Who led until nobody did.
    lost_leader: Option<u64>,
    /// Frames that the output lacked until now, and until the leader was lost.
    lost_frames: u64,
    lost_frames_then: u64,
    coarse: bool,
}

impl Notices {
    /// For people, or for programs.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            state: PlayerState::Joining,
            entry: None,
            underruns: 0,
            silent_ns: 0,
            quiet_looks: 0,
            trouble: None,
            lost_leader: None,
            lost_frames: 0,
            lost_frames_then: 0,
            coarse: false,
        }
    }

    /// The lines for one piece of news; `room` is the room with that news folded in.
    pub fn of(&mut self, news: &News, room: Option<&Room>) -> Vec<String> {
        let said = match news {
            News::Snapshot { room: code, name, revision } => Some((
                json!({"event": "room", "room": code.as_str(), "name": name, "revision": revision}),
                format!("in {} ({code})", text::clean(name)),
            )),
            News::Happened(event) => Some((event_json(event), event_text(event, room))),
            News::Following { node, again } => Some((
                json!({"event": "following", "node": node}),
                if *again {
                    format!("back: node {node} sends the room's events")
                } else {
                    return self.silent_text(json!({"event": "following", "node": node}));
                },
            )),
            News::Lost(why) => Some((
                json!({"event": "lost", "why": why}),
                format!("connection lost ({}); playing on from what is here", text::clean(why)),
            )),
            News::Changed { from, to, why } => Some(followed::changed(*from, *to, *why)),
            News::Outdated { node, why } => Some(followed::outdated(*node, *why)),
            News::UpToDate { node } => Some(followed::up_to_date(*node)),
            News::SongReady(track) => {
                return self
                    .silent_text(json!({"event": "song_ready", "track": track.to_string()}));
            }
            News::Leader { node, term, epoch } => {
                let value = json!({"event": "leader", "node": node, "term": term, "epoch": epoch});
                // If it is another one, there is more to tell in a moment.
                if self.lost_leader.take() != Some(*node) {
                    return self.silent_text(value);
                }
                Some((value, format!("back: node {node} leads")))
            }
            News::LeaderLost { node } => {
                self.lost_leader = Some(*node);
                self.lost_frames_then = self.lost_frames;
                Some((
                    json!({"event": "leader_lost", "node": node}),
                    format!("node {node} led, and is lost; playing on from what is here"),
                ))
            }
            News::Unheard { why, has_time } => Some(unheard(why, *has_time)),
            News::Failover { from, to, silent_ns, moved } => {
                let frames = self.lost_frames.saturating_sub(self.lost_frames_then);
                self.lost_frames_then = self.lost_frames;
                let value = json!({
                    "event": "failover",
                    "from": from,
                    "to": to,
                    "silent_ns": silent_ns,
                    "phase_change_ns": moved.map(|moved| moved.phase_ns),
                    "bound_ns": moved.map(|moved| moved.bound_ns),
                    "frames_lost": frames,
                });
                let lost = match frames {
                    0 => "no frame lost".to_owned(),
                    frames => format!("{} lost", text::count(frames as usize, "frame")),
                };
                let time = match moved {
                    Some(Moved { phase_ns, bound_ns }) => {
                        let (phase, bound) =
                            (text::signed(*phase_ns), text::error_bound(*bound_ns));
                        format!("time moved by {phase} ({bound})")
                    }
                    None => "time began anew".to_owned(),
                };
                let words = format!(
                    "node {to} leads after node {from}: {} ms without a leader, {time}, {lost}",
                    silent_ns / 1_000_000
                );
                Some((value, words))
            }
            News::Trouble(what) => Some((
                json!({"event": "trouble", "message": what}),
                format!("! {}", text::clean(what)),
            )),
        };
        said.map(|(value, words)| self.say(value, words)).into_iter().collect()
    }

    /// The lines for what has changed at the player: songs begin and end without any message. `song_here`: all of the
    /// current song is on this machine.
    pub fn of_status(
        &mut self,
        status: &PlayerStatus,
        song_here: bool,
        room: Option<&Room>,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        // A song that is here and late all the same is an underrun, which is told below.
        let state = match status.state {
            PlayerState::Starved if song_here => PlayerState::Playing,
            state => state,
        };
        if state != self.state || status.entry != self.entry {
            let song = status.entry.and_then(|entry| room.and_then(|room| room.entry(entry)));
            let song_text = song.as_ref().map_or_else(|| "a song".to_owned(), text::entry_song);
            let words = match state {
                PlayerState::Joining => None,
                PlayerState::Playing => Some(format!("playing {song_text}")),
                PlayerState::Paused => Some("paused".to_owned()),
                PlayerState::Starved => {
                    Some(format!("{song_text} is not here yet; silent until it is"))
                }
                PlayerState::Ended => {
                    Some("the queue is dry; add a song and it starts at once".to_owned())
                }
            };
            self.state = state;
            self.entry = status.entry;
            if let Some(words) = words {
                let value = json!({
                    "event": "state",
                    "state": state.as_str(),
                    "entry": status.entry.map(|entry| entry.0),
                    "title": song.as_ref().map(|song| &song.title),
                    "artist": song.as_ref().map(|song| &song.artist),
                });
                lines.push(self.say(value, words));
            }
        }
        self.quiet_looks = self.quiet_looks.saturating_sub(1);
        if status.underruns > self.underruns && (self.json || self.quiet_looks == 0) {
            let value = json!({"event": "underrun", "underruns": status.underruns});
            let times = text::count((status.underruns - self.underruns) as usize, "time");
            let words = format!("the output ran dry {times}: this machine is too busy");
            lines.push(self.say(value, words));
            self.underruns = status.underruns;
            self.quiet_looks = QUIET_LOOKS;
        }
        let silent_ns = status.silence.total_ns - self.silent_ns;
        if silent_ns > 0 && status.state == PlayerState::Playing {
            let (silences, total_ns) = (status.silence.times, status.silence.total_ns);
            let value = json!({"event": "silence", "silences": silences, "silent_ns": total_ns});
            let length = text::error_bound(silent_ns);
            let words = format!("nothing was heard for {}", length.trim_start_matches('±'));
            lines.push(self.say(value, words));
            self.silent_ns = total_ns;
        }
        self.lost_frames = status.lost_frames;
        if status.coarse_stamps && !self.coarse {
            let value = json!({"event": "coarse_stamps", "stamp_sigma_ns": status.stamp_sigma_ns});
            let words = "this output says only in steps of milliseconds when it sounds: in phase to about that, and no better";
            lines.push(self.say(value, words.to_owned()));
        }
        self.coarse = status.coarse_stamps;
        if status.trouble != self.trouble {
            self.trouble.clone_from(&status.trouble);
            if let Some(trouble) = &self.trouble {
                lines.push(self.say(
                    json!({"event": "trouble", "message": trouble}),
                    format!("! {}", text::clean(trouble)),
                ));
            }
        }
        lines
    }

    fn say(&self, value: Value, words: String) -> String {
        if self.json { value.to_string() } else { words }
    }

    /// What only programs care for.
    fn silent_text(&self, value: Value) -> Vec<String> {
        if self.json { vec![value.to_string()] } else { Vec::new() }
    }
}

fn event_text(event: &Event, room: Option<&Room>) -> String {
    let who = if event.by.is_empty() { "the cluster".to_owned() } else { text::clean(&event.by) };
    let song = |id: &EntryId| {
        let entry = room.and_then(|room| room.entry(*id));
        entry.as_ref().map_or_else(|| format!("entry {id}"), text::entry_song)
    };
    match &event.kind {
        EventKind::Created { name, .. } => format!("{who} made the room {}", text::clean(name)),
        EventKind::Enqueued { entry, .. } => format!("{who} added {}", text::entry_song(entry)),
        EventKind::Removed { entry } => format!("{who} removed {}", song(entry)),
        EventKind::Moved { entry, .. } => format!("{who} moved {}", song(entry)),
        EventKind::Cleared => format!("{who} cleared the queue"),
        EventKind::Played => format!("{who} pressed play"),
        EventKind::Paused { nobody_listening: true } => {
            "paused: nobody had listened for a minute".to_owned()
        }
        EventKind::Paused { nobody_listening: false } => format!("{who} paused"),
        EventKind::Sought { position, .. } => format!("{who} moved to {}", text::clock(*position)),
        EventKind::Skipped { entry } => format!("{who} skipped {}", song(entry)),
        EventKind::WentBack { entry } => format!("{who} went back to {}", song(entry)),
        EventKind::Renamed { name } => format!("{who} named the room {}", text::clean(name)),
        EventKind::EpochBumped { epoch, .. } => {
            format!("the cluster's clock began anew (epoch {epoch})")
        }
    }
}

fn event_json(event: &Event) -> Value {
    let (what, entry) = match &event.kind {
        EventKind::Created { .. } => ("created", None),
        EventKind::Enqueued { entry, .. } => ("enqueued", Some(entry.id)),
        EventKind::Removed { entry } => ("removed", Some(*entry)),
        EventKind::Moved { entry, .. } => ("moved", Some(*entry)),
        EventKind::Cleared => ("cleared", None),
        EventKind::Played => ("played", None),
        EventKind::Paused { .. } => ("paused", None),
        EventKind::Sought { entry, .. } => ("sought", Some(*entry)),
        EventKind::Skipped { entry } => ("skipped", Some(*entry)),
        EventKind::WentBack { entry } => ("went_back", Some(*entry)),
        EventKind::EpochBumped { .. } => ("epoch_bumped", None),
        EventKind::Renamed { .. } => ("renamed", None),
    };
    let mut value = json!({
        "event": what,
        "by": event.by,
        "entry": entry.map(|entry| entry.0),
        "revision": event.revision.0,
        "effective_at_ns": event.effective_at.as_nanos(),
    });
    if let EventKind::Created { name, .. } | EventKind::Renamed { name } = &event.kind {
        value["name"] = json!(name);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Silence;
    use jam_proto::ids::Revision;
    use jam_proto::time::SharedTime;

    fn skipped(by: &str) -> News {
        happened(by, EventKind::Skipped { entry: EntryId(7) })
    }

    fn happened(by: &str, kind: EventKind) -> News {
        News::Happened(Event {
            revision: Revision(9),
            stamp: SharedTime(1),
            effective_at: SharedTime(441),
            by: by.into(),
            kind,
        })
    }

    #[test]
    fn words_for_people() {
        let mut notices = Notices::new(false);
        assert_eq!(notices.of(&skipped("ann\u{7}"), None), ["ann skipped entry 7"]);
        assert_eq!(
            notices.of(&News::Leader { node: 1, term: 1, epoch: 1 }, None),
            Vec::<String>::new()
        );
        assert_eq!(
            notices.of(&News::LeaderLost { node: 1 }, None),
            ["node 1 led, and is lost; playing on from what is here"]
        );
        assert_eq!(
            notices.of(&News::Leader { node: 1, term: 2, epoch: 1 }, None),
            ["back: node 1 leads"]
        );
        notices.of(&News::LeaderLost { node: 1 }, None);
        let other = News::Leader { node: 2, term: 3, epoch: 1 };
        assert_eq!(notices.of(&other, None), Vec::<String>::new());
        let moved = Some(Moved { phase_ns: 4_000, bound_ns: 90_000 });
        let mut over = News::Failover { from: 1, to: 2, silent_ns: 310_400_000, moved };
        assert_eq!(
            notices.of(&over, None),
            [
                "node 2 leads after node 1: 310 ms without a leader, time moved by +4 µs (±90 µs), no frame lost"
            ]
        );
        if let News::Failover { moved, .. } = &mut over {
            *moved = None;
        }
        assert_eq!(
            notices.of(&over, None),
            ["node 2 leads after node 1: 310 ms without a leader, time began anew, no frame lost"]
        );
        assert_eq!(
            notices.of(&News::Following { node: 3, again: true }, None),
            ["back: node 3 sends the room's events"]
        );
    }

    #[test]
    fn objects_for_programs() {
        let mut notices = Notices::new(true);
        let want = r#"{"by":"ann","effective_at_ns":625,"entry":7,"event":"skipped","revision":9}"#;
        assert_eq!(notices.of(&skipped("ann"), None), [want]);
    }

    #[test]
    fn a_new_name_is_told() {
        let renamed = happened("ann", EventKind::Renamed { name: "Attic\u{1b}".into() });
        assert_eq!(Notices::new(false).of(&renamed, None), ["ann named the room Attic"]);
        let want = r#"{"by":"ann","effective_at_ns":625,"entry":null,"event":"renamed","name":"Attic\u001b","revision":9}"#;
        assert_eq!(Notices::new(true).of(&renamed, None), [want]);
    }

    #[test]
    fn a_song_that_begins_by_itself_is_told_once() {
        let mut notices = Notices::new(false);
        let entry = Some(EntryId(1));
        let status = PlayerStatus { state: PlayerState::Playing, entry, ..PlayerStatus::default() };
        assert_eq!(notices.of_status(&status, true, None), ["playing a song"]);
        assert_eq!(notices.of_status(&status, true, None), Vec::<String>::new());
        let next = PlayerStatus { entry: Some(EntryId(2)), ..status };
        assert_eq!(notices.of_status(&next, true, None), ["playing a song"]);
    }

    #[test]
    fn a_silence_is_told_once_it_is_over() {
        let mut notices = Notices::new(false);
        let playing = PlayerStatus { state: PlayerState::Playing, ..PlayerStatus::default() };
        notices.of_status(&playing, true, None);
        let silence = Silence { times: 1, total_ns: 300_000_000 };
        let silent = PlayerStatus { silence, state: PlayerState::Joining, ..playing.clone() };
        notices.of_status(&silent, true, None);
        let again = PlayerStatus { silence, ..playing };
        assert_eq!(
            notices.of_status(&again, true, None),
            ["playing a song", "nothing was heard for 300 ms"]
        );
        assert_eq!(notices.of_status(&again, true, None), Vec::<String>::new());
    }

    #[test]
    fn a_song_that_is_late_is_not_one_that_is_missing() {
        let mut notices = Notices::new(false);
        let playing = PlayerStatus { state: PlayerState::Playing, ..PlayerStatus::default() };
        notices.of_status(&playing, true, None);
        let starved = PlayerStatus { state: PlayerState::Starved, underruns: 2, ..playing.clone() };
        let late = notices.of_status(&starved, true, None);
        assert_eq!(late, ["the output ran dry 2 times: this machine is too busy"]);
        let again = PlayerStatus { underruns: 3, ..playing };
        assert_eq!(notices.of_status(&again, true, None), Vec::<String>::new());
        let missing = notices.of_status(&starved, false, None);
        assert_eq!(missing, ["a song is not here yet; silent until it is"]);
    }
}
