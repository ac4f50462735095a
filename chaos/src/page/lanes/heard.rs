//! What each listener heard.

use std::collections::BTreeMap;

use jam_proto::wire::log::v1::log_entry::Op;

use super::{Axis, Label, Lane, Row};
use crate::history::{History, Sound, Stretch, What};
use crate::page::text::{moment, span};
use crate::promises::replay::Replay;

const HEIGHT: f64 = 22.0;
/// The page's colours for songs; with more songs, each is used again.
const COLOURS: usize = 6;
/// A song that goes on this evenly goes on: less would be a jump, ns.
const EVEN_NS: i64 = 1_000_000;
/// What is between two songs for less than this is their seam, ns.
const SEAM_NS: i64 = 15_000_000;

/// A row for each listener, a bar for each song.
pub(super) fn lane(history: &History, replay: &Replay<'_>, axis: Axis) -> Option<Lane> {
    let heard = stretches(history);
    let mut songs = Songs { titles: titles(replay), seen: Vec::new() };
    let mut rows: Vec<Row> = Vec::new();
    for (name, stretches) in &heard {
        let mut row = Row { name: (*name).to_owned(), height: HEIGHT, ..Row::default() };
        for stretch in stretches {
            bar(stretch, &mut songs, axis, &mut row);
        }
        rows.push(row);
    }
    let mut legend: Vec<(String, String)> = (songs.seen.iter().enumerate())
        .take(COLOURS)
        .map(|(at, track)| (format!("s{at}"), crate::page::explain::cut(&songs.name(track), 24)))
        .collect();
    legend.push(("noise".to_owned(), "something else".to_owned()));
    (!rows.is_empty()).then_some(Lane {
        title: "Heard",
        legend,
        note: "silence is left empty",
        rows,
    })
}

struct Songs {
    titles: BTreeMap<Vec<u8>, String>,
    /// In the order in which they were heard first.
    seen: Vec<Vec<u8>>,
}

impl Songs {
    fn colour(&mut self, track: &[u8]) -> usize {
        let place = self.seen.iter().position(|seen| seen == track).unwrap_or_else(|| {
            self.seen.push(track.to_vec());
            self.seen.len() - 1
        });
        place % COLOURS
    }

    fn name(&self, track: &[u8]) -> String {
        let id = || crate::history::Hex(track.to_vec()).short();
        match self.titles.get(track).map(String::as_str) {
            None | Some("") => id(),
            Some(title) if self.titles.values().filter(|one| *one == title).count() > 1 => {
                format!("{title} {}", id())
            }
            Some(title) => title.to_owned(),
        }
    }
}

fn titles(replay: &Replay<'_>) -> BTreeMap<Vec<u8>, String> {
    let tracks = replay.steps().iter().filter_map(|step| match &step.op {
        Some(Op::RegisterTrack(register)) => register.track.as_ref(),
        _ => None,
    });
    tracks.map(|track| (track.id.clone(), track.title.clone())).collect()
}

/// By listener, in order, what goes on evenly in one piece.
fn stretches(history: &History) -> BTreeMap<&str, Vec<Stretch>> {
    let mut heard: BTreeMap<&str, Vec<Stretch>> = BTreeMap::new();
    for record in &history.records {
        if let What::Heard(stretch) = &record.what {
            heard.entry(&stretch.listener).or_default().push(stretch.clone());
        }
    }
    for stretches in heard.values_mut() {
        stretches.sort_by_key(|stretch| stretch.from_ns);
        stretches.dedup_by(|next, before| {
            let joins = goes_on(before, next);
            if joins {
                before.until_ns = next.until_ns;
                if let (Sound::Song { until_ns, .. }, Sound::Song { until_ns: next_ns, .. }) =
                    (&mut before.sound, &next.sound)
                {
                    *until_ns = *next_ns;
                }
            }
            joins
        });
    }
    heard
}

fn goes_on(before: &Stretch, next: &Stretch) -> bool {
    let near = (next.from_ns - before.until_ns).abs() < EVEN_NS && before.life == next.life;
    near && match (&before.sound, &next.sound) {
        (Sound::Song { track, until_ns, .. }, Sound::Song { track: next_track, from_ns, .. }) => {
            track == next_track && (from_ns - until_ns).abs() < EVEN_NS
        }
        (one, other) => one == other,
    }
}

fn bar(stretch: &Stretch, songs: &mut Songs, axis: Axis, row: &mut Row) {
    let (from_ns, until_ns) = (stretch.from_ns, stretch.until_ns);
    let lasted_ns = until_ns - from_ns;
    let when = format!("for {} from {}", span(lasted_ns), moment(from_ns));
    let is_seen = |lasted_ns: i64| lasted_ns <= SEAM_NS || axis.px(lasted_ns) >= 2.0;
    let (class, title, y) = match &stretch.sound {
        // Silence is nothing, save where it is too short to be seen and too long for a seam.
        Sound::Silence => {
            if !is_seen(lasted_ns) {
                let title = format!("silence {when}");
                row.shapes.push_str(&axis.tick(from_ns, (1.0, 21.0), "gap", &title));
            }
            return;
        }
        Sound::Other => ("noise".to_owned(), format!("something else {when}"), (2.0, 20.0)),
        Sound::Song { track, from_ns: at_ns, .. } => {
            let (class, name) = (format!("s{}", songs.colour(&track.0)), songs.name(&track.0));
            let title = format!("{name} {when}, from {} of it on", moment(*at_ns));
            row.labels.push(Label {
                from_ns,
                until_ns: Some(until_ns),
                before: false,
                y: 15.0,
                text: crate::page::explain::cut(&name, 32),
                class: "on-song",
            });
            (class, title, (1.0, 21.0))
        }
    };
    let is_song = matches!(stretch.sound, Sound::Song { .. });
    row.shapes.push_str(&axis.bar(from_ns, until_ns, y, &class, &title));
    if is_song {
        // One song may follow itself.
        row.shapes.push_str(&axis.tick(from_ns, (1.0, 21.0), "seam", &title));
    }
    // What is too short to be seen is seen all the same, but for what joins two songs.
    if !is_song && !is_seen(lasted_ns) {
        row.shapes.push_str(&axis.tick(from_ns, (1.0, 21.0), "gap", &title));
    }
}
