//! Songs that this node lacks, and what the others said when they were asked for them.
//!
//! A song is lost when every other node, and the songs' store if there is one, says that it has none, and says so again a
//! minute later. A node that does not answer, that is still starting (it looks through its folder before it serves songs)
//! or that could not read its copy has not said so. Only a node whose place was given to another one is not asked for.

use std::time::Duration;

use jam_proto::ids::TrackId;
use tokio::time::Instant;

use super::Blobs;

/// Between the two times. A copy that was read wrong once is read again meanwhile, and may be right.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A song that is to be fetched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// Its length.
    pub bytes: u64,
    /// A copy was here, and was no good.
    pub damaged: bool,
    /// What the others said.
    pub gone: Gone,
    /// The log says that it could not be had.
    pub is_told: bool,
}

impl Want {
    pub fn new(bytes: u64, damaged: bool) -> Self {
        Self { bytes, damaged, gone: Gone::No, is_told: false }
    }

    /// Whether nothing was logged of it yet. From then on something was.
    pub fn is_first_complaint(&mut self) -> bool {
        !std::mem::replace(&mut self.is_told, true)
    }
}

/// Whether a song that is not here is anywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Maybe.
    No,
    /// All said that they have none: at this time first, and at each try since.
    Since(Instant),
    /// And still a minute later.
    Surely,
}

impl Gone {
    /// After one more try, in which all said that they have none, or not.
    pub fn after(self, all_said_so: bool, now: Instant) -> Self {
        match self {
            _ if !all_said_so => Self::No,
            Self::No => Self::Since(now),
            Self::Since(first) if now.duration_since(first) < AGAIN_AFTER => self,
            Self::Since(_) | Self::Surely => Self::Surely,
        }
    }
}

impl Blobs {
    /// What this node lacks, and every other one said that it does not have it either.
    pub(crate) fn lost(&self) -> Vec<TrackId> {
        self.lacks(|gone| gone != Gone::No)
    }

    /// As [`Blobs::lost`], where all said so twice, a minute apart.
    pub(crate) fn surely_lost(&self) -> Vec<TrackId> {
        self.lacks(|gone| gone == Gone::Surely)
    }

    fn lacks(&self, is_meant: impl Fn(Gone) -> bool) -> Vec<TrackId> {
        let wanted = self.wanted();
        let lost = wanted.iter().filter(|(_, want)| is_meant(want.gone)).map(|(id, _)| *id);
        // What was made again is wanted until the next look.
        lost.filter(|id| self.store.held(id).is_none()).collect()
    }

    /// All are asked twice more before this song counts as lost again.
    pub(crate) fn ask_again(&self, id: &TrackId) {
        if let Some(want) = self.wanted().get_mut(id) {
            want.gone = Gone::No;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_song_that_nobody_has_is_complained_of_once() {
        let mut want = Want::new(7, false);
        let told: Vec<_> = (0..3).map(|_| want.is_first_complaint()).collect();
        assert_eq!(told, [true, false, false]);
    }

    #[test]
    fn a_song_is_lost_when_all_say_so_twice_a_minute_apart() {
        let begun = Instant::now();
        let at = |secs| begun + Duration::from_secs(secs);
        let once = Gone::No.after(true, at(0));
        assert_eq!(once, Gone::Since(at(0)));
        assert_eq!(once.after(true, at(59)), once);
        assert_eq!(once.after(true, at(60)), Gone::Surely);
        assert_eq!(Gone::Surely.after(true, at(90)), Gone::Surely);
        // One that does not answer, or has it, in between: all of it begins anew.
        let silent = once.after(false, at(30));
        assert_eq!(silent, Gone::No);
        assert_eq!(silent.after(true, at(60)), Gone::Since(at(60)));
        assert_eq!(Gone::Surely.after(false, at(90)), Gone::No);
    }
}
