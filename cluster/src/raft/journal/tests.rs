use super::*;

fn purge(index: u64) -> Step<'static> {
    Step::Purge(LogId::new(1.into(), index))
}

/// A generation with one step in each of `count` records.
fn fill(journal: &mut Journal, from: u64, count: u64) -> io::Result<()> {
    for index in from..from + count {
        journal.push(&purge(index))?;
        journal.sync()?;
    }
    Ok(())
}

fn steps(found: &Found) -> io::Result<Vec<u64>> {
    let mut indexes = Vec::new();
    found.replay(|step| {
        if let Step::Purge(upto) = step {
            indexes.push(upto.index);
        }
        Ok(())
    })?;
    Ok(indexes)
}

fn change(folder: &Path, slot: usize, at: usize) -> io::Result<()> {
    let mut bytes = std::fs::read(path(folder, slot))?;
    bytes[at] ^= 1;
    std::fs::write(path(folder, slot), bytes)
}

type TestResult = Result<(), Box<dyn std::error::Error>>;

#[test]
fn what_was_synced_comes_back_in_order() -> TestResult {
    let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
    let disk = world.disk.as_ref();
    let mut journal = Journal::create(disk, folder.path(), FILE_BYTES)?;
    fill(&mut journal, 1, 3)?;
    journal.seal()?;
    journal.push(&purge(4))?;
    journal.push(&purge(5))?;
    journal.sync()?;
    journal.push(&purge(6))?;
    assert_eq!(steps(&read(disk, folder.path(), 0)?)?, [1, 2, 3, 4, 5], "6 was not synced");
    journal.sync()?;
    journal.next_generation()?;
    fill(&mut journal, 7, 2)?;
    let found = read(disk, folder.path(), 0)?;
    assert_eq!((found.generation, steps(&found)?), (2, vec![1, 2, 3, 4, 5, 6, 7, 8]));
    let found = read(disk, folder.path(), 1)?;
    assert_eq!((found.generation, steps(&found)?), (2, vec![7, 8]));
    journal.next_generation()?;
    fill(&mut journal, 9, 1)?;
    assert_eq!(steps(&read(disk, folder.path(), 1)?)?, [7, 8, 9]);
    assert!(read(disk, folder.path(), 0).is_err(), "generation 1 was overwritten");
    assert!(read(disk, folder.path(), 5).is_err(), "there is no generation 6");
    Ok(())
}

#[test]
fn a_torn_end_is_dropped_and_damage_before_it_is_not() -> TestResult {
    let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
    let disk = world.disk.as_ref();
    let mut journal = Journal::create(disk, folder.path(), FILE_BYTES)?;
    fill(&mut journal, 1, 3)?;
    // Record n lies at n * ALIGN.
    change(folder.path(), 1, 3 * ALIGN + HEAD_BYTES)?;
    assert_eq!(steps(&read(disk, folder.path(), 0)?)?, [1, 2]);
    change(folder.path(), 1, 3 * ALIGN + HEAD_BYTES)?;
    for at in [2 * ALIGN, 2 * ALIGN + 9, 2 * ALIGN + HEAD_BYTES] {
        change(folder.path(), 1, at)?;
        assert!(matches!(read(disk, folder.path(), 0), Err(JournalError::Damaged(_))));
        change(folder.path(), 1, at)?;
    }
    journal.seal()?;
    change(folder.path(), 1, 3 * ALIGN + HEAD_BYTES)?;
    assert!(read(disk, folder.path(), 0).is_err(), "what is sealed can't be lost unnoticed");
    Ok(())
}

#[test]
fn the_end_of_a_finished_generation_is_not_lost_unnoticed() -> TestResult {
    let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
    let disk = world.disk.as_ref();
    let mut journal = Journal::create(disk, folder.path(), FILE_BYTES)?;
    fill(&mut journal, 1, 3)?;
    journal.next_generation()?;
    change(folder.path(), 1, 3 * ALIGN + HEAD_BYTES)?;
    assert!(matches!(read(disk, folder.path(), 0), Err(JournalError::Damaged(_))));
    Ok(())
}

#[test]
fn old_generations_behind_the_end_are_not_read() -> TestResult {
    let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
    let disk = world.disk.as_ref();
    let mut journal = Journal::create(disk, folder.path(), FILE_BYTES)?;
    fill(&mut journal, 1, 9)?;
    journal.next_generation()?;
    journal.next_generation()?;
    fill(&mut journal, 20, 1)?;
    assert_eq!(steps(&read(disk, folder.path(), 2)?)?, [20]);
    Ok(())
}

#[test]
fn a_long_last_record_makes_no_later_generation_longer() -> TestResult {
    let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
    let disk = world.disk.as_ref();
    let mut journal = Journal::create(disk, folder.path(), 4 * ALIGN)?;
    journal.push(&Step::Append { id: LogId::new(1.into(), 1), entry: &[7; 64 * ALIGN] })?;
    journal.sync()?;
    let mut journal = Journal::go_on(disk, folder.path(), 2, 1, 4 * ALIGN)?;
    // The record that opens it is the first of four.
    fill(&mut journal, 1, 3)?;
    assert!(journal.is_full());
    Ok(())
}

/// Zeroes the record at `at` of the file that holds `generation`.
fn forget(folder: &Path, generation: u64, at: usize) -> io::Result<()> {
    let path = path(folder, slot(generation));
    let mut bytes = std::fs::read(&path)?;
    bytes[at..at + ALIGN].fill(0);
    std::fs::write(path, bytes)
}

#[test]
fn a_generation_that_lost_its_beginning_is_told_from_one_that_never_began() -> TestResult {
    let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
    let disk = world.disk.as_ref();
    let mut journal = Journal::create(disk, folder.path(), FILE_BYTES)?;
    fill(&mut journal, 1, 3)?;
    journal.next_generation()?;
    let lost = |why: &str| match read(disk, folder.path(), 0) {
        Err(JournalError::Damaged(text)) => assert!(text.contains(why), "{text}"),
        read => panic!("{read:?}"),
    };
    // Nothing stands behind the record that opens generation 2: the closing record of generation 1 tells.
    forget(folder.path(), 2, 0)?;
    lost("generation 2 of the journal has lost its beginning");
    // A process that ends before the closing record is durable has acknowledged nothing of generation 2. Older builds
    // write none.
    forget(folder.path(), 1, 4 * ALIGN)?;
    let found = read(disk, folder.path(), 0)?;
    assert_eq!((found.generation, steps(&found)?), (1, vec![1, 2, 3]));
    // Records that stand behind an opening record that can't be read tell it in older folders, too.
    fill(&mut journal, 4, 2)?;
    lost("the record that opens the journal's generation 2 is damaged");
    Ok(())
}

#[test]
fn nothing_may_be_missing_in_front_of_a_closing_record() -> TestResult {
    let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
    let disk = world.disk.as_ref();
    let mut journal = Journal::create(disk, folder.path(), FILE_BYTES)?;
    fill(&mut journal, 1, 3)?;
    journal.next_generation()?;
    fill(&mut journal, 4, 1)?;
    assert_eq!(steps(&read(disk, folder.path(), 0)?)?, [1, 2, 3, 4]);
    forget(folder.path(), 1, 3 * ALIGN)?;
    assert!(matches!(read(disk, folder.path(), 0), Err(JournalError::Damaged(_))));
    Ok(())
}

#[test]
fn a_generation_at_the_end_of_the_numbers_is_damage() -> TestResult {
    let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
    let disk = world.disk.as_ref();
    Journal::create(disk, folder.path(), FILE_BYTES)?;
    for done in [u64::MAX, u64::MAX - 1] {
        assert!(matches!(read(disk, folder.path(), done), Err(JournalError::Damaged(_))));
    }
    Ok(())
}
