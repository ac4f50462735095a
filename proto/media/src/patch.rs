//! A file with some of its bytes changed.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use crate::Source;

/// Other bytes for those from `at` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Patch {
    /// The source, so changed.
    pub(crate) fn over(self, source: Source) -> Source {
        Box::new(Patched { patch: self, source, at: 0 })
    }
}

struct Patched {
    patch: Patch,
    source: Source,
    at: u64,
}

impl Read for Patched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        let Patch { at, bytes } = &self.patch;
        // From where on, of what was read and of the patch.
        let skip =
            |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let to = buffer[..read].get_mut(skip(self.at, *at)..).unwrap_or_default();
        let from = bytes.get(skip(*at, self.at)..).unwrap_or_default();
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Patched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.source.seek(to)?;
        Ok(self.at)
    }
}

impl MediaSource for Patched {
    fn is_seekable(&self) -> bool {
        self.source.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.source.byte_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn only_those_bytes_are_others() {
        let source = crate::source(Cursor::new(b"0123456789".to_vec()), 10);
        let mut patched = Patch { at: 3, bytes: b"abc".to_vec() }.over(source);
        let mut all = String::new();
        patched.read_to_string(&mut all).expect("memory can be read");
        assert_eq!(all, "012abc6789");
        for (from, expected) in [(2, "2a"), (4, "bc"), (5, "c6"), (6, "67"), (9, "9")] {
            patched.seek(SeekFrom::Start(from)).expect("memory can be sought in");
            let mut two = [0; 2];
            let read = patched.read(&mut two).expect("memory can be read");
            assert_eq!(&two[..read], expected.as_bytes());
        }
    }
}
