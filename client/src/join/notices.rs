//! What happens, in words or as JSON lines.

use jam_proto::event::{Event, EventKind};
use jam_proto::ids::EntryId;
use jam_proto::room::Room;
use serde_json::{Value, json};

use crate::audio::{PlayerState, PlayerStatus};
use crate::news::News;
use crate::text;

/// Turns news into lines, and notices by itself what comes about without a message.
pub(super) struct Notices {
    json: bool,
    state: PlayerState,
    entry: Option<EntryId>,
    underruns: u64,
    trouble: Option<String>,
    lost_leader: bool,
}

impl Notices {
    /// For people, or for programs.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            state: PlayerState::Joining,
            entry: None,
            underruns: 0,
            trouble: None,
            lost_leader: false,
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
            News::SongReady(track) => {
                return self.silent_text(json!({"event": "song_ready", "track": track.to_string()}));
            }
            News::Leader { node, term, epoch } => {
                let value = json!({"event": "leader", "node": node, "term": term, "epoch": epoch});
                if !std::mem::take(&mut self.lost_leader) {
                    return self.silent_text(value);
                }
                Some((value, format!("back: node {node} leads")))
            }
            News::LeaderLost => {
                self.lost_leader = true;
                Some((
                    json!({"event": "leader_lost"}),
                    "leader lost; playing on from what is here".to_owned(),
                ))
            }
            News::Trouble(what) => Some((
                json!({"event": "trouble", "message": what}),
                format!("! {}", text::clean(what)),
            )),
        };
        said.map(|(value, words)| self.say(value, words)).into_iter().collect()
    }

    /// The lines for what has changed at the player: songs begin and end without any message.
    pub fn of_status(&mut self, status: &PlayerStatus, room: Option<&Room>) -> Vec<String> {
        let mut lines = Vec::new();
        if status.state != self.state || status.entry != self.entry {
            let song = status.entry.and_then(|entry| room.and_then(|room| room.entry(entry)));
            let song_text = song.map_or_else(|| "a song".to_owned(), text::entry_song);
            let words = match status.state {
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
            self.state = status.state;
            self.entry = status.entry;
            if let Some(words) = words {
                let value = json!({
                    "event": "state",
                    "state": status.state.as_str(),
                    "entry": status.entry.map(|entry| entry.0),
                    "title": song.map(|song| &song.title),
                    "artist": song.map(|song| &song.artist),
                });
                lines.push(self.say(value, words));
            }
        }
        if status.underruns > self.underruns {
            let value = json!({"event": "underrun", "underruns": status.underruns});
            lines.push(self.say(
                value,
                "the output ran dry for a moment; this machine is too busy".to_owned(),
            ));
            self.underruns = status.underruns;
        }
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
        entry.map_or_else(|| format!("entry {id}"), text::entry_song)
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
    };
    json!({
        "event": what,
        "by": event.by,
        "entry": entry.map(|entry| entry.0),
        "revision": event.revision.0,
        "effective_at_ns": event.effective_at.as_nanos(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::ids::Revision;
    use jam_proto::time::SharedTime;

    fn skipped(by: &str) -> News {
        let kind = EventKind::Skipped { entry: EntryId(7) };
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
            notices.of(&News::LeaderLost, None),
            ["leader lost; playing on from what is here"]
        );
        assert_eq!(
            notices.of(&News::Leader { node: 2, term: 2, epoch: 1 }, None),
            ["back: node 2 leads"]
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
    fn a_song_that_begins_by_itself_is_told_once() {
        let mut notices = Notices::new(false);
        let status = PlayerStatus {
            state: PlayerState::Playing,
            entry: Some(EntryId(1)),
            ..PlayerStatus::default()
        };
        assert_eq!(notices.of_status(&status, None), ["playing a song"]);
        assert_eq!(notices.of_status(&status, None), Vec::<String>::new());
        let next = PlayerStatus { entry: Some(EntryId(2)), underruns: 1, ..status };
        assert_eq!(notices.of_status(&next, None).len(), 2);
    }
}
