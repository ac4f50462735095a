//! A look at MP3, MP2 and ADTS files frame by frame: is all of it there, and is it one and the same all
//! the way?
//!
//! These have no container that could tell. A demuxer that meets half a frame at the end takes it
//! for the end, and one that meets junk skips it; both are what a player wants and hide what an ingest
//! must know.

use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::Refusal;
use crate::demux::unreadable;

/// What the frames say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whole frames, without one that holds only a Xing or Info tag.
    pub(crate) frames: u64,
    /// Frames that a Xing or Info tag promises.
    pub(crate) promised: Option<u64>,
    /// Bytes in whole frames.
    pub(crate) covered: u64,
    /// Bytes in all, without the tags at both ends.
    pub(crate) bytes: u64,
    /// The file ends within a frame.
    pub(crate) broken_off: bool,
    /// From what to what the sound changes.
    pub(crate) change: Option<String>,
}

/// Which kind of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mp3,
    Mp2,
    Adts,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    rate: u32,
    channels: u8,
    /// Bytes, the header included.
    length: usize,
    /// Bytes from the frame's start to a Xing tag.
    xing_at: usize,
}

/// Walks a file of `length` bytes. Tags behind the sound were taken off before.
pub(crate) fn walk(
    file: &mut (impl Read + Seek),
    length: u64,
    kind: Kind,
) -> Result<Facts, Refusal> {
    let mut start = 0;
    // Tags may follow one another.
    loop {
        let head = bytes_at::<10>(file, start, length)?;
        match &head[..3] {
            b"ID3" => {
                let size =
                    head[6..].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
                let footer = if head[5] & 0x10 != 0 { 10 } else { 0 };
                start += 10 + size + footer;
            }
            _ => break,
        }
        if start >= length {
            break;
        }
    }
    file.seek(SeekFrom::Start(start.min(length))).map_err(unreadable)?;
    let mut walk = Walk {
        file: BufReader::with_capacity(1 << 16, file),
        left: length.saturating_sub(start),
        kind,
        facts: Facts { bytes: length.saturating_sub(start), ..Facts::default() },
        first: None,
        in_step: false,
    };
    walk.frames()?;
    Ok(walk.facts)
}

struct Walk<'a, F> {
    file: BufReader<&'a mut F>,
    left: u64,
    kind: Kind,
    facts: Facts,
    first: Option<Header>,
    /// The last frame ended where the walk is now.
    in_step: bool,
}

impl<F: Read + Seek> Walk<'_, F> {
    fn frames(&mut self) -> Result<(), Refusal> {
        let mut window = Vec::new();
        let mut body = Vec::new();
        loop {
            self.fill(&mut window, HEADER_BYTES)?;
            if window.len() < HEADER_BYTES {
                let starts_frame = window.first() == Some(&0xff) && self.first.is_some();
                // One byte alone is a stray one.
                self.facts.broken_off =
                    starts_frame && window.len() > 1 && window[1] & 0xe0 == 0xe0;
                return Ok(());
            }
            let Some(header) = parse(self.kind, &window) else {
                window.remove(0);
                self.in_step = false;
                continue;
            };
            let rest = header.length - HEADER_BYTES;
            if (rest as u64) > self.left {
                // Only a frame like the ones before it: junk may look like any other.
                self.facts.broken_off = self.first.is_some_and(|first| same(first, header));
                return Ok(());
            }
            body.clear();
            body.append(&mut window);
            self.fill(&mut body, header.length)?;
            // Junk may look like a frame, but hardly with another one like it right behind.
            self.fill(&mut window, HEADER_BYTES)?;
            let next = Some(&window).filter(|window| window.len() == HEADER_BYTES);
            let next = next.and_then(|window| parse(self.kind, window));
            self.take(header, &body, next.is_some_and(|next| same(next, header)));
        }
    }

    fn fill(&mut self, buffer: &mut Vec<u8>, length: usize) -> Result<(), Refusal> {
        let want = (length - buffer.len()).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let from = buffer.len();
        buffer.resize(from + want, 0);
        self.file.read_exact(&mut buffer[from..]).map_err(unreadable)?;
        self.left -= want as u64;
        Ok(())
    }

    /// `goes_on`: the frame behind it is of the same sound.
    fn take(&mut self, header: Header, frame: &[u8], goes_on: bool) {
        // Junk has neither a frame before it nor one behind it. A real one that is passed over so is counted as junk.
        self.in_step = self.in_step || goes_on || self.left == 0;
        if !self.in_step {
            return;
        }
        self.facts.covered += frame.len() as u64;
        let Some(first) = self.first else {
            self.first = Some(header);
            match (self.kind, xing_frames(header, frame)) {
                (Kind::Mp3, Some(promised)) => self.facts.promised = promised,
                _ => self.facts.frames = 1,
            }
            return;
        };
        self.facts.frames += 1;
        if !same(first, header) && goes_on && self.facts.change.is_none() {
            self.facts.change = Some(format!(
                "{} Hz, {} channels, then {} Hz, {} channels",
                first.rate, first.channels, header.rate, header.channels
            ));
        }
    }
}

fn same(one: Header, other: Header) -> bool {
    one.rate == other.rate && one.channels == other.channels
}

/// Bytes that a header is told by: ADTS has seven.
const HEADER_BYTES: usize = 7;

fn parse(kind: Kind, bytes: &[u8]) -> Option<Header> {
    match kind {
        Kind::Mp3 => parse_mpeg(bytes, Layer::Three),
        Kind::Mp2 => parse_mpeg(bytes, Layer::Two),
        Kind::Adts => parse_adts(bytes),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Two,
    Three,
}

/// ISO 11172-3, 2.4.1.3; MPEG-1, 2 and 2.5.
fn parse_mpeg(bytes: &[u8], layer: Layer) -> Option<Header> {
    const RATES: [u32; 3] = [44_100, 48_000, 32_000];
    const KBITS_1_2: [u32; 15] =
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const KBITS_1_3: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBITS_2: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let is_layer = bytes[1] & 0x06 == if layer == Layer::Two { 0x04 } else { 0x02 };
    if bytes[0] != 0xff || bytes[1] & 0xe0 != 0xe0 || !is_layer {
        return None;
    }
    let (mpeg_1, divisor) = match bytes[1] >> 3 & 3 {
        3 => (true, 1),
        2 => (false, 2),
        0 => (false, 4),
        _ => return None,
    };
    let kbits = match (mpeg_1, layer) {
        (true, Layer::Two) => KBITS_1_2,
        (true, Layer::Three) => KBITS_1_3,
        (false, _) => KBITS_2,
    };
    let kbits = *kbits.get(usize::from(bytes[2] >> 4)).filter(|kbits| **kbits > 0)?;
    let rate = RATES.get(usize::from(bytes[2] >> 2 & 3))? / divisor;
    let padding = u32::from(bytes[2] >> 1 & 1);
    let mono = bytes[3] >> 6 == 3;
    let one_granule = !mpeg_1 && layer == Layer::Three;
    let length = if one_granule { 72_000 } else { 144_000 } * kbits / rate + padding;
    let side = match (mpeg_1, mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    (length as usize > HEADER_BYTES).then_some(Header {
        rate,
        channels: if mono { 1 } else { 2 },
        length: length as usize,
        xing_at: 4 + side,
    })
}

/// ISO 14496-3, 1.A.2.2.1.
fn parse_adts(bytes: &[u8]) -> Option<Header> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    if bytes[0] != 0xff || bytes[1] & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(bytes[2] >> 2 & 15))?;
    let channels = (bytes[2] & 1) << 2 | bytes[3] >> 6;
    let length =
        usize::from(bytes[3] & 3) << 11 | usize::from(bytes[4]) << 3 | usize::from(bytes[5] >> 5);
    (length > HEADER_BYTES).then_some(Header { rate, channels, length, xing_at: 0 })
}

/// Whether the frame holds a Xing or Info tag, and the frames it promises.
fn xing_frames(header: Header, frame: &[u8]) -> Option<Option<u64>> {
    let tag = frame.get(header.xing_at..)?;
    if !tag.starts_with(b"Xing") && !tag.starts_with(b"Info") {
        return None;
    }
    let word = |at: usize| Some(u32::from_be_bytes(tag.get(at..at + 4)?.try_into().ok()?));
    let has_frames = word(4)? & 1 != 0;
    Some(word(8).filter(|_| has_frames).map(u64::from))
}

/// Bytes at a place, zeros past the end.
fn bytes_at<const N: usize>(
    file: &mut (impl Read + Seek),
    at: u64,
    length: u64,
) -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    let held = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX).min(N);
    file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
    file.read_exact(&mut bytes[..held]).map_err(unreadable)?;
    Ok(bytes)
}
