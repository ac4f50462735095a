//! Why a song was not stored, fetched or committed.

use jam_proto::ids::{InvalidName, TrackId};
use jam_proto::limits::{SONG_BYTES_MAX, TAG_BYTES_MAX};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Nothing of what these refuse is visible to anybody. What was received stays for the next try,
/// unless it can be of no use.
#[derive(Debug, thiserror::Error)]
pub enum SongError {
    /// A request that can't be meant.
    #[error("{0}")]
    Invalid(String),
    /// Too many bytes.
    #[error("the file has {0} bytes; a song may have {SONG_BYTES_MAX}")]
    TooLarge(u64),
    /// A file name that is no file name.
    #[error("a file name may have {TAG_BYTES_MAX} bytes")]
    NameTooLong,
    /// The disk has no room for it.
    #[error(
        "this node's disk has no room for {needed} more bytes; free some space there, or try another node"
    )]
    DiskFull {
        /// Bytes.
        needed: u64,
    },
    /// Not the bytes that were promised.
    #[error("the bytes that came do not have the promised hash; send them again from the start")]
    HashMismatch,
    /// The client's idea of how much is here is wrong.
    #[error(
        "this node holds {held} bytes of it, so it can't go on at {offset}; ask again what it holds"
    )]
    WrongOffset {
        /// Bytes here.
        held: u64,
        /// Where the client wants to go on.
        offset: u64,
    },
    /// The stream ended or stood still.
    #[error("the upload stopped at {held} of {bytes} bytes; go on from there")]
    Incomplete {
        /// Bytes here.
        held: u64,
        /// Bytes in all.
        bytes: u64,
    },
    /// Another upload of the same song is under way.
    #[error("somebody else is sending this song just now; try again in a minute")]
    Busy,
    /// Not a song that we play right.
    #[error("{0}")]
    Unsupported(#[from] jam_media::Refusal),
    /// Not enough nodes have it.
    #[error(
        "only {copies} of the {needed} nodes that are needed have the song; what was sent is kept, try again when more nodes are up"
    )]
    NoQuorum {
        /// Durable copies.
        copies: usize,
        /// A majority.
        needed: usize,
    },
    /// Not committed.
    #[error("the cluster does not have song {0} (any more); add the file again")]
    Gone(TrackId),
    /// Not on this node, though it is committed.
    #[error("this node does not have song {0} whole yet; ask another node, or again")]
    NotHere(TrackId),
    /// The client's manifest is not the one that there is now.
    #[error("this song's segments were made again since; ask for its manifest again")]
    ManifestChanged,
    /// No node that answers has the bytes.
    #[error("no node that answers has the bytes of song {0}; try again when more nodes are up")]
    Unreachable(TrackId),
    /// The disk failed.
    #[error("this node could not store or read the song: {0}")]
    Disk(#[from] std::io::Error),
    /// What the rest of the node, or another one, said.
    #[error("{}", .0.message())]
    Relayed(Status),
}

impl SongError {
    /// The stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::TooLarge(_) | Self::NameTooLong => "limit",
            Self::DiskFull { .. } => "disk_full",
            Self::HashMismatch => "hash_mismatch",
            Self::WrongOffset { .. } => "wrong_offset",
            Self::Incomplete { .. } => "incomplete",
            Self::Busy | Self::NotHere(_) | Self::Unreachable(_) => "unavailable",
            Self::ManifestChanged => "manifest_changed",
            Self::Unsupported(_) => "unsupported_song",
            Self::NoQuorum { .. } => "no_quorum",
            Self::Gone(_) => "track_gone",
            Self::Disk(_) | Self::Relayed(_) => "internal",
        }
    }

    fn grpc_code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::Unsupported(_) => Code::InvalidArgument,
            Self::TooLarge(_) | Self::NameTooLong | Self::DiskFull { .. } => {
                Code::ResourceExhausted
            }
            Self::HashMismatch | Self::WrongOffset { .. } | Self::ManifestChanged => {
                Code::FailedPrecondition
            }
            Self::Incomplete { .. } => Code::Aborted,
            Self::Busy | Self::NoQuorum { .. } | Self::NotHere(_) | Self::Unreachable(_) => {
                Code::Unavailable
            }
            Self::Gone(_) => Code::NotFound,
            Self::Disk(_) | Self::Relayed(_) => Code::Internal,
        }
    }

    /// For a failed write of `needed` bytes.
    pub(crate) fn of_write(error: std::io::Error, needed: u64) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { needed }
            }
            _ => Self::Disk(error),
        }
    }
}

impl From<InvalidName> for SongError {
    fn from(error: InvalidName) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<SongError> for Status {
    fn from(error: SongError) -> Self {
        if let SongError::Relayed(status) = error {
            return status;
        }
        let mut status = Self::new(error.grpc_code(), error.to_string());
        let metadata = status.metadata_mut();
        metadata.insert("jam-error", MetadataValue::from_static(error.code()));
        if let SongError::Unsupported(refusal) = &error {
            metadata.insert("jam-song-error", MetadataValue::from_static(refusal.code()));
        }
        status
    }
}
