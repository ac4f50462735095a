//! Files that other programs play and Jam does not: each is told by its name, since "not a song" about a song is a riddle.

/// What a file is by its first bytes, in the words of the people who have it.
pub(crate) fn name(head: &[u8; 12]) -> Option<&'static str> {
    let [first, second, third, ..] = *head;
    Some(match head {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "a WebM or Matroska file",
        [b'c', b'a', b'f', b'f', ..] => "a Core Audio file (CAF)",
        [0x30, 0x26, 0xb2, 0x75, ..] => "a Windows Media file (WMA)",
        [b'M', b'A', b'C', b' ', ..] => "a Monkey's Audio file (APE)",
        [b'w', b'v', b'p', b'k', ..] => "a WavPack file",
        [b'M', b'P', b'C', b'K', ..] | [b'M', b'P', b'+', ..] => "a Musepack file",
        [b'T', b'T', b'A', b'1', ..] => "a True Audio file (TTA)",
        [b'D', b'S', b'D', b' ', ..] | [b'F', b'R', b'M', b'8', ..] => "a DSD file",
        [b'M', b'T', b'h', b'd', ..] => "a MIDI file, which holds notes and no sound",
        [b'.', b'r', b'a', 0xfd, ..] | [b'.', b'R', b'M', b'F', ..] => "a RealAudio file",
        [b'#', b'!', b'A', b'M', b'R', ..] => "an AMR file",
        [0x0b, 0x77, ..] => "AC-3 sound",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' '] => "an AVI file",
        _ if first == 0xff && second & 0xe0 == 0xe0 && is_mpeg(second, third) => {
            match second >> 1 & 3 {
                3 => "MPEG layer I sound (MP1)",
                _ if third >> 4 == 0 => "free-format MPEG sound",
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// Whether a frame's header may go on so: a version, a layer and a sample rate that exist.
fn is_mpeg(second: u8, third: u8) -> bool {
    second >> 3 & 3 != 1 && second >> 1 & 3 != 0 && third >> 4 != 15 && third >> 2 & 3 != 3
}

/// What a WAV holds if that is no PCM, by the number in its format chunk (RFC 2361).
pub(crate) fn in_wave(format: u16) -> Option<&'static str> {
    Some(match format {
        0x0002 | 0x0011 | 0x0064 => "ADPCM in a RIFF file",
        0x0031 => "GSM sound in a RIFF file",
        0x00ff | 0x1600 | 0x1610 => "AAC in a RIFF file",
        0x0160..=0x0163 => "Windows Media sound in a RIFF file",
        0x2000 => "AC-3 in a RIFF file",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(bytes: &[u8]) -> Option<&'static str> {
        let mut head = [0; 12];
        head[..bytes.len()].copy_from_slice(bytes);
        name(&head)
    }

    #[test]
    fn files_are_named_by_their_first_bytes() {
        assert_eq!(named(b"\x1a\x45\xdf\xa3\x9f"), Some("a WebM or Matroska file"));
        assert_eq!(named(b"caff\0\x01"), Some("a Core Audio file (CAF)"));
        assert_eq!(named(b"RIFF\0\0\0\0AVI "), Some("an AVI file"));
        assert_eq!(named(b"\xff\xff\xa4\0"), Some("MPEG layer I sound (MP1)"));
        assert_eq!(named(b"\xff\xfb\x04\0"), Some("free-format MPEG sound"));
        for known in [&b"\xff\xfb\x90\0"[..], b"fLaC", b"OggS", b"RIFF\0\0\0\0WAVE", b"Dear all"] {
            assert_eq!(named(known), None, "{known:?}");
        }
    }
}
