//! Bytes and numbers as manifests and segments have them: each has one form only, so what was parsed
//! is encoded to the same bytes, and so to the same hash.

/// What is wrong with them.
pub(super) type Fault = &'static str;

/// Reads from the front. Never holds more than it was given.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.bytes(1)?[0])
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A number in LEB128.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err("a number is longer than it has to be")
                } else {
                    Ok(value)
                };
            }
        }
        Err("a number is too large")
    }

    /// A number of at most `max`.
    pub(super) fn number_to(&mut self, max: u64, fault: Fault) -> Result<u64, Fault> {
        self.number().and_then(|value| if value <= max { Ok(value) } else { Err(fault) })
    }

    /// A number that memory can hold.
    pub(super) fn size_to(&mut self, max: usize, fault: Fault) -> Result<usize, Fault> {
        self.number_to(max as u64, fault).and_then(|size| usize::try_from(size).map_err(|_| fault))
    }

    /// A number of 32 bits.
    pub(super) fn number_32(&mut self) -> Result<u32, Fault> {
        self.number().and_then(|value| u32::try_from(value).map_err(|_| "a number is too large"))
    }
}

/// Appends a number in LEB128.
pub(super) fn put_number(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Bytes that a number takes.
pub(super) fn number_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_have_one_form() {
        for value in [0, 1, 127, 128, 300, 1 << 20, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, value);
            assert_eq!(bytes.len(), number_bytes(value), "{value}");
            let mut reader = Reader(&bytes);
            assert_eq!(reader.number(), Ok(value));
            assert!(reader.is_empty());
        }
        for wrong in [&[0x80, 0][..], &[0x81, 0x80, 0], &[0x80], &[0xff; 10], &[0xff; 20], &[]] {
            assert!(Reader(wrong).number().is_err(), "{wrong:?}");
        }
    }
}
