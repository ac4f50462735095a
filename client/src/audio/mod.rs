//! stub
#![allow(missing_docs)]
mod spec;
pub use spec::*;
use std::path::PathBuf;
use std::sync::Arc;
use arc_swap::ArcSwapOption;
use jam_proto::ids::{EntryId, TrackId};
use jam_proto::room::Room;
use jam_proto::sync::SharedMap;
#[derive(Clone)]
pub struct PlayerInputs { pub room: Arc<ArcSwapOption<Room>>, pub clock: Arc<ArcSwapOption<ClockView>>, pub songs: Arc<dyn SongSource> }
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockView { pub map: SharedMap, pub bound_ns: i64, pub leader: u64, pub term: u64, pub epoch: u64 }
pub trait SongSource: Send + Sync { fn path(&self, track: &TrackId) -> Option<PathBuf>; }
#[derive(Clone, Debug)]
pub struct PlayerConfig { pub output: OutputSpec, pub host: Option<String>, pub volume: f32, pub trim_ns: i64, pub trace: Option<PathBuf> }
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub enum PlayerState { #[default] Joining, Playing, Paused, Starved, Ended }
impl PlayerState { pub fn as_str(self) -> &'static str { match self { Self::Joining => "joining", Self::Playing => "playing", Self::Paused => "paused", Self::Starved => "starved", Self::Ended => "ended" } } }
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayerStatus { pub state: PlayerState, pub entry: Option<EntryId>, pub frame: u64, pub sample_rate: u32, pub error_ns: i64, pub rate_ppm: f64, pub buffer_ms: u32, pub underruns: u64, pub jumps: u64, pub device: String, pub trouble: Option<String> }
pub struct Player { _i: PlayerInputs }
#[derive(Debug, thiserror::Error)] #[error("no")] pub struct AudioError;
impl Player {
    pub fn start(_c: PlayerConfig, i: PlayerInputs) -> Result<Self, AudioError> { Ok(Self { _i: i }) }
    pub fn set_volume(&self, _v: f32) {}
    pub fn set_muted(&self, _m: bool) {}
    pub fn status(&self) -> PlayerStatus { let mut s = PlayerStatus::default();
        if let (Some(room), Some(clock)) = (self._i.room.load_full(), self._i.clock.load_full()) {
            let t = clock.map.at(crate::clock::raw_ns()); let at = room.at(t);
            s.entry = at.entry.map(|e| e.id);
            s.state = match (at.entry, at.playing) { (None, true) => PlayerState::Ended, (Some(e), true) => if self._i.songs.path(&e.track).is_some() { PlayerState::Playing } else { PlayerState::Starved }, _ => PlayerState::Paused };
        } s }
    pub fn stop(&self) {}
}
pub fn list_outputs(_h: Option<&str>) -> Result<Vec<String>, AudioError> { Ok(vec![]) }
