//! What the fuzz targets share: a disk in memory, and operations of the log that go deep.

mod deeds;
mod disk;

use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

pub use deeds::{Deed, Log};
pub use disk::{Map, Memory, world};

/// A message that was parsed comes back as itself.
#[macro_export]
macro_rules! comes_back {
    ($type:ty, $wire:ty, $bytes:expr) => {
        if let Ok(wire) = <$wire as prost::Message>::decode($bytes)
            && let Ok(parsed) = <$type>::from_wire(&wire)
        {
            assert_eq!(<$type>::from_wire(&parsed.to_wire()).as_ref(), Ok(&parsed));
        }
    };
}

/// Input in parts: each begins with its length, two bytes; the last one is what is left.
pub fn parts(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
            return None;
        };
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (part, rest) = rest.split_at(length);
        bytes = rest;
        Some(part)
    })
}

/// libFuzzer's hook ends the process at any panic; this lets one be caught while `work` runs.
pub fn panics_may_be_caught<T>(work: impl FnOnce() -> T) -> T {
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let fatal = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.load(Ordering::Relaxed) {
                fatal(info);
            }
        }));
    });
    CAUGHT.store(true, Ordering::Relaxed);
    let done = work();
    CAUGHT.store(false, Ordering::Relaxed);
    done
}
