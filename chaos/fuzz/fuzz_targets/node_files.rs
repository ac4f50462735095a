//! A node's small files, of any text: who it is, and the time that it saved.
#![no_main]

use std::path::Path;

use jam_cluster::identity::Folder;
use jam_cluster::time::saved::Saved;
use jam_fuzz::{Memory, world};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let disk = Memory::default();
    disk.put("node/identity.json", bytes);
    if let Ok(folder) = Folder::open(&world(&disk), Path::new("node"), 1) {
        assert_eq!(folder.identity().place, 1);
    }

    for saved in [Saved::parse(bytes), Saved::parse_unchecked(bytes)].into_iter().flatten() {
        let text = saved.to_text().expect("numbers and words");
        assert_eq!(Saved::parse(&text), Ok(saved));
    }
});
