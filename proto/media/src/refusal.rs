//! Why a file is not taken.

/// Why a file is not a song that Jam can play right. Each has a stable code and says, in one
/// sentence, what is wrong and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No bytes at all.
    #[error("the file is empty")]
    EmptyFile,
    /// Text, a picture, an archive, or a container that is not known.
    #[error(
        "this is not a song in a format that Jam knows: MP3, FLAC, Ogg Vorbis, Opus, WAV, AIFF, AAC/M4A or ALAC"
    )]
    NotAudio,
    /// A song, but in a container or codec that is not played.
    #[error("this is {0}, which Jam does not play; convert it to FLAC or Opus")]
    Foreign(&'static str),
    /// A container without sound, such as a silent film.
    #[error("the file has no sound track")]
    NoAudioTrack,
    /// Sound, but no frame of it.
    #[error("the song is 0 seconds long")]
    NoSound,
    /// The file ends before the song does.
    #[error("the file is cut off: {0}; get a whole copy of it")]
    Truncated(String),
    /// Too much of it does not decode.
    #[error("the file is damaged: {0}; get a sound copy of it")]
    Damaged(String),
    /// A known container around a codec that is not.
    #[error("the sound in this file can't be decoded here ({0}); convert it to FLAC or Opus")]
    UnsupportedCodec(String),
    /// A layout of channels whose sound would be wrong.
    #[error(
        "this is {codec} of {channels} channels, of which Jam plays mono and stereo; convert it to stereo, or to FLAC"
    )]
    Channels {
        /// Of what kind.
        codec: &'static str,
        /// How many there are.
        channels: usize,
    },
    /// AAC with spectral band replication: half of its sound would be missing.
    #[error("this is HE-AAC, which Jam does not play right; convert it to AAC-LC, Opus or FLAC")]
    HeAac,
    /// Several songs in one Ogg file.
    #[error(
        "this Ogg file is a chain of several streams, which Jam does not play right; split it into one file per song"
    )]
    ChainedOgg,
    /// Another sample rate or number of channels from some point on.
    #[error("the sound changes in mid-file ({0}), which Jam does not play right; convert it")]
    FormatChanges(String),
    /// An edit list that does more than to trim.
    #[error("the file's edit list rearranges the sound, which Jam does not play right; convert it")]
    EditList,
    /// More of something than any song has: it would take a node's memory or its time.
    #[error("the file has {0}, which Jam does not play; convert it to FLAC or Opus")]
    OutOfBounds(String),
    /// Nothing wrong with it, but no piece of it is small enough to be fetched by itself.
    #[error("the song can't be cut into segments ({0}); convert it to FLAC or Opus")]
    Unsegmentable(String),
    /// Longer than the limit.
    #[error("the song is longer than {limit_secs} seconds, the limit")]
    TooLong {
        /// The limit.
        limit_secs: u64,
    },
    /// The bytes do not hold the song that was committed under their hash.
    #[error("the song decodes to {found} Hz, but {committed} Hz are committed")]
    OtherRate {
        /// Frames per second that were found.
        found: u32,
        /// Frames per second that were committed.
        committed: u32,
    },
    /// Reading failed; the song may be fine.
    #[error("the file could not be read: {0}")]
    Unreadable(String),
}

impl Refusal {
    /// The stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyFile => "empty_file",
            Self::NotAudio => "not_audio",
            Self::Foreign(_) => "foreign_format",
            Self::NoAudioTrack => "no_audio_track",
            Self::NoSound => "no_sound",
            Self::Truncated(_) => "truncated",
            Self::Damaged(_) => "damaged",
            Self::UnsupportedCodec(_) => "unsupported_codec",
            Self::Channels { .. } => "channel_layout",
            Self::HeAac => "he_aac",
            Self::ChainedOgg => "chained_ogg",
            Self::FormatChanges(_) => "format_changes",
            Self::EditList => "edit_list",
            Self::OutOfBounds(_) => "out_of_bounds",
            Self::Unsegmentable(_) => "unsegmentable",
            Self::TooLong { .. } => "too_long",
            Self::OtherRate { .. } => "other_rate",
            Self::Unreadable(_) => "unreadable",
        }
    }
}
