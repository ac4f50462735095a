//! Standard error as a place for log lines: writing one never blocks, fails or ends the process.
//!
//! A log that goes to a full disk, a closed pipe or a pipe that nobody reads must not take a node down with it. Lines go to
//! a thread of their own through a queue ([`tracing_appender::non_blocking`]), which drops what does not fit. What was
//! lost is counted, and said in the log as soon as it can be written again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines in the queue: some 2 MB at worst, and a burst of several seconds at the level `info`.
const LINES_MAX: usize = 8192;

/// The log of this process, which goes to standard error.
pub struct LogLines {
    lines: NonBlocking,
    counts: LostLines,
    /// Writes what waits when it is dropped, for at most about a second.
    _worker: WorkerGuard,
}

impl LogLines {
    /// Starts the thread that writes. `program` begins the line about lost ones.
    pub fn to_stderr(program: &'static str) -> Self {
        Self::to(program, io::stderr())
    }

    fn to(program: &'static str, out: impl Write + Send + 'static) -> Self {
        let failed = Arc::<AtomicUsize>::default();
        let counts = Arc::<std::sync::OnceLock<LostLines>>::default();
        let writer = Lossy {
            program,
            out,
            failed: failed.clone(),
            counts: counts.clone(),
            told: 0,
            is_torn: false,
        };
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX);
        let (lines, worker) = builder.thread_name("log").finish(writer);
        let lost = LostLines { dropped: lines.error_counter(), failed };
        let _ = counts.set(lost.clone());
        Self { lines, counts: lost, _worker: worker }
    }

    /// Where `tracing_subscriber` writes.
    pub fn writer(&self) -> NonBlocking {
        self.lines.clone()
    }

    /// Counts the lines that were lost.
    pub fn lost(&self) -> LostLines {
        self.counts.clone()
    }

    /// One line, as if it were logged.
    pub fn say(&self, line: &str) {
        // The queue takes it or counts it as lost; it never fails.
        let _ = self.writer().write_all(format!("{line}\n").as_bytes());
    }
}

/// Counts the log lines that were lost. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LostLines {
    /// The queue was full.
    dropped: ErrorCounter,
    /// Standard error did not take them.
    failed: Arc<AtomicUsize>,
}

impl LostLines {
    /// How many since the process started.
    pub fn count(&self) -> usize {
        self.dropped.dropped_lines().saturating_add(self.failed.load(Ordering::Relaxed))
    }
}

/// Writes lines, and counts those that can't be written.
struct Lossy<W> {
    program: &'static str,
    out: W,
    failed: Arc<AtomicUsize>,
    counts: Arc<std::sync::OnceLock<LostLines>>,
    /// As many lost lines have been told of.
    told: usize,
    /// The last line was cut off in its middle.
    is_torn: bool,
}

impl<W: Write> Lossy<W> {
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let mut rest = line;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = &rest[written..];
                    self.is_torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says how many lines were lost since this was said last.
    fn tell_lost(&mut self) -> io::Result<()> {
        let lost = self.counts.get().map_or(0, LostLines::count);
        if lost == self.told {
            return Ok(());
        }
        let newline = if self.is_torn { "\n" } else { "" };
        let (program, count) = (self.program, lost - self.told);
        let lines = if count == 1 { "1 log line was" } else { &format!("{count} log lines were") };
        self.put(
            format!("{newline}{program}: {lines} lost: the log could not be written\n").as_bytes(),
        )?;
        self.told = lost;
        Ok(())
    }
}

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.tell_lost().and_then(|()| self.put(line));
        if written.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What can't be flushed is lost, which nobody can be told here.
        let _ = self.out.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::sync::{Mutex, PoisonError};

    /// Takes bytes while it has room, as a disk that fills up does.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Disk {
        fn has_room_for(&self, bytes: usize) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = bytes;
        }

        fn text(&self) -> String {
            let disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8(disk.1.clone()).expect("text")
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = bytes.len().min(disk.0);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.0 -= fits;
            disk.1.extend(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_full_disk_does_not_take_are_counted_and_told_later() {
        let disk = Disk::default();
        disk.has_room_for(11);
        let log = LogLines::to("jamd", disk.clone());
        let lost = log.lost();
        for line in ["first", "second", "third"] {
            log.say(line);
        }
        // Dropping it writes what waits.
        drop(log);
        assert_eq!((disk.text().as_str(), lost.count()), ("first\nsecon", 2));

        let counts = Arc::new(std::sync::OnceLock::new());
        let mut writer = Lossy {
            program: "jamd",
            out: disk.clone(),
            failed: lost.failed.clone(),
            counts: counts.clone(),
            told: 0,
            is_torn: true,
        };
        counts.set(lost.clone()).expect("it is set once");
        disk.has_room_for(1000);
        writer.write_all(b"fourth\n").expect("it never fails");
        writer.write_all(b"fifth\n").expect("it never fails");
        let told = "first\nsecon\njamd: 2 log lines were lost: the log could not be written\nfourth\nfifth\n";
        assert_eq!(disk.text(), told);
    }

    /// Blocks as long as nobody reads, as a pipe does.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up() {
        let (out, read): (_, Receiver<Vec<u8>>) = sync_channel(0);
        let log = LogLines::to("jamd", Pipe(out));
        for number in 0..LINES_MAX * 2 {
            log.say(&number.to_string());
        }
        assert!(log.lost().count() >= LINES_MAX - 1, "{}", log.lost().count());
        // The reader goes: from here on each line fails, and none of them ends anything.
        drop(read);
        log.say("one more");
    }
}
