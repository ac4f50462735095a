//! A journal that was written and then damaged: what is read is what was written, up to its end, or an error.
#![no_main]

use std::path::Path;

use jam_cluster::raft::journal::{self, Journal, Step};
use jam_fuzz::Memory;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const FILE_BYTES: usize = 4096;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Lengths of entries; 0: the next generation.
    written: Vec<u8>,
    seal: bool,
    damage: Vec<Damage>,
    raw: Option<Vec<u8>>,
    done: u8,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Set { file: bool, at: u16, to: u8 },
    Cut { file: bool, at: u16 },
    Copy { file: bool, from: u16, to: u16, count: u8 },
}

fuzz_target!(|input: Input| {
    let (disk, folder) = (Memory::default(), Path::new(""));
    let mut journal = Journal::create(&disk, folder, FILE_BYTES).expect("memory takes it");
    let mut written: Vec<Vec<u8>> = Vec::new();
    for (number, length) in input.written.iter().enumerate() {
        if *length == 0 {
            // What the other file held must be in the database first: it is, as far as this goes.
            journal.next_generation().expect("memory takes it");
            continue;
        }
        let entry = vec![number as u8; usize::from(*length)];
        let id = openraft::LogId::new_term_index(1, number as u64);
        journal.push(&Step::Append { id, entry: &entry }).expect("it is encoded");
        journal.sync().expect("memory takes it");
        written.push(entry);
    }
    if input.seal {
        journal.seal().expect("memory takes it");
    }
    let last = journal.generation();
    let harmless = input.damage.is_empty() && input.raw.is_none();
    for damage in &input.damage {
        spoil(&disk, damage);
    }
    if let Some(raw) = input.raw {
        disk.put("journal.1", &raw);
    }
    let done = if harmless { last.saturating_sub(2) } else { u64::from(input.done) };
    let read = journal::read(&disk, folder, done);
    assert!(!harmless || read.is_ok());
    let Ok(found) = read else { return };
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let replayed = found.replay(|step| {
        if let Step::Append { entry, .. } = step {
            entries.push(entry.to_vec());
        }
        Ok(())
    });
    if harmless {
        assert!(replayed.is_ok() && written.ends_with(&entries));
    }
});

fn spoil(disk: &Memory, damage: &Damage) {
    let name = |file: bool| if file { "journal.1" } else { "journal.0" };
    match *damage {
        Damage::Set { file, at, to } => disk.change(name(file), |bytes| {
            let at = usize::from(at) % bytes.len().max(1);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = to);
        }),
        Damage::Cut { file, at } => disk.change(name(file), |bytes| bytes.truncate(at.into())),
        Damage::Copy { file, from, to, count } => disk.change(name(file), |bytes| {
            for by in 0..usize::from(count) {
                let (from, to) = (usize::from(from) + by, usize::from(to) + by);
                if from.max(to) < bytes.len() {
                    bytes[to] = bytes[from];
                }
            }
        }),
    }
}
