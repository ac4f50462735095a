//! What songs are cut into, as nodes say and as it was kept on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use jam_media::Manifest;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1 as wire;
use tokio::time::Instant;

use super::cache::{ASK_AGAIN, SongCache};
use super::local::{LocalRendition, LocalSong};
use super::plan::{Errand, Known, Wish};
use super::quality::{Offer, Quality};

impl SongCache {
    /// Songs of which the nodes may have more by now: renditions are made after a song is taken.
    pub(super) fn to_ask_again(
        &self,
        wishes: &[Wish],
        asked_at: &BTreeMap<TrackId, Instant>,
    ) -> Vec<Errand> {
        let known = self.known.load();
        let best = wishes.iter().take(2).filter(|wish| {
            let Some(known) = known.get(&wish.track) else { return false };
            let bytes_per_s = known.offers.first().map_or(0, |offer| offer.bytes_per_s);
            let slow =
                self.chooser().bytes_per_s().is_some_and(|line| line < bytes_per_s as f64 * 2.0);
            known.offers.len() == 1 && (slow || self.quality != Quality::Original)
        });
        let due =
            |wish: &&Wish| asked_at.get(&wish.track).is_none_or(|at| at.elapsed() >= ASK_AGAIN);
        best.filter(due).map(|wish| Errand::Manifest(wish.track, 0)).collect()
    }

    /// What is known of a song from earlier.
    pub(super) async fn kept_offers(&self, song: &LocalSong) -> Vec<Offer> {
        let (disk, track) = (self.shelf.disk.clone(), song.track);
        let load = move || {
            let kept = |kbps| Some((kbps, disk.load_manifest(&track, kbps).ok()??));
            Ok([0, 320, 160, 96, 24].into_iter().filter_map(kept).collect())
        };
        let kept: Vec<(u32, Vec<u8>)> = self.on_disk(load).await.unwrap_or_default();
        let offers = kept
            .into_iter()
            .filter_map(|(kbps, wire)| add_manifest(song, kbps, &wire).ok())
            .map(|added| offer(&added));
        self.quality.allowed(&offers.collect::<Vec<_>>())
    }

    /// Takes what a node says. The error says what is wrong with it.
    pub(super) async fn take_manifests(
        &self,
        known: &Known,
        renditions: Vec<wire::Rendition>,
    ) -> Result<(), String> {
        let (song, track) = (known.song.clone(), known.song.track);
        let seconds = (song.frames / u64::from(song.rate.max(1))).max(1);
        let of = |one: &wire::Rendition| Offer { kbps: one.kbps, bytes_per_s: one.bytes / seconds };
        let offers = self.quality.allowed(&renditions.iter().map(of).collect::<Vec<_>>());
        for rendition in renditions {
            let (kbps, wire) = (rendition.kbps, rendition.manifest);
            let unchanged = song.rendition(kbps).is_some_and(|one| one.manifest.encode() == *wire);
            if wire.is_empty() || unchanged {
                continue;
            }
            add_manifest(&song, kbps, &wire)?;
            let disk = self.shelf.disk.clone();
            // Without it the next process asks a node.
            let _ = self.on_disk(move || disk.store_manifest(&track, kbps, &wire)).await;
        }
        self.known.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            if let Some(known) = all.get_mut(&track) {
                known.offers.clone_from(&offers);
            }
            all
        });
        Ok(())
    }
}

fn add_manifest(song: &LocalSong, kbps: u32, wire: &[u8]) -> Result<Arc<LocalRendition>, String> {
    let manifest = Manifest::decode(wire).map_err(|error| error.to_string())?;
    let (rate, frames) = (manifest.sample_rate(), manifest.frames());
    let due = match kbps {
        0 => song.frames,
        _ => {
            let frames = u128::from(song.frames) * u128::from(rate);
            u64::try_from(frames.div_ceil(u128::from(song.rate))).unwrap_or(u64::MAX)
        }
    };
    if frames != due || (kbps == 0 && rate != song.rate) {
        return Err(format!("it has {frames} frames at {rate} a second, and the song {due}"));
    }
    Ok(song.add(kbps, manifest))
}

fn offer(rendition: &LocalRendition) -> Offer {
    let bytes = rendition.manifest.segments().iter().map(|segment| u64::from(segment.bytes));
    let seconds = rendition.manifest.frames() / u64::from(rendition.manifest.sample_rate());
    Offer { kbps: rendition.kbps, bytes_per_s: bytes.sum::<u64>() / seconds.max(1) }
}
