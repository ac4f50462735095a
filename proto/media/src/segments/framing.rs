//! A segment's bytes: packets, one behind the other.

use super::wire::{Fault, Reader, number_bytes, put_number};

const VERSION: u8 = 1;

/// A segment that is being written.
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Of the packet before.
    frames: Option<u64>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![VERSION], frames: None }
    }

    /// How long the segment would be with this packet too.
    pub(super) fn bytes_with(&self, data: &[u8], frames: u64) -> usize {
        let told = if self.frames == Some(frames) { 0 } else { number_bytes(frames) };
        self.bytes.len() + number_bytes((data.len() as u64) << 1) + told + data.len()
    }

    pub(super) fn push(&mut self, data: &[u8], frames: u64) {
        let same = self.frames == Some(frames);
        put_number(&mut self.bytes, (data.len() as u64) << 1 | u64::from(same));
        if !same {
            put_number(&mut self.bytes, frames);
            self.frames = Some(frames);
        }
        self.bytes.extend_from_slice(data);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A packet of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) data: &'a [u8],
    pub(super) frames: u64,
}

/// The packets that are left of a segment.
pub(super) struct Packets<'a> {
    rest: Reader<'a>,
    frames: Option<u64>,
}

impl<'a> Packets<'a> {
    pub(super) fn of(segment: &'a [u8]) -> Result<Self, Fault> {
        let mut rest = Reader(segment);
        match rest.byte()? {
            VERSION => Ok(Self { rest, frames: None }),
            _ => Err("it is of a version that is not known here"),
        }
    }

    /// Where in the segment the next packet is, to go on from later.
    pub(super) fn place(&self, segment: &[u8]) -> Place {
        Place { at: segment.len() - self.rest.0.len(), frames: self.frames }
    }

    /// Goes on at a place in the same segment.
    pub(super) fn from(segment: &'a [u8], place: Place) -> Self {
        Self { rest: Reader(&segment[place.at..]), frames: place.frames }
    }

    pub(super) fn next(&mut self) -> Result<Option<Packet<'a>>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let head = self.rest.number()?;
        let frames = match (head & 1 == 1, self.frames) {
            (true, Some(frames)) => frames,
            (true, None) => return Err("its first packet is as long as none before it"),
            (false, before) => match self.rest.number()? {
                frames if before == Some(frames) => return Err("a packet's length is told twice"),
                frames => frames,
            },
        };
        self.frames = Some(frames);
        let length = usize::try_from(head >> 1).map_err(|_| "it ends too early")?;
        let data = self.rest.bytes(length)?;
        if length == 0 && frames == 0 {
            return Err("a packet is neither bytes nor silence");
        }
        Ok(Some(Packet { data, frames }))
    }
}

/// A packet's place in a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    at: usize,
    frames: Option<u64>,
}

/// Whether a segment's packets are `frames` frames and no more: none begins after the last of them, and none has
/// more than `packet_max`.
pub(super) fn check(segment: &[u8], frames: u64, packet_max: u64) -> Result<(), Fault> {
    let mut packets = Packets::of(segment)?;
    let mut held = 0;
    while let Some(packet) = packets.next()? {
        if packet.frames > packet_max {
            return Err("a packet is too long");
        }
        if held >= frames && packet.frames > 0 {
            return Err("it has packets that it does not need");
        }
        held += packet.frames;
    }
    if held < frames { Err("it has too few packets") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(packets: &[(&[u8], u64)]) -> Vec<u8> {
        let mut writer = Writer::new();
        for (data, frames) in packets {
            let expected = writer.bytes_with(data, *frames);
            writer.push(data, *frames);
            assert_eq!(writer.bytes.len(), expected);
        }
        writer.finish()
    }

    #[test]
    fn packets_come_back() {
        let long = vec![7; 300];
        let written: &[(&[u8], u64)] =
            &[(b"one", 0), (b"two", 1024), (&long, 1024), (b"", 1024), (b"x", 500)];
        let bytes = segment(written);
        assert_eq!(bytes.len(), 1 + (2 + 3) + (3 + 3) + (2 + 300) + 1 + (3 + 1));
        let mut packets = Packets::of(&bytes).expect("a segment");
        for (data, frames) in written {
            let place = packets.place(&bytes);
            let expected = Ok(Some(Packet { data, frames: *frames }));
            assert_eq!(packets.next(), expected);
            assert_eq!(Packets::from(&bytes, place).next(), expected);
        }
        assert_eq!(packets.next(), Ok(None));
        assert_eq!(check(&bytes, 3 * 1024 + 1, 1024), Ok(()));
        assert_eq!(check(&bytes, 3 * 1024 + 500, 1024), Ok(()));
        assert!(check(&bytes, 3 * 1024, 1024).is_err());
        assert!(check(&bytes, 3 * 1024 + 501, 1024).is_err());
        assert!(check(&bytes, 3 * 1024 + 500, 1023).is_err());
    }

    #[test]
    fn each_segment_has_one_form() {
        let wrong: &[&[u8]] =
            &[b"", &[2], &[1, 3, 9], &[1, 2, 5, 9, 2, 5, 9], &[1, 0, 0], &[1, 4, 5, 9]];
        for bytes in wrong {
            assert!(check(bytes, 1, 1024).is_err(), "{bytes:?}");
        }
        // A length that nothing could hold.
        let mut bytes = vec![1];
        put_number(&mut bytes, u64::MAX - 1);
        bytes.push(5);
        assert_eq!(check(&bytes, 1, 1024), Err("it ends too early"));
    }
}
