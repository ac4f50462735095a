//! How a client names its session: by an id, or by a key of its own.

use jam_proto::ids::SessionId;
use jam_proto::limits::SESSION_KEY_BYTES_MAX;

use crate::refusal::Refusal;

/// Bytes of a session's id.
const ID_BYTES: usize = size_of::<SessionId>();

/// The session that `key` names. An id of 16 bytes names itself. A longer key stands for the first 16 bytes of its
/// BLAKE3 hash, so that a client that has keys already neither pads nor cuts them.
///
/// # Errors
/// [`Refusal::Invalid`] if it is shorter than an id or longer than [`SESSION_KEY_BYTES_MAX`].
pub fn session_id(key: &[u8]) -> Result<SessionId, Refusal> {
    if !(ID_BYTES..=SESSION_KEY_BYTES_MAX).contains(&key.len()) {
        return Err(Refusal::Invalid(format!(
            "a session must have {ID_BYTES} bytes, or be a key of up to {SESSION_KEY_BYTES_MAX}; this one has {}",
            key.len()
        )));
    }
    if key.len() == ID_BYTES {
        return Ok(SessionId::from_wire(key)?);
    }
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&blake3::hash(key).as_bytes()[..ID_BYTES]);
    Ok(SessionId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_itself_and_a_key_is_hashed() {
        assert_eq!(session_id(&[7; 16]), Ok(SessionId([7; 16])));
        // BLAKE3's own test vector for the bytes from 0 to 63.
        let (key, hash) =
            ((0..64).collect::<Vec<u8>>(), 0x4eed_7141_ea4a_5cd4_b788_606b_d23f_46e2_u128);
        assert_eq!(session_id(&key), Ok(SessionId(hash.to_be_bytes())));
        assert_ne!(session_id(&[7; 64]), session_id(&[7; 63]));
    }

    #[test]
    fn other_lengths_are_refused() {
        for length in [0, 15, 65] {
            let refusal = session_id(&vec![7; length]).expect_err("the wrong length");
            assert!(refusal.to_string().contains(&format!("has {length}")), "{refusal}");
        }
    }
}
