//! Whether a song that ends before its promise is still that song.
//!
//! Rips, cutters and some encoders leave half a frame at the end. Every player plays what is before it, and nobody misses
//! a few milliseconds. Half a song is another thing: whoever adds it has a bad copy and wants to know. So there is one
//! rule for all formats: what lacks more than a second, or more than a tenth of what it promises, is cut off.

use crate::Refusal;

/// A song's end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// Frames that are there.
    pub(crate) found: u64,
    /// Frames that its headers promise; none: they promise nothing.
    pub(crate) promised: Option<u64>,
    /// Frames of a last packet that is not whole.
    pub(crate) broken: u64,
    /// Frames per second.
    pub(crate) rate: u32,
}

impl Ending {
    /// How many frames are missing.
    ///
    /// # Errors
    /// If these are too many.
    pub(crate) fn missing(&self) -> Result<u64, Refusal> {
        let promised = self.promised.unwrap_or(0);
        let lacking = promised.saturating_sub(self.found);
        if lacking > u64::from(self.rate) || lacking.saturating_mul(10) > promised {
            let secs = |frames: u64| frames as f64 / f64::from(self.rate);
            return Err(Refusal::Truncated(format!(
                "it has {:.1} of {:.1} seconds",
                secs(self.found),
                secs(promised)
            )));
        }
        Ok(lacking.max(self.broken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_and_a_tenth_are_the_limits() {
        let missing =
            |found, promised| Ending { found, promised, broken: 0, rate: 1000 }.missing().ok();
        assert_eq!(missing(60_000, Some(60_000)), Some(0));
        assert_eq!(missing(59_000, Some(60_000)), Some(1000));
        assert_eq!(missing(58_999, Some(60_000)), None);
        assert_eq!(missing(900, Some(1000)), Some(100));
        assert_eq!(missing(899, Some(1000)), None);
        assert_eq!(missing(61_000, Some(60_000)), Some(0), "more than was promised");
        assert_eq!(missing(10, None), Some(0), "nothing was promised");
        let broken = Ending { found: 10, promised: None, broken: 5, rate: 1000 };
        assert_eq!(broken.missing(), Ok(5));
    }
}
