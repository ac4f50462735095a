//! What a process sees of a file.

use std::io;

use jam_world::File;

use super::content::Content;
use super::faults::Event;
use super::handle::Handle;
use super::state::State;

/// A file, as long as the life goes on that opened it.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) handle: Handle,
    pub(super) number: u64,
    pub(super) may_write: bool,
}

impl File for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.handle.state();
        state.begin(self.handle.life())?;
        let bytes = &state.content(self.number)?.now;
        let rest = bytes.get(place(offset)?..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.may_write {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let (at, modified) = (place(offset)?, self.handle.wall());
        let mut state = self.handle.state();
        state.change(self.handle.life(), |state| {
            let room = state.room_bytes();
            let is_dark = state.is_dark;
            let content = state.content(self.number)?;
            let growth = (at + bytes.len()).saturating_sub(content.now.len()) as u64;
            // On a full disk, as much is written as fits.
            let missing = usize::try_from(growth.saturating_sub(room)).unwrap_or(usize::MAX);
            let fits = bytes.len().saturating_sub(missing);
            if fits > 0 {
                content.write(at, &bytes[..fits], modified, is_dark);
                state.tally.count(Event::Write, 1);
            }
            if fits < bytes.len() { Err(state.full()) } else { Ok(()) }
        })
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.handle.state();
        state.begin(self.handle.life())?;
        Ok(state.content(self.number)?.now.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(Content::sync_data)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(Content::sync_all)
    }
}

impl OpenFile {
    fn sync(&self, sync: impl FnOnce(&mut Content)) -> io::Result<()> {
        let mut state = self.handle.state();
        let done = state.sync(self.handle.life(), |state| {
            state.tally.count(Event::Sync, 1);
            if let Ok(content) = state.content(self.number) {
                sync(content);
            }
        });
        let is_io_error = matches!(&done, Err(error) if error.raw_os_error() == Some(libc::EIO));
        if is_io_error {
            let State { files, draws, .. } = &mut *state;
            if let Some(content) = files.get_mut(&self.number) {
                content.sync_failed(draws);
            }
        }
        done
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
