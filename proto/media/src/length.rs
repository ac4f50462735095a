//! How many frames a packet has, by its own header: known without decoding it.

/// Frames of an AAC-LC packet.
pub(crate) const AAC: u64 = 1024;

/// Of MPEG sound: 1152, but of layer III in MPEG-2 and 2.5 one granule of 576 instead of two. The demuxer's own durations
/// leave out what it believes to be padding.
pub(crate) fn mpeg(packet: &[u8]) -> u64 {
    match packet.get(1) {
        Some(byte) if byte & 0x0e == 0x02 => 576,
        _ => 1152,
    }
}

/// Of Opus, at 48 kHz: RFC 6716, 3.1 and 3.2. 0 for what is no packet.
pub(crate) fn opus(packet: &[u8]) -> u64 {
    const LONGEST: u64 = 48 * 120;
    let Some(toc) = packet.first() else { return 0 };
    let frame = match toc >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..16 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1).map_or(0, |count| count & 0x3f)),
    };
    Some(frame * count).filter(|frames| *frames <= LONGEST).unwrap_or(0)
}

/// Of ALAC, if the packet itself says so: the last one of a song mostly has fewer than the others (`PartialFrame` of
/// Apple's reference encoder).
pub(crate) fn alac(packet: &[u8]) -> Option<u64> {
    const PARTIAL_BIT: u64 = 1 << (63 - 19);
    let head = u64::from_be_bytes(*packet.first_chunk()?);
    // Behind three and four bits of the element, twelve that are not used, the mark, and three more.
    (head & PARTIAL_BIT != 0).then_some(head << 23 >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_say_how_long_they_are() {
        for (packet, frames) in [
            (&[0xfc, 0][..], 960),
            (&[0xfd, 0], 1920),
            (&[0x18, 0], 2880),
            (&[0x60, 0], 480),
            (&[0x80, 0], 120),
            (&[0xff, 3], 2880),
            (&[0xff, 0x83], 2880),
            (&[0x1b, 3], 0),
            (&[0xff], 0),
            (&[], 0),
        ] {
            assert_eq!(opus(packet), frames, "{packet:x?}");
        }
        assert_eq!(
            (mpeg(&[0xff, 0xfb]), mpeg(&[0xff, 0xf3]), mpeg(&[0xff, 0xe3])),
            (1152, 576, 576)
        );
        assert_eq!((mpeg(&[0xff, 0xfd]), mpeg(&[0xff, 0xf5])), (1152, 1152));
        assert_eq!(alac(&[0x20, 0, 0x10, 0, 0, 2, 2, 0]), Some(257));
        assert_eq!(alac(&[0x20, 0, 0, 0, 0, 2, 2, 0]), None);
        assert_eq!(alac(&[0x20, 0, 0x10]), None);
    }
}
