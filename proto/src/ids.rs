//! Names for things, as types that can't be wrong once parsed.

use std::fmt;

use crate::limits;

/// The code of a room: what people pass on to let others in. Unguessable, since whoever
/// knows it may listen and edit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomCode(String);

/// A song in a room's queue. Counted up per room from 1; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// BLAKE3 of a song's original bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub [u8; 32]);

/// A client's session: 128 random bits, known to that client and the cluster only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// Where a client came from: a digest of its address, which nothing but equality can be learned from without the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub [u8; 8]);

/// How many events a room has had. Every reply carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What a name, code or id may not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// A room code of the wrong shape.
    #[error("'{0}' is not a room code: codes look like ABCD-EFGH-JKMN (see `jam rooms`)")]
    RoomCode(String),
    /// Empty, too long, or with control characters.
    #[error("{what} must have 1 to {limit} bytes and no control characters")]
    Text {
        /// Which text: "a room's name", "a user name", …
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// An id of the wrong length.
    #[error("{what} must have {want} bytes, not {got}")]
    Length {
        /// Which id.
        what: &'static str,
        /// Bytes it must have.
        want: usize,
        /// Bytes it had.
        got: usize,
    },
}

impl RoomCode {
    /// No 0/O, 1/I/L: codes are read out loud.
    const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
    const SYMBOLS: usize = 12;

    /// From random bits: 12 symbols of 31, which is 59 bits.
    pub fn from_random(mut bits: u64) -> Self {
        let mut code = String::with_capacity(Self::SYMBOLS + 2);
        for symbol in 0..Self::SYMBOLS {
            if symbol > 0 && symbol % 4 == 0 {
                code.push('-');
            }
            code.push(char::from(Self::ALPHABET[(bits % 31) as usize]));
            bits /= 31;
        }
        Self(code)
    }

    /// Parses a code as a person may type it: any case, with or without the dashes.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let symbols: Vec<u8> = text
            .bytes()
            .filter(|byte| *byte != b'-')
            .map(|byte| byte.to_ascii_uppercase())
            .collect();
        let known = symbols.iter().all(|symbol| Self::ALPHABET.contains(symbol));
        if symbols.len() != Self::SYMBOLS || !known {
            let shown: String = text.chars().take(40).collect();
            return Err(InvalidName::RoomCode(shown.escape_default().to_string()));
        }
        let groups: Vec<&str> = symbols
            .chunks(4)
            .map(|group| std::str::from_utf8(group).expect("the alphabet is ASCII"))
            .collect();
        Ok(Self(groups.join("-")))
    }

    /// As shown to people: `ABCD-EFGH-JKMN`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a text that people chose: not empty, not too long, nothing that would garble a terminal.
pub fn check_text(what: &'static str, limit: usize, text: &str) -> Result<(), InvalidName> {
    if text.trim().is_empty() || text.len() > limit || text.chars().any(char::is_control) {
        return Err(InvalidName::Text { what, limit });
    }
    Ok(())
}

/// Checks a room's name.
pub fn check_room_name(name: &str) -> Result<(), InvalidName> {
    check_text("a room's name", limits::ROOM_NAME_BYTES_MAX, name)
}

/// Checks a user's name.
pub fn check_user_name(name: &str) -> Result<(), InvalidName> {
    check_text("a user's name", limits::USER_NAME_BYTES_MAX, name)
}

macro_rules! byte_id {
    ($name:ident, $len:literal, $what:literal) => {
        impl $name {
            /// Parses an id from the wire.
            pub fn from_wire(bytes: &[u8]) -> Result<Self, InvalidName> {
                bytes.try_into().map(Self).map_err(|_| InvalidName::Length {
                    what: $what,
                    want: $len,
                    got: bytes.len(),
                })
            }

            /// The bytes for the wire.
            pub fn to_wire(self) -> Vec<u8> {
                self.0.to_vec()
            }
        }
    };
}
byte_id!(TrackId, 32, "a track id");
byte_id!(SessionId, 16, "a session id");
byte_id!(Origin, 8, "an origin");

impl fmt::Display for RoomCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for TrackId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    /// Only a part: whoever knows a session id could speak in its name.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "session {:02x}{:02x}…", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = RoomCode::from_random(0x1234_5678_9abc_def0);
        let sloppy = code.as_str().to_lowercase().replace('-', "");
        assert_eq!(RoomCode::parse(&sloppy), Ok(code));
    }

    #[test]
    fn rubbish_is_no_code() {
        for rubbish in ["", "ABCD", "ABCD-EFGH-JKM0", "ABCD-EFGH-JKMN-P", "日本語日本語日本語日本"]
        {
            assert!(RoomCode::parse(rubbish).is_err(), "{rubbish}");
        }
    }
}
