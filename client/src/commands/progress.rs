//! The bars of `jam add`: how much of a song is on its way, what the nodes do with it, and how far the whole command is.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text;

/// All fit into 80 columns.
const READING: &str = "{prefix} {spinner} reading";
const SENDING: &str = "{prefix} [{bar:16}] {decimal_bytes}/{decimal_total_bytes}, {eta} left";
const STORING: &str = "{prefix} {spinner} sent; the nodes check and store it ({elapsed})";
/// Columns for a song's name and place.
const NAME: usize = 28;
const TICK: Duration = Duration::from_millis(200);

/// The bars of one command.
pub(super) struct Progress {
    bars: MultiProgress,
    /// If there are several songs.
    whole: Option<ProgressBar>,
    songs: usize,
}

impl Progress {
    /// For these files, on standard error if that is a terminal.
    pub fn new(files: &[PathBuf], is_shown: bool) -> Self {
        let target =
            if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        // A file that can't be read is told of when its turn comes.
        let sizes = files.iter().map(|path| std::fs::metadata(path).map_or(0, |file| file.len()));
        Self::on(target, files.len(), sizes.sum())
    }

    fn on(target: ProgressDrawTarget, songs: usize, bytes: u64) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        let whole = (songs > 1).then(|| {
            let bar = bars.add(ProgressBar::new(bytes).with_style(style(SENDING)));
            bar.with_prefix(text::pad(&format!("all {songs} songs"), NAME))
        });
        Self { bars, whole, songs }
    }

    /// A bar for the song at this place of the command line, counted from 0.
    pub fn song(&self, place: usize, name: &str, bytes: u64) -> SongBar {
        let place = match self.whole {
            Some(_) => format!("{}/{} ", place + 1, self.songs),
            None => String::new(),
        };
        let name = text::pad(&text::clean(name), NAME.saturating_sub(place.len()));
        let bar = ProgressBar::new(bytes).with_style(style(READING));
        // The whole stays below it.
        let bar = self.bars.insert(0, bar).with_prefix(format!("{place}{name}"));
        bar.enable_steady_tick(TICK);
        let whole = self.whole.clone();
        let before = whole.as_ref().map_or(0, ProgressBar::position);
        SongBar { bar, whole, before, bytes, sent: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Prints something while the bars are out of its way.
    pub fn around<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }
}

/// How far one song is.
#[derive(Clone)]
pub(super) struct SongBar {
    bar: ProgressBar,
    whole: Option<ProgressBar>,
    /// Where the whole was when this song began.
    before: u64,
    bytes: u64,
    /// As told last; `u64::MAX`: not yet.
    sent: Arc<AtomicU64>,
}

impl SongBar {
    /// The cluster has so many of its bytes, or they are on their way.
    pub fn sent(&self, at: u64) {
        let last = self.sent.swap(at, Ordering::Relaxed);
        let begins = last == u64::MAX || at < last;
        self.bar.set_position(at);
        if let Some(whole) = &self.whole {
            whole.set_position(self.before + at);
        }
        if begins {
            // What an earlier attempt brought says nothing of how fast this one is.
            self.begin(SENDING);
            if let Some(whole) = &self.whole {
                whole.reset_eta();
            }
        }
        if at >= self.bytes {
            self.begin(STORING);
        }
    }

    /// The song is there, or was given up.
    pub fn end(&self) {
        self.bar.finish_and_clear();
        if let Some(whole) = &self.whole {
            whole.set_position(self.before + self.bytes);
        }
    }

    fn begin(&self, stage: &str) {
        self.bar.set_style(style(stage));
        self.bar.reset_eta();
        self.bar.reset_elapsed();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants, and the tests draw each")
        .progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use indicatif::TermLike;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    /// A terminal of 80 columns that keeps every line that was drawn.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<Vec<String>>>);

    impl Terminal {
        fn lines(&self) -> Vec<String> {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.retain(|line| !line.trim().is_empty());
            std::mem::take(&mut *lines)
        }

        fn put(&self, text: &str) -> io::Result<()> {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend(text.lines().map(str::to_owned));
            Ok(())
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }
        fn height(&self) -> u16 {
            24
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn progress(songs: usize, bytes: u64) -> (Progress, Terminal) {
        let terminal = Terminal::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
        (Progress::on(target, songs, bytes), terminal)
    }

    /// What is drawn of a song now: its own line.
    fn drawn(bar: &SongBar, terminal: &Terminal) -> String {
        terminal.lines();
        bar.bar.force_draw();
        terminal.lines().swap_remove(0)
    }

    #[test]
    fn it_counts_what_was_sent_then_says_what_the_nodes_do() {
        let (progress, terminal) = progress(1, 20_000_000);
        let bar = progress.song(0, "song.flac", 20_000_000);
        assert!(drawn(&bar, &terminal).ends_with("reading"));
        for (at, want) in [
            (0, "0 B/20.00 MB"),
            (65_536, "65.54 kB/20.00 MB"),
            (10_000_000, "10.00 MB/20.00 MB"),
            (20_000_000, "sent; the nodes check and store it"),
            // The line broke: it goes on from what the cluster has.
            (15_000_000, "15.00 MB/20.00 MB"),
            (20_000_000, "sent; the nodes check and store it"),
        ] {
            bar.sent(at);
            let line = drawn(&bar, &terminal);
            assert!(line.contains(want) && line.starts_with("song.flac "), "{at}: {line}");
        }
    }

    #[test]
    fn with_several_songs_the_whole_is_shown_as_well() {
        let (progress, terminal) = progress(12, 60_000_000);
        let first = progress.song(0, "first.flac", 20_000_000);
        first.sent(5_000_000);
        first.bar.force_draw();
        let lines = terminal.lines();
        assert!(lines.iter().any(|line| line.starts_with("1/12 first.flac")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("all 12 songs")), "{lines:?}");
        first.end();
        let second = progress.song(1, "second.flac", 10_000_000);
        second.sent(10_000_000);
        let whole = progress.whole.expect("there are several");
        assert_eq!((whole.position(), whole.length()), (30_000_000, Some(60_000_000)));
    }

    #[test]
    fn no_line_is_wider_than_80_columns() {
        let (progress, terminal) = progress(6000, 999_990_000_000);
        let bar = progress.song(5999, &"夜に駆ける".repeat(9), 999_990_000_000);
        for at in [0, 999_980_000_000, 999_990_000_000] {
            bar.sent(at);
            bar.bar.force_draw();
        }
        let lines = terminal.lines();
        assert!(lines.len() > 3);
        for line in lines {
            assert!(line.width() <= 80, "{} columns: {line}", line.width());
        }
    }
}
