//! A part of a file as if it were all of it.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use crate::Source;

/// `length` bytes of a source from `first` on, behind `head`.
pub(crate) struct Part {
    head: Vec<u8>,
    source: Source,
    first: u64,
    length: u64,
    at: u64,
}

impl Part {
    /// Nothing but the part.
    pub(crate) fn of(source: Source, first: u64, length: u64) -> Source {
        Self::behind(Vec::new(), source, first, length)
    }

    /// The part behind bytes that the file does not have.
    pub(crate) fn behind(head: Vec<u8>, source: Source, first: u64, length: u64) -> Source {
        Box::new(Self { head, source, first, length, at: 0 })
    }

    fn total(&self) -> u64 {
        self.head.len() as u64 + self.length
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let held = self.head.len() as u64;
        let read = if self.at < held {
            let mut head = &self.head[self.at as usize..];
            head.read(buffer)?
        } else {
            let left = usize::try_from(self.total().saturating_sub(self.at)).unwrap_or(usize::MAX);
            let want = left.min(buffer.len());
            if want == 0 {
                return Ok(0);
            }
            self.source.seek(SeekFrom::Start(self.first + self.at - held))?;
            self.source.read(&mut buffer[..want])?
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.total().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl MediaSource for Part {
    fn is_seekable(&self) -> bool {
        self.source.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.total())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn it_is_read_as_a_whole_file() {
        let source = crate::source(Cursor::new(b"0123456789".to_vec()), 10);
        let mut part = Part::behind(b"ab".to_vec(), source, 3, 4);
        let mut all = Vec::new();
        part.read_to_end(&mut all).expect("memory can be read");
        assert_eq!((all.as_slice(), part.byte_len()), (&b"ab3456"[..], Some(6)));
        let mut two = [0; 2];
        assert_eq!(part.seek(SeekFrom::End(-2)).ok(), Some(4));
        part.read_exact(&mut two).expect("two are left");
        assert_eq!(&two, b"56");
        assert_eq!(part.seek(SeekFrom::Current(-5)).ok(), Some(1));
        part.read_exact(&mut two).expect("over the seam");
        assert_eq!(&two, b"b3");
        assert!(part.seek(SeekFrom::Current(-9)).is_err());
        assert_eq!(part.seek(SeekFrom::Start(99)).ok(), Some(99));
        assert_eq!(part.read(&mut two).ok(), Some(0));
    }
}
