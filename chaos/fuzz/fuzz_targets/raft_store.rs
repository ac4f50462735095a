//! Opening a store whose database and vote file hold anything: refused, or opened without a hole.
#![no_main]

use std::path::Path;

use jam_cluster::raft::recover::{Opened, walk};
use jam_cluster::raft::{layout, snapshots};
use jam_fuzz::{Memory, world};
use jam_world::Database;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use openraft::entry::RaftEntry;

#[derive(Arbitrary, Debug)]
enum Pair {
    Entry { index: u8, term: u8, part: u8, blank: bool, cut: u8 },
    Meta { which: u8, value: Vec<u8> },
    Chunk { generation: u8, chunk: u8, value: Vec<u8> },
    Any { key: Vec<u8>, value: Vec<u8> },
}

#[derive(Arbitrary, Debug)]
struct Input {
    pairs: Vec<Pair>,
    vote: Option<Vec<u8>>,
    journal: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let disk = Memory::default();
    let world = world(&disk);
    let open = || Opened::open(&world, Path::new("raft"), 1, 4096);
    assert!(open().is_ok(), "a new one");
    for pair in input.pairs {
        let (key, value) = encoded(pair);
        disk.database.apply(vec![(key, Some(value))]).expect("memory takes it");
    }
    if let Some(vote) = input.vote {
        disk.put("raft/vote", &vote);
    }
    disk.change("raft/journal.1", |bytes| {
        for (byte, new) in bytes.iter_mut().zip(&input.journal) {
            *byte ^= new;
        }
    });
    let _ = snapshots::load_from(&disk.database);
    for entry in walk(&disk.database, 0, u64::MAX) {
        let _ = entry;
    }
    if let Ok(opened) = open() {
        let memory = opened.memory;
        assert!(memory.first <= memory.last.map(|last| last.index));
        assert!(open().is_ok(), "what was opened once can be opened again");
    }
});

fn encoded(pair: Pair) -> (Vec<u8>, Vec<u8>) {
    match pair {
        Pair::Entry { index, term, part, blank, cut } => {
            let id = openraft::LogId::new_term_index(term.into(), index.into());
            let entry = jam_cluster::raft::types::Entry::new_blank(id);
            let mut value = layout::encode_entry(&entry).expect("it is small");
            if !blank {
                value.truncate(cut.into());
            }
            (layout::entry_key(index.into(), u16::from(part % 3)), value)
        }
        Pair::Meta { which, value } => {
            let keys = [layout::VOTE, layout::PURGED, layout::COMMITTED, layout::SNAPSHOT];
            (keys[usize::from(which % 4)].to_vec(), value)
        }
        Pair::Chunk { generation, chunk, value } => {
            (layout::chunk_key(generation.into(), chunk.into()), value)
        }
        Pair::Any { key, value } => (key, value),
    }
}
