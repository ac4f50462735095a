//! Finds out which container it is.

use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use crate::Refusal;
use crate::allowance::{AT_ONCE_MIB_MAX, Allowance};
use crate::demux::unreadable;

/// Opens a container, and reads no more than it may.
pub(crate) fn probe_within(
    allowance: &Allowance,
    stream: MediaSourceStream<'static>,
) -> Result<Box<dyn FormatReader>, Refusal> {
    allowance.within(|| probe(stream)).unwrap_or_else(|| {
        Err(Refusal::OutOfBounds(format!("more than {AT_ONCE_MIB_MAX} MiB of headers and tags")))
    })
}

fn probe(stream: MediaSourceStream<'static>) -> Result<Box<dyn FormatReader>, Refusal> {
    symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| match error {
            Error::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                unreadable(error)
            }
            _ => Refusal::NotAudio,
        })
}

/// Whether a WAV or AIFF states a length that the file does not have. Cut in the wrong place, these
/// can't be opened at all.
pub(crate) fn promises_more(head: &[u8; 12], length: u64) -> bool {
    let size = [head[4], head[5], head[6], head[7]];
    let stated = match (&head[..4], &head[8..]) {
        (b"RIFF", b"WAVE") => u32::from_le_bytes(size),
        (b"FORM", b"AIFF" | b"AIFC") => u32::from_be_bytes(size),
        _ => return false,
    };
    stated != u32::MAX && u64::from(stated) + 8 > length
}
