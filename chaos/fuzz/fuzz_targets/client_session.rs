//! A user's session file of any text: taken up, or told to be damaged.
#![no_main]

use std::path::Path;

use jam_client::session::{Session, slot_path};
use jam_fuzz::{Memory, world};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let disk = Memory::default();
    let folder = Path::new("jam");
    let path = slot_path(folder, b"cluster", "ann", 0);
    disk.put(&path.to_string_lossy(), bytes);
    let claimed = Session::claim(&world(&disk), folder, b"cluster", "ann", "pause");
    let Ok(session) = claimed else { return };
    let _ = (session.settled_before("pause"), session.sent_before("pause"));
    assert!(session.finish().is_ok());
});
