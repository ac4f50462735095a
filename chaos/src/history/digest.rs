//! Digests of states: equal states have equal ones.

use std::fmt;

use jam_proto::room::Room;
use jam_proto::shard::Shard;
use jam_proto::wire::v1::RoomSnapshot;
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Hex;

/// BLAKE3 of an encoded state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of all that a node has.
    pub fn of_shard(shard: &Shard) -> Self {
        Self::of(&shard.to_wire().encode_to_vec())
    }

    /// Of a room.
    pub fn of_room(room: &Room) -> Self {
        Self::of_snapshot(&room.to_wire())
    }

    /// Of a room as it came over the wire.
    pub fn of_snapshot(snapshot: &RoomSnapshot) -> Self {
        Self::of(&snapshot.encode_to_vec())
    }

    fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    /// Enough to tell two apart.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Hex(self.0.to_vec()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = Hex::deserialize(from)?.0;
        bytes.try_into().map(Self).map_err(|_| de::Error::custom("a digest has 32 bytes"))
    }
}
