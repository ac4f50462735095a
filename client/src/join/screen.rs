//! The terminal: lines that scroll by, and a live block below them that is drawn again and again.
//!
//! A thread of its own writes, and what it can't keep up with is dropped: a terminal that is stopped (Ctrl-S), or a pipe that
//! nobody reads, must not hold up the music.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crossterm::{cursor, queue, style, terminal};

use crate::output::Output;

/// Lines and drawings that wait to be written.
const WAITING_MAX: usize = 256;
/// How long the end waits for a terminal that does not take more.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

enum Paint {
    Line(String),
    Block(Vec<String>),
}

/// Where the listener looks.
pub(crate) struct Screen {
    live: bool,
    paints: Option<SyncSender<Paint>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Screen {
    /// Live if it can be: on a terminal, with a keyboard, and not in the background, where a terminal stops whoever changes its mode.
    pub fn open(output: Output, headless: bool) -> Self {
        let terminals = io::stdin().is_terminal() && io::stdout().is_terminal();
        let live = !headless
            && !output.is_json()
            && terminals
            && is_in_foreground()
            && terminal::enable_raw_mode().is_ok();
        let (paints, queued) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("jam-screen".into())
            .spawn(move || write_all(&queued, live))
            .ok();
        Self { live, paints: Some(paints), thread }
    }

    /// Whether there is a live block.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Adds a line above the block.
    pub fn tell(&self, line: String) {
        self.paint(Paint::Line(line));
    }

    /// Draws the block.
    pub fn draw(&self, block: Vec<String>) {
        self.paint(Paint::Block(block));
    }

    fn paint(&self, paint: Paint) {
        if let Some(paints) = &self.paints {
            let _ = paints.try_send(paint);
        }
    }

    /// Leaves the terminal as it was.
    pub fn close(&mut self) {
        drop(self.paints.take());
        if let Some(thread) = self.thread.take() {
            let began = Instant::now();
            while !thread.is_finished() && began.elapsed() < CLOSE_TIME_MAX {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if self.live {
            self.live = false;
            let _ = terminal::disable_raw_mode();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

fn is_in_foreground() -> bool {
    let group = rustix::termios::tcgetpgrp(io::stdin());
    group.is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Columns of the terminal.
pub(super) fn width() -> usize {
    terminal::size().map_or(80, |(columns, _)| usize::from(columns))
}

fn write_all(queued: &Receiver<Paint>, live: bool) {
    let mut out = io::stdout();
    let mut block: Vec<String> = Vec::new();
    while let Ok(paint) = queued.recv() {
        let written = if live {
            paint_live(&mut out, &mut block, paint)
        } else if let Paint::Line(line) = paint {
            writeln!(out, "{line}").and_then(|()| out.flush())
        } else {
            Ok(())
        };
        // Nobody looks any more; the music goes on.
        if written.is_err() {
            return;
        }
    }
    if live {
        let _ = wipe(&mut out, block.len())
            .and_then(|()| queue!(out, cursor::Show))
            .and_then(|()| out.flush());
    }
}

fn paint_live(out: &mut impl Write, block: &mut Vec<String>, paint: Paint) -> io::Result<()> {
    queue!(out, terminal::BeginSynchronizedUpdate)?;
    wipe(out, block.len())?;
    match paint {
        Paint::Line(line) => queue!(out, style::Print(line), style::Print("\r\n"))?,
        Paint::Block(new) => *block = new,
    }
    for line in block.iter() {
        queue!(out, style::Print(line), style::Print("\r\n"))?;
    }
    queue!(out, cursor::Hide, terminal::EndSynchronizedUpdate)?;
    out.flush()
}

/// Goes back to the block's first line and clears from there.
fn wipe(out: &mut impl Write, lines: usize) -> io::Result<()> {
    if lines > 0 {
        queue!(out, cursor::MoveToPreviousLine(u16::try_from(lines).unwrap_or(u16::MAX)))?;
    }
    queue!(out, terminal::Clear(terminal::ClearType::FromCursorDown))
}
