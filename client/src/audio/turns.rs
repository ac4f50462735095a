//! What plays does so in turns, on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use jam_world::{Pacer, World};

use super::{AudioError, priority};

/// Takes turns, each of which says how long to wait until the next, until the pacer is dropped. If one panics, it was
/// the last, and `broke` is called. If it is `urgent`, its thread asks to go before others.
pub fn begin(
    world: &World,
    name: &str,
    urgent: bool,
    mut turn: impl FnMut() -> Duration + Send + 'static,
    mut broke: impl FnMut() + Send + 'static,
) -> Result<Box<dyn Pacer>, AudioError> {
    let mut is_first = true;
    let turn = move || {
        if std::mem::take(&mut is_first) && urgent {
            priority::raise_or_tell();
        }
        let turned = catch_unwind(AssertUnwindSafe(&mut turn));
        turned.map_err(|_| broke()).ok()
    };
    world.paced(name, turn).map_err(AudioError::Thread)
}
