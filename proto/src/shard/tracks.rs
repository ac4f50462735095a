//! The tracks of a shard: registered, rendered, and forgotten; and what is to be kept of them.

use std::sync::Arc;

use super::{Applied, Outcome, Shard, derived};
use crate::convert::{self, Malformed};
use crate::event::Song;
use crate::ids::TrackId;
use crate::level::FeatureLevel;
use crate::limits;
use crate::time::SharedTime;
use crate::wire::log::v1 as log;
use crate::wire::v1::Track;

impl Shard {
    pub(super) fn register(
        &mut self,
        register: &log::RegisterTrack,
        stamp: SharedTime,
    ) -> Result<Outcome, Malformed> {
        let track = register.track.as_ref().ok_or(Malformed::Missing("the track"))?;
        let id = convert::check_track(track)?;
        if self.level >= FeatureLevel::BOUNDED {
            convert::check_tags(track)?;
        }
        if !self.tracks.contains_key(&id) && self.tracks.len() >= limits::TRACKS_MAX {
            return Ok(Outcome::TracksFull(limits::TRACKS_MAX));
        }
        if !self.tracks.contains_key(&id) {
            self.tracks.insert(id, Arc::new(track.clone()));
            self.songs.insert(id, Arc::new(Song::of(id, track)));
            self.derived.add(id, track);
            self.uses.begin(id, stamp);
        }
        // Who registers it has its bytes.
        self.lost.remove(&id);
        let committed = self.tracks.get(&id).expect("it is there by now");
        Ok(Outcome::Track(Track::clone(committed)))
    }

    /// The log's order decides: a track that was queued before this entry stays, and one that is queued behind it is gone.
    pub(super) fn forget(&mut self, forget: &log::ForgetTrack) -> Result<Applied, Malformed> {
        let id = TrackId::from_wire(&forget.track)?;
        if !self.uses.end(&id, SharedTime(forget.unused_before)) {
            return Ok(Applied::only(Outcome::Nothing));
        }
        self.lost.remove(&id);
        self.songs.remove(&id);
        let track = self.tracks.remove(&id);
        let mut gone = track.map_or(Vec::new(), |track| self.derived.end(&id, &track));
        gone.push(id);
        Ok(Applied { gone, ..Applied::only(Outcome::Forgotten) })
    }

    pub(super) fn set_derived(&mut self, set: &log::SetDerived) -> Result<Applied, Malformed> {
        let id = TrackId::from_wire(&set.track)?;
        convert::check_derived(&set.derived)?;
        let Some(track) = self.tracks.get_mut(&id) else {
            return Ok(Applied::only(Outcome::Nothing));
        };
        let track = Arc::make_mut(track);
        let before = std::mem::replace(&mut track.derived, set.derived.clone());
        track.rendered = true;
        // What stays is never gone in between.
        self.derived.add(id, track);
        let gone = self.derived.drop_all(&before);
        Ok(Applied { gone, ..Applied::only(Outcome::Track(track.clone())) })
    }

    /// The length of the bytes of this id, if they are to be kept: those of a track, or what was made of one.
    pub fn blob(&self, id: &TrackId) -> Option<u64> {
        self.track(id).map(|track| track.bytes).or_else(|| self.derived.bytes(id))
    }

    /// Tracks whose renditions are still to be made.
    pub fn unrendered(&self) -> impl Iterator<Item = TrackId> {
        self.derived.unrendered()
    }

    /// A track that these bytes were made of. Looks at all tracks.
    pub fn made_of(&self, blob: &TrackId) -> Option<TrackId> {
        self.derived.bytes(blob)?;
        let has = |track: &Track| {
            track.derived.iter().filter_map(derived::read).any(|(id, _)| id == *blob)
        };
        self.tracks().find(|(_, track)| has(track)).map(|(id, _)| *id)
    }

    /// All bytes that are to be kept, and their lengths.
    pub fn blobs(&self) -> impl Iterator<Item = (&TrackId, u64)> {
        self.tracks().map(|(id, track)| (id, track.bytes)).chain(self.derived.iter())
    }

    /// A committed track.
    pub fn track(&self, id: &TrackId) -> Option<&Track> {
        self.tracks.get(id).map(Arc::as_ref)
    }

    /// All committed tracks, by id.
    pub fn tracks(&self) -> impl Iterator<Item = (&TrackId, &Track)> {
        self.tracks.iter().map(|(id, track)| (id, track.as_ref()))
    }

    /// Committed tracks that no entry of any room has named since `time` or longer, the one that was left alone first.
    pub fn unused_before(&self, time: SharedTime) -> impl Iterator<Item = TrackId> {
        self.uses.unused_before(time)
    }
}

#[cfg(test)]
mod tests {
    use log::log_entry::Op;

    use super::*;
    use crate::wire::v1::Derived;

    fn id(number: u8) -> TrackId {
        TrackId([number; 32])
    }

    fn derived(name: &str, number: u8) -> Derived {
        Derived { name: name.to_owned(), id: id(number).to_wire(), bytes: u64::from(number) }
    }

    fn apply(shard: &mut Shard, op: Op) -> Applied {
        shard.apply(1, &log::LogEntry { op: Some(op), ..Default::default() })
    }

    fn register(shard: &mut Shard, number: u8, derived: &[Derived]) -> Applied {
        let (sample_rate, frames, bytes) = (48_000, 48_000, u64::from(number));
        let (id, derived) = (id(number).to_wire(), derived.to_vec());
        let track = Track { id, frames, sample_rate, bytes, derived, ..Default::default() };
        apply(
            shard,
            Op::RegisterTrack(log::RegisterTrack { track: Some(track), ..Default::default() }),
        )
    }

    fn set(shard: &mut Shard, number: u8, derived: &[Derived]) -> Applied {
        let set = log::SetDerived { track: id(number).to_wire(), derived: derived.to_vec() };
        apply(shard, Op::SetDerived(set))
    }

    fn forget(shard: &mut Shard, number: u8) -> Applied {
        let unused_before = shard.last_stamp().0;
        let forget = log::ForgetTrack { track: id(number).to_wire(), unused_before };
        apply(shard, Op::ForgetTrack(forget))
    }

    fn kept(shard: &Shard) -> Vec<TrackId> {
        let mut kept: Vec<_> = shard.blobs().map(|(id, _)| *id).collect();
        kept.sort_unstable();
        kept
    }

    #[test]
    fn what_is_made_of_tracks_is_kept_for_as_long_as_one_of_them_has_it() {
        let mut shard = Shard::default();
        let cover = derived("cover", 50);
        register(&mut shard, 1, &[cover.clone(), derived("waveform", 51)]);
        register(&mut shard, 2, std::slice::from_ref(&cover));
        assert_eq!(kept(&shard), [1, 2, 50, 51].map(id));
        assert_eq!(
            (shard.blob(&id(2)), shard.blob(&id(51)), shard.blob(&id(9))),
            (Some(2), Some(51), None)
        );
        assert_eq!(shard.made_of(&id(51)), Some(id(1)));
        assert_eq!(shard.unrendered().collect::<Vec<_>>(), [id(1), id(2)]);

        let rendered = set(&mut shard, 1, &[cover.clone(), derived("opus-24", 60)]);
        assert!(matches!(&rendered.outcome, Outcome::Track(track) if track.rendered));
        assert_eq!(rendered.gone, [id(51)]);
        assert_eq!(shard.unrendered().collect::<Vec<_>>(), [id(2)]);
        // Again, and it came out as other bytes; then as the same.
        assert_eq!(set(&mut shard, 1, &[cover.clone(), derived("opus-24", 61)]).gone, [id(60)]);
        assert_eq!(set(&mut shard, 1, &[cover, derived("opus-24", 61)]).gone, []);

        let again = Shard::from_wire(&shard.to_wire()).expect("its own snapshot");
        assert_eq!(again, shard);

        assert_eq!(forget(&mut shard, 1).gone, [id(61), id(1)]);
        assert_eq!(kept(&shard), [2, 50].map(id));
        assert_eq!(forget(&mut shard, 2).gone, [id(50), id(2)]);
        assert_eq!((kept(&shard), shard.unrendered().count()), (Vec::new(), 0));
        assert_eq!(set(&mut shard, 1, &[derived("opus-24", 60)]).outcome, Outcome::Nothing);
    }

    #[test]
    fn what_cant_be_is_left_alone() {
        let mut shard = Shard::default();
        register(&mut shard, 1, &[]);
        let before = shard.track(&id(1)).cloned();
        let too_many = vec![derived("opus-24", 60); limits::DERIVED_MAX + 1];
        let too_long = derived(&"x".repeat(limits::DERIVED_NAME_BYTES_MAX + 1), 60);
        let nameless = Derived { id: vec![1; 31], ..derived("cover", 60) };
        for wrong in [too_many, vec![too_long], vec![nameless]] {
            assert_eq!(set(&mut shard, 1, &wrong).outcome, Outcome::Nothing);
        }
        assert_eq!(shard.track(&id(1)).cloned(), before);
    }
}
