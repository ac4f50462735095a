//! Files that no encoder makes, byte by byte.
#![allow(missing_docs, dead_code)]

/// Numbers without sense, always the same.
pub fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A WAV whose header says this, whatever it has.
pub fn wav(rate: u32, channels: u16, bits: u16, data: &[u8], claim: u32) -> Vec<u8> {
    let align = channels.wrapping_mul(bits / 8);
    let mut out = b"RIFF".to_vec();
    out.extend((36 + data.len() as u32).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend(rate.wrapping_mul(u32::from(align)).to_le_bytes());
    out.extend(align.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend(claim.to_le_bytes());
    out.extend(data);
    out
}

/// Puts a number of four bytes, the highest first, at an offset behind a name.
pub fn patch(bytes: &mut [u8], name: &[u8; 4], offset: usize, value: u32) {
    let at = bytes.windows(4).position(|four| four == name).expect("it has such a box");
    bytes[at + offset..at + offset + 4].copy_from_slice(&value.to_be_bytes());
}

/// An MP4 with other contents for some boxes. Right only where all sound lies before `moov`.
pub fn reboxed(bytes: &[u8], contents: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    const AROUND: [&[u8]; 5] = [b"moov", b"trak", b"mdia", b"minf", b"stbl"];
    let mut out = Vec::new();
    let mut rest = bytes;
    while rest.len() >= 8 {
        let size = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let (one, after) = rest.split_at(size);
        let (name, body) = (&one[4..8], &one[8..]);
        let body = match contents.iter().find(|(of, _)| *of == name) {
            Some((_, body)) => body.clone(),
            None if AROUND.contains(&name) => reboxed(body, contents),
            None => body.to_vec(),
        };
        out.extend((body.len() as u32 + 8).to_be_bytes());
        out.extend(name);
        out.extend(body);
        rest = after;
    }
    out
}

/// Numbers of four bytes, the highest first.
pub fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// An ID3v2.3 tag with a picture of so many bytes.
pub fn picture_tag(bytes: usize) -> Vec<u8> {
    let mut frame = b"\0image/jpeg\0\x03\0".to_vec();
    frame.extend(noise(bytes, 3));
    let mut tag = b"ID3\x03\0\0".to_vec();
    let size = frame.len() as u32 + 10;
    tag.extend([21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8));
    tag.extend(b"APIC");
    tag.extend((frame.len() as u32).to_be_bytes());
    tag.extend([0, 0]);
    tag.extend(frame);
    tag
}

/// An Ogg Vorbis of 5 KB whose headers have 256 codebooks of 131,072 vectors with 31 numbers each.
pub fn vorbis_bomb() -> Vec<u8> {
    let mut setup = Bits::default();
    setup.put(255, 8);
    for _ in 0..256 {
        // Its entries are ordered by length, and all have 17 bits; one multiplicand makes all vectors.
        setup.put(0x56_4342, 24);
        setup.put(31, 16);
        setup.put(131_072, 24);
        setup.put(1, 1);
        setup.put(16, 5);
        setup.put(131_072, 18);
        setup.put(1, 4);
        setup.put(0, 64);
        setup.put(0, 6);
    }
    setup.put(0, 22);
    let first = b"\x01vorbis\0\0\0\0\x02\x44\xac\0\0\0\0\0\0\0\xf4\x01\0\0\0\0\0\xb8\x01";
    let setup = [b"\x05vorbis", &setup.0[..]].concat();
    let packets: [&[u8]; 4] = [first, b"\x03vorbis\0\0\0\0\0\0\0\0\x01", &setup, &[0; 50]];
    ogg(&packets)
}

#[derive(Default)]
struct Bits(Vec<u8>, u32);

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        for bit in 0..count {
            if self.1.is_multiple_of(8) {
                self.0.push(0);
            }
            let last = self.0.last_mut().expect("one was just put there");
            *last |= ((value >> bit & 1) as u8) << (self.1 % 8);
            self.1 += 1;
        }
    }
}

/// A stream of packets, each on a page of its own (at most 65,024 bytes).
pub fn ogg(packets: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, packet) in packets.iter().enumerate() {
        let mut lacing = vec![255; packet.len() / 255];
        lacing.push((packet.len() % 255) as u8);
        let kind = if number == 0 { 2 } else { 0 };
        let mut page = b"OggS\0".to_vec();
        page.push(kind);
        page.extend(if number > 2 { 1024u64 } else { 0 }.to_le_bytes());
        page.extend(7u32.to_le_bytes());
        page.extend((number as u32).to_le_bytes());
        page.extend([0; 4]);
        page.push(lacing.len() as u8);
        page.extend(lacing);
        page.extend(*packet);
        let sum = checksum(&page).to_le_bytes();
        page[22..26].copy_from_slice(&sum);
        out.extend(page);
    }
    out
}

/// RFC 3533, 6.
fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}
