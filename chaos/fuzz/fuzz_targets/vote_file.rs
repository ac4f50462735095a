//! A vote file of any bytes, and one that was written and then damaged.
#![no_main]

use std::path::Path;

use jam_cluster::raft::vote_file::{Promise, VoteFile};
use jam_fuzz::Memory;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Damaged { saves: u8, changes: Vec<(u16, u8)>, cut: Option<u16> },
}

fuzz_target!(|input: Input| {
    let (disk, path) = (Memory::default(), Path::new("vote"));
    match input {
        Input::Raw(bytes) => disk.put("vote", &bytes),
        Input::Damaged { saves, changes, cut } => {
            let mut file = VoteFile::create(&disk, path).expect("memory takes it");
            for journal in 1..=u64::from(saves) {
                file.save(Promise { journal, ..Promise::default() }).expect("memory takes it");
            }
            for (at, to) in &changes {
                disk.change("vote", |bytes| {
                    let at = usize::from(*at) % bytes.len();
                    bytes[at] = *to;
                });
            }
            if let Some(cut) = cut {
                disk.change("vote", |bytes| bytes.truncate(cut.into()));
            } else if changes.is_empty() {
                let promise = VoteFile::open(&disk, path).expect("it is whole").promise().journal;
                assert_eq!(promise, u64::from(saves));
            }
        }
    }
    if let Ok(mut file) = VoteFile::open(&disk, path) {
        let promise = file.promise().clone();
        file.save(Promise { journal: promise.journal ^ 1, ..promise }).expect("memory takes it");
        assert_eq!(VoteFile::open(&disk, path).expect("just written").promise(), file.promise());
    }
});
