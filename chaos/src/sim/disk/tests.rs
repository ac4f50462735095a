//! What a disk keeps and loses, rule by rule, each over many seeds.

mod faults;
mod names;
mod repeats;
mod synced;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jam_world::{File, Open, World};

use super::content::SECTOR_BYTES;
use super::*;
use crate::sim::{Machine, Time};

const SEEDS: u64 = 200;

/// A machine with a folder `/data`.
fn machine(seed: u64) -> Machine {
    let machine = Machine::new(seed, "n1", &Time::new());
    machine.disk().install_folder(Path::new("/data"));
    machine
}

/// The power goes, and comes back.
fn restart(machine: &Machine) -> World {
    machine.cut_power();
    machine.power_up();
    machine.world()
}

/// A file with durable bytes and a durable name.
fn durable_file(world: &World, path: &str, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    let path = Path::new(path);
    jam_world::write_and_sync(world.disk.as_ref(), path, bytes)?;
    path.parent().map_or(Ok(()), |folder| world.disk.sync_folder(folder))?;
    world.disk.open(path, Open::Change)
}

#[test]
fn a_killed_process_loses_nothing_that_it_wrote() -> io::Result<()> {
    let machine = machine(1);
    let world = machine.world();
    world.disk.open(Path::new("/data/a"), Open::Make)?.write_at(b"song", 0)?;
    world.disk.rename(Path::new("/data/a"), Path::new("/data/b"))?;
    let database = world.disk.database(Path::new("/data/db"), 0)?;
    database.apply(vec![(b"k".to_vec(), Some(b"v".to_vec()))])?;
    machine.kill();
    let world = machine.world();
    assert_eq!(world.disk.read(Path::new("/data/b"))?, b"song");
    assert!(world.disk.look(Path::new("/data/a")).is_err());
    let database = world.disk.database(Path::new("/data/db"), 0)?;
    assert_eq!(database.get(b"k")?, Some(b"v".to_vec()));
    assert_eq!(machine.disk().tally().of(Event::KilledUnsynced), 1);
    Ok(())
}

#[test]
fn what_an_earlier_life_holds_fails() -> io::Result<()> {
    let machine = machine(1);
    let old = machine.world();
    let file = durable_file(&old, "/data/a", b"one")?;
    let database = old.disk.database(Path::new("/data/db"), 0)?;
    let lock = old.disk.lock(Path::new("/data/lock"))?;
    assert!(lock.is_some());
    assert!(old.disk.lock(Path::new("/data/lock"))?.is_none());
    let new = machine.world();
    let path = Path::new("/data/a");
    assert!(file.write_at(b"two", 0).is_err() && file.sync_all().is_err() && file.len().is_err());
    assert!(old.disk.open(path, Open::Anew).is_err() && old.disk.remove(path).is_err());
    assert!(database.get(b"k").is_err() && database.sync().is_err());
    assert!(old.work.worker("late", Box::pin(async {})).is_err());
    assert_eq!(new.disk.read(path)?, b"one");
    // The lock went with its process, and its guard ends nobody else's.
    let again = new.disk.lock(Path::new("/data/lock"))?;
    drop(lock);
    assert!(again.is_some() && new.disk.lock(Path::new("/data/lock"))?.is_none());
    drop(again);
    assert!(new.disk.lock(Path::new("/data/lock"))?.is_some());
    Ok(())
}

#[test]
fn synced_bytes_survive_and_their_length_does() -> io::Result<()> {
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let file = durable_file(&machine.world(), "/data/a", b"")?;
        file.write_at(&[7; 5000], 0)?;
        if seed % 2 == 0 {
            file.sync_data()?
        } else {
            file.sync_all()?
        };
        let world = restart(&machine);
        assert_eq!(world.disk.read(Path::new("/data/a"))?, [7; 5000]);
    }
    Ok(())
}

#[test]
fn unsynced_writes_are_kept_or_dropped_or_torn_at_sectors() -> io::Result<()> {
    const AT: usize = 700;
    let (mut whole, mut none, mut torn) = (0, 0, 0);
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let file = durable_file(&machine.world(), "/data/a", &[1; 4096])?;
        file.write_at(&[2; 2000], AT as u64)?;
        let bytes = restart(&machine).disk.read(Path::new("/data/a"))?;
        assert_eq!(bytes.len(), 4096);
        assert!(bytes[..AT].iter().chain(&bytes[AT + 2000..]).all(|byte| *byte == 1));
        assert!(bytes.iter().all(|byte| matches!(byte, 1 | 2)));
        // Old and new meet at the edges of sectors only.
        for at in AT + 1..AT + 2000 {
            assert!(bytes[at] == bytes[at - 1] || at % SECTOR_BYTES == 0, "at {at}");
        }
        match bytes[AT..AT + 2000].iter().filter(|byte| **byte == 2).count() {
            0 => none += 1,
            2000 => whole += 1,
            _ => torn += 1,
        }
    }
    assert!(whole > 20 && none > 20 && torn > 20, "{whole} whole, {none} none, {torn} torn");
    Ok(())
}

#[test]
fn of_several_unsynced_writes_any_may_survive() -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let file = durable_file(&machine.world(), "/data/a", &[0; 3 * SECTOR_BYTES])?;
        for place in 0..3 {
            file.write_at(&[1; SECTOR_BYTES], place * SECTOR_BYTES as u64)?;
        }
        let bytes = restart(&machine).disk.read(Path::new("/data/a"))?;
        seen.insert([bytes[0], bytes[SECTOR_BYTES], bytes[2 * SECTOR_BYTES]]);
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
    Ok(())
}

#[test]
fn a_file_may_have_grown_without_its_bytes() -> io::Result<()> {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let file = durable_file(&machine.world(), "/data/a", b"old")?;
        file.write_at(b"new", 3)?;
        let bytes = restart(&machine).disk.read(Path::new("/data/a"))?;
        assert!([&b"old"[..], b"oldnew", b"old\0\0\0"].contains(&bytes.as_slice()));
        lengths.insert(bytes);
    }
    assert_eq!(lengths.len(), 3);
    Ok(())
}

#[test]
fn writing_a_file_anew_may_lose_the_old_and_the_new() -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let world = machine.world();
        durable_file(&world, "/data/a", b"old")?;
        world.disk.open(Path::new("/data/a"), Open::Anew)?.write_at(b"new!", 0)?;
        seen.insert(restart(&machine).disk.read(Path::new("/data/a"))?);
    }
    for end in [&b"old"[..], b"new!", b""] {
        assert!(seen.contains(end), "{seen:?}");
    }
    Ok(())
}

#[test]
fn a_database_keeps_whole_batches_and_none_behind_a_lost_one() -> io::Result<()> {
    let mut kept = BTreeSet::new();
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let database = machine.world().disk.database(Path::new("/data/sled"), 0)?;
        let pair = |batch: u8| {
            vec![(vec![batch, 0], Some(vec![batch])), (vec![batch, 1], Some(vec![batch]))]
        };
        for batch in 0..3 {
            database.apply(pair(batch))?;
        }
        database.sync()?;
        for batch in 3..6 {
            database.apply(pair(batch))?;
        }
        database.apply(vec![(vec![0, 0], None)])?;
        let world = restart(&machine);
        let database = world.disk.database(Path::new("/data/sled"), 0)?;
        let keys: Vec<Vec<u8>> = database
            .range(vec![0]..=vec![9])
            .map(|pair| pair.map(|(key, _)| key))
            .collect::<io::Result<_>>()?;
        let batches = keys.last().map_or(0, |key| key[0] + 1);
        assert!((3..=6).contains(&batches));
        let removed = usize::from(database.get(&[0, 0])?.is_none());
        assert_eq!(keys.len(), usize::from(batches) * 2 - removed);
        assert!(removed == 0 || batches == 6);
        kept.insert((batches, removed));
    }
    assert_eq!(kept.len(), 5, "{kept:?}");
    Ok(())
}

#[test]
fn a_range_is_walked_from_both_ends() -> io::Result<()> {
    let world = machine(1).world();
    let database = world.disk.database(Path::new("/data/sled"), 0)?;
    database.apply((0..5u8).map(|key| (vec![key], Some(vec![key]))).collect())?;
    let mut range = database.range(vec![1]..=vec![4]);
    let mut key = |last: bool| {
        let pair = if last { range.next_back() } else { range.next() };
        pair.transpose().map(|pair| pair.map(|(key, _)| key[0]))
    };
    assert_eq!((key(false)?, key(true)?, key(true)?), (Some(1), Some(4), Some(3)));
    assert_eq!((key(true)?, key(false)?, key(true)?), (Some(2), None, None));
    assert_eq!(database.range(vec![3]..=vec![2]).count(), 0);
    Ok(())
}
