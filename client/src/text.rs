//! Rooms and songs in words, for people: pure functions, so that each line can be tested.

use jam_proto::event::Entry;
use jam_proto::ids::EntryId;
use jam_proto::room::{Action, LastAction};
use jam_proto::time::Flicks;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `m:ss`, or `h:mm:ss` from an hour on.
pub fn clock(position: Flicks) -> String {
    let secs = position.as_nanos().max(0) / 1_000_000_000;
    let (hours, minutes, seconds) = (secs / 3600, secs / 60 % 60, secs % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `Artist — Title`, or the title alone.
pub fn song(title: &str, artist: &str) -> String {
    match (clean(title), clean(artist)) {
        (title, artist) if artist.is_empty() => title,
        (title, artist) => format!("{artist} — {title}"),
    }
}

/// An entry's song.
pub fn entry_song(entry: &Entry) -> String {
    song(&entry.title, &entry.artist)
}

/// Text from others, without what would garble a terminal. Nodes check names, but tags come from files.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// An error bound as people read it.
pub fn error_bound(bound_ns: i64) -> String {
    match bound_ns {
        ..1_000_000 => format!("±{} µs", bound_ns.max(0) / 1000),
        1_000_000..10_000_000 => format!("±{:.1} ms", bound_ns as f64 / 1e6),
        _ => format!("±{} ms", bound_ns / 1_000_000),
    }
}

/// A difference of times, with its sign.
pub fn signed(ns: i64) -> String {
    let sign = if ns < 0 { "−" } else { "+" };
    format!("{sign}{}", error_bound(ns.saturating_abs()).trim_start_matches('±'))
}

/// What a listener says of its error; it may not know the time yet.
pub fn error(bound_ns: Option<i64>) -> String {
    bound_ns.map_or_else(|| "not in sync".to_owned(), error_bound)
}

/// Bytes as people read them.
pub fn bytes(count: u64) -> String {
    match count {
        ..1_000_000 => format!("{:.0} kB", (count as f64 / 1e3).ceil()),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

/// `1 song`, `2 songs`.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// How often the sound stopped while a song was due, and for how long in all.
pub fn gaps(times: u64, total_ns: i64) -> String {
    let length = error_bound(total_ns);
    match (times, length.trim_start_matches('±')) {
        (0, _) => "no silence".to_owned(),
        (1, length) => format!("1 silence of {length}"),
        (times, length) => format!("{times} silences, {length} in all"),
    }
}

/// Cut to `width` columns, with an ellipsis where something is missing.
pub fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for symbol in text.chars() {
        let wide = symbol.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        cut.push(symbol);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// Cut or filled to exactly `width` columns.
pub fn pad(text: &str, width: usize) -> String {
    let fitted = fit(text, width);
    let missing = width.saturating_sub(fitted.width());
    fitted + &" ".repeat(missing)
}

/// A table with columns as wide as they need to be, the last one ragged; two spaces between them.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.width())
                .max()
                .unwrap_or(0)
                .min(60)
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// A queue, one line each: the entry's number, the song, its length, who added it.
pub fn queue(entries: &[Entry], current: Option<EntryId>, playing: bool) -> String {
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let mark = match (current == Some(entry.id), playing) {
                (true, true) => "▶",
                (true, false) => "⏸",
                (false, _) => " ",
            };
            let added_by = format!("added by {}", clean(&entry.added_by));
            vec![
                format!("{mark} {:>3}", entry.id.0),
                fit(&entry_song(entry), 56),
                clock(entry.length()),
                added_by,
            ]
        })
        .collect();
    table(&rows)
}

/// Why a room is silent although someone listens; `None`: it is not. `stopped`: who stopped its clock.
pub fn silence(playing: bool, current: bool, stopped: Option<&LastAction>) -> Option<String> {
    match (playing, current, stopped) {
        (true, true, _) => None,
        (true, false, _) => Some("the queue is dry; add a song and it starts at once".to_owned()),
        (false, _, Some(LastAction { what: Action::PausedNobodyListening, .. })) => {
            Some("paused by the cluster, since nobody had listened for a minute".to_owned())
        }
        (false, _, Some(by)) => Some(format!("paused by {}", clean(&by.by))),
        (false, false, None) => {
            Some("nothing is queued and nobody has pressed play yet".to_owned())
        }
        (false, true, None) => Some("nobody has pressed play yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use jam_proto::event::Song;
    use jam_proto::ids::TrackId;
    use jam_proto::time::SharedTime;

    fn entry(id: u64, title: &str, artist: &str) -> Entry {
        Entry {
            id: EntryId(id),
            song: Arc::new(Song {
                track: TrackId([0; 32]),
                title: title.into(),
                artist: artist.into(),
                album: String::new(),
                frames: 44_100 * 185,
                sample_rate: 44_100,
                own_gain: None,
            }),
            added_by: "ann".into(),
            gain: jam_proto::loudness::Gain(0),
        }
    }

    #[test]
    fn positions() {
        assert_eq!(clock(Flicks::from_millis(59_999)), "0:59");
        assert_eq!(clock(Flicks::from_secs(185)), "3:05");
        assert_eq!(clock(Flicks::from_secs(3723)), "1:02:03");
        assert_eq!(clock(Flicks(-5)), "0:00");
    }

    #[test]
    fn bounds_and_sizes() {
        assert_eq!(error_bound(85_400), "±85 µs");
        assert_eq!(error_bound(1_250_000), "±1.2 ms");
        assert_eq!(error_bound(25_000_000), "±25 ms");
        assert_eq!(bytes(1), "1 kB");
        assert_eq!(bytes(3_140_000), "3.1 MB");
        assert_eq!(count(1, "song"), "1 song");
        assert_eq!(count(0, "song"), "0 songs");
    }

    #[test]
    fn columns_count_what_a_terminal_shows() {
        assert_eq!(fit("夜に駆ける", 5), "夜に…");
        assert_eq!(pad("夜", 4), "夜  ");
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("abcd", 0), "");
    }

    #[test]
    fn a_queue_lines_up() {
        let (one, two) = (entry(7, "First", "Ann"), entry(12, "Second\u{1b}[2J", ""));
        let want = "▶   7  Ann — First  3:05  added by ann\n   12  Second [2J   3:05  added by ann";
        assert_eq!(queue(&[one, two], Some(EntryId(7)), true), want);
    }

    #[test]
    fn silence_has_a_reason() {
        let by = |by: &str, what| Some(LastAction { by: by.into(), what, at: SharedTime(0) });
        let why = |playing, current, by: Option<LastAction>| silence(playing, current, by.as_ref());
        assert_eq!(why(true, true, None), None);
        assert_eq!(why(false, true, by("ann", Action::Paused)).as_deref(), Some("paused by ann"));
        assert!(why(true, false, None).is_some_and(|why| why.contains("dry")));
        let nobody = why(false, true, by("", Action::PausedNobodyListening));
        assert!(nobody.is_some_and(|why| why.contains("nobody had listened")));
        assert!(why(false, true, None).is_some_and(|why| why.contains("pressed play")));
    }
}
