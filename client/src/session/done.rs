//! The replies that an unfinished command line has got, in a file that only grows: adding a folder of thousands of songs
//! must not write all replies again for each one.
//!
//! Its first line names the command line that it belongs to, each further one is a step and its reply. It is synced before the slot's
//! file says that the next step is sent, so a power cut never takes a reply back whose step is not in the slot's file any more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jam_world::{Disk, File, Open};

use super::saved::Unfinished;

/// The file of one slot.
pub(super) struct DoneLog {
    path: PathBuf,
    /// Once something was written.
    file: Option<Arc<dyn File>>,
    /// Bytes up to the last whole line.
    len: u64,
    /// How many of the replies are in it.
    lines: usize,
    is_synced: bool,
}

impl DoneLog {
    /// Reads what a run before this one got, into `unfinished`.
    pub fn open(
        disk: &dyn Disk,
        slot: &Path,
        unfinished: Option<&mut Unfinished>,
    ) -> io::Result<Self> {
        let path = slot.with_extension("done");
        let mut log = Self { path, file: None, len: 0, lines: 0, is_synced: true };
        let Some(unfinished) = unfinished.filter(|unfinished| !unfinished.log.is_empty()) else {
            return Ok(log);
        };
        let bytes = match disk.read(&log.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(log),
            Err(error) => return Err(error),
        };
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let Some(first) = lines.next().filter(|line| *line == head(&unfinished.log)) else {
            return Ok(log);
        };
        log.len = first.len() as u64;
        // What a power cut left of the last line is not a reply.
        for line in lines.take_while(|line| line.ends_with(b"\n")) {
            let Ok(done) = serde_json::from_slice(line) else { break };
            unfinished.done.push(done);
            log.len += line.len() as u64;
        }
        log.lines = unfinished.done.len();
        log.file = Some(disk.open(&log.path, Open::Change)?);
        Ok(log)
    }

    /// Writes the replies that are not in it yet.
    pub fn append(&mut self, disk: &dyn Disk, unfinished: &mut Unfinished) -> io::Result<()> {
        if unfinished.done.len() == self.lines {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                (self.len, self.lines) = (0, 0);
                bytes.extend_from_slice(&head(&unfinished.log));
                // Whoever can read the replies knows what this user did where.
                self.file.insert(disk.open(&self.path, Open::Secret)?).clone()
            }
        };
        for done in &unfinished.done[self.lines..] {
            serde_json::to_writer(&mut bytes, done)?;
            bytes.push(b'\n');
        }
        self.is_synced = false;
        file.write_at(&bytes, self.len)?;
        (self.len, self.lines) = (self.len + bytes.len() as u64, unfinished.done.len());
        Ok(())
    }

    /// Makes all that was written durable.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            file.sync_all()?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Removes the file: the command line has ended.
    pub fn remove(&mut self, disk: &dyn Disk) -> io::Result<()> {
        match self.file.take() {
            Some(_) => disk.remove(&self.path),
            None => Ok(()),
        }
    }
}

fn head(log: &str) -> Vec<u8> {
    format!("{log}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use jam_world::World;

    use super::*;
    use crate::session::saved::Done;

    fn unfinished(log: &str) -> Unfinished {
        let log = log.to_owned();
        Unfinished {
            intent: "add".into(),
            started_unix_secs: 0,
            log,
            done: Vec::new(),
            sending: None,
        }
    }

    fn done(step: usize) -> Done {
        Done { step: step.to_string(), reply: "reply".into() }
    }

    fn steps(unfinished: &Unfinished) -> Vec<&str> {
        unfinished.done.iter().map(|done| &*done.step).collect()
    }

    #[test]
    fn a_later_run_finds_the_replies_up_to_where_the_power_went() {
        let (folder, world) = (tempfile::tempdir().expect("a folder"), World::real());
        let (disk, slot) = (world.disk.as_ref(), folder.path().join("0.json"));
        let mut first = unfinished("one");
        let mut log = DoneLog::open(disk, &slot, Some(&mut first)).expect("nothing there");
        for step in 0..3 {
            first.done.push(done(step));
            log.append(disk, &mut first).expect("written");
        }
        log.sync().expect("synced");
        let path = slot.with_extension("done");
        let bytes = std::fs::read(&path).expect("there");
        std::fs::write(&path, &bytes[..bytes.len() - 3]).expect("cut off");

        let mut second = unfinished("one");
        let mut log = DoneLog::open(disk, &slot, Some(&mut second)).expect("readable");
        assert_eq!(steps(&second), ["0", "1"]);
        second.done.push(done(7));
        log.append(disk, &mut second).expect("written");
        let mut third = unfinished("one");
        DoneLog::open(disk, &slot, Some(&mut third)).expect("readable");
        assert_eq!(steps(&third), ["0", "1", "7"]);

        // Another command line has none of them.
        let mut other = unfinished("two");
        let mut log = DoneLog::open(disk, &slot, Some(&mut other)).expect("readable");
        assert_eq!(steps(&other), Vec::<&str>::new());
        other.done.push(done(8));
        log.append(disk, &mut other).expect("written");
        let mut other = unfinished("two");
        let mut log = DoneLog::open(disk, &slot, Some(&mut other)).expect("readable");
        assert_eq!(steps(&other), ["8"]);
        log.remove(disk).expect("removed");
        assert!(!path.exists());
    }

    #[test]
    fn a_reply_costs_the_same_after_thousands() {
        let (folder, world) = (tempfile::tempdir().expect("a folder"), World::real());
        let (disk, slot) = (world.disk.as_ref(), folder.path().join("0.json"));
        let mut one = unfinished("one");
        let mut log = DoneLog::open(disk, &slot, Some(&mut one)).expect("nothing there");
        let mut grown = Vec::new();
        for step in 1000..4000 {
            let before = log.len;
            one.done.push(done(step));
            log.append(disk, &mut one).expect("written");
            grown.push(log.len - before);
        }
        assert_eq!(grown[1], grown[2999]);
    }
}
