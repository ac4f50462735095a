//! One file with all the segments of a song at one quality, and the manifest that says what they are.
//!
//! The segments, one behind the other; the manifest; its BLAKE3 hash (32 bytes); its length (4 bytes, little endian); and `JAMPACK1`.
//! The list comes last since it is known last. So a pack is written in one go, and one that is cut off is none.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use jam_media::{Manifest, SEGMENT_BYTES_MAX};
use jam_world::File;

const MARK: &[u8; 8] = b"JAMPACK1";
const TAIL_BYTES: usize = 32 + 4 + MARK.len();

/// A pack that was opened.
#[derive(Debug)]
pub struct Pack {
    manifest: Manifest,
    wire: Bytes,
    hash: [u8; 32],
    /// Where each segment begins.
    offsets: Vec<u64>,
    /// `None`: the segments are nowhere; the disk had no room for them.
    file: Option<Arc<dyn File>>,
}

impl Pack {
    /// Of a manifest alone.
    pub(super) fn loose(manifest: Manifest) -> Self {
        let wire = manifest.encode();
        Self::of(manifest, wire, None)
    }

    fn of(manifest: Manifest, wire: Vec<u8>, file: Option<Arc<dyn File>>) -> Self {
        let mut end = 0;
        let place = |segment: &jam_media::SegmentInfo| {
            let offset = end;
            end += u64::from(segment.bytes);
            offset
        };
        let offsets = manifest.segments().iter().map(place).collect();
        let hash = blake3::hash(&wire).into();
        Self { manifest, wire: wire.into(), hash, offsets, file }
    }

    /// Opens one. Blocks. `None`: this is no whole pack.
    pub(super) fn open(file: Arc<dyn File>) -> io::Result<Option<Self>> {
        let length = file.len()?;
        let Some(tail_at) = length.checked_sub(TAIL_BYTES as u64) else { return Ok(None) };
        let mut tail = [0; TAIL_BYTES];
        file.read_exact_at(&mut tail, tail_at)?;
        let (hash, rest) = tail.split_at(32);
        let (size, mark) = rest.split_at(4);
        let size = u32::from_le_bytes(size.try_into().expect("it was split at 4"));
        let Some(wire_at) = tail_at.checked_sub(u64::from(size)) else { return Ok(None) };
        if mark != MARK || size as usize > SEGMENT_BYTES_MAX {
            return Ok(None);
        }
        let mut wire = vec![0; size as usize];
        file.read_exact_at(&mut wire, wire_at)?;
        if blake3::hash(&wire).as_bytes() != hash {
            return Ok(None);
        }
        let Ok(manifest) = Manifest::decode(&wire) else { return Ok(None) };
        let pack = Self::of(manifest, wire, Some(file));
        Ok((pack.bytes() == wire_at && pack.manifest.is_current()).then_some(pack))
    }

    /// Whether the segments are in no file.
    pub(super) fn is_loose(&self) -> bool {
        self.file.is_none()
    }

    /// What it is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest as it travels.
    pub fn wire(&self) -> Bytes {
        self.wire.clone()
    }

    /// The manifest's BLAKE3 hash.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.manifest.segments().iter().map(|segment| u64::from(segment.bytes)).sum()
    }

    /// A segment's bytes. Blocks. `None`: they are not what they were.
    pub(super) fn read(&self, index: usize) -> io::Result<Option<Bytes>> {
        let (Some(file), Some(segment), Some(offset)) =
            (&self.file, self.manifest.segments().get(index), self.offsets.get(index))
        else {
            return Ok(None);
        };
        let mut bytes = vec![0; segment.bytes as usize];
        match file.read_exact_at(&mut bytes, *offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok((blake3::hash(&bytes) == segment.hash).then(|| bytes.into()))
    }
}

/// What comes behind the segments.
pub(crate) fn tail(manifest: &Manifest) -> Vec<u8> {
    let mut tail = manifest.encode();
    let (hash, size) = (blake3::hash(&tail), tail.len() as u32);
    tail.extend_from_slice(hash.as_bytes());
    tail.extend_from_slice(&size.to_le_bytes());
    tail.extend_from_slice(MARK);
    tail
}
