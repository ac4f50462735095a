//! Names.

use super::*;

fn exists(world: &World, path: &str) -> bool {
    world.disk.look(Path::new(path)).is_ok()
}

fn make(world: &World, path: &str, bytes: &[u8]) -> io::Result<()> {
    jam_world::write_and_sync(world.disk.as_ref(), Path::new(path), bytes)
}

#[test]
fn a_new_name_is_durable_once_its_folder_is_synced() -> io::Result<()> {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let world = machine.world();
        make(&world, "/data/synced", b"a")?;
        world.disk.sync_folder(Path::new("/data"))?;
        make(&world, "/data/not", b"b")?;
        let world = restart(&machine);
        assert_eq!(world.disk.read(Path::new("/data/synced"))?, b"a");
        lost += u64::from(!exists(&world, "/data/not"));
        assert_eq!(
            machine.disk().tally().of(Event::NameLost),
            u64::from(!exists(&world, "/data/not"))
        );
    }
    assert!((40..160).contains(&lost), "{lost}");
    Ok(())
}

#[test]
fn names_of_a_folder_are_lost_from_some_point_on() -> io::Result<()> {
    let mut counts = BTreeSet::new();
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let world = machine.world();
        for name in ["a", "b", "c", "d"] {
            make(&world, &format!("/data/{name}"), b"x")?;
        }
        let left = restart(&machine).disk.list(Path::new("/data"))?;
        let names: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
        assert!(["a", "b", "c", "d"].starts_with(&names));
        counts.insert(names.len());
    }
    assert_eq!(counts.len(), 5, "{counts:?}");
    Ok(())
}

#[test]
fn a_rename_happens_or_does_not_also_between_folders() -> io::Result<()> {
    let (mut old, mut new) = (0, 0);
    for seed in 0..SEEDS {
        let machine = machine(seed);
        machine.disk().install_folder(Path::new("/data/songs"));
        let world = machine.world();
        durable_file(&world, "/data/a", b"song")?;
        world.disk.rename(Path::new("/data/a"), Path::new("/data/songs/a"))?;
        let world = restart(&machine);
        let is_old = exists(&world, "/data/a");
        assert_ne!(is_old, exists(&world, "/data/songs/a"), "in one place");
        *if is_old { &mut old } else { &mut new } += 1;
    }
    assert!(old > 20 && new > 20, "{old} {new}");
    Ok(())
}

#[test]
fn a_synced_rename_takes_with_it_how_the_file_came_there() -> io::Result<()> {
    for seed in 0..SEEDS {
        let machine = machine(seed);
        machine.disk().install_folder(Path::new("/data/songs"));
        let world = machine.world();
        make(&world, "/data/a", b"song")?;
        world.disk.rename(Path::new("/data/a"), Path::new("/data/songs/a"))?;
        world.disk.sync_folder(Path::new("/data/songs"))?;
        let world = restart(&machine);
        assert_eq!(world.disk.read(Path::new("/data/songs/a"))?, b"song");
        assert!(!exists(&world, "/data/a"));
    }
    Ok(())
}

#[test]
fn a_rename_says_nothing_of_the_bytes() -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let world = machine.world();
        durable_file(&world, "/data/a", b"old")?;
        world.disk.open(Path::new("/data/a.new"), Open::Anew)?.write_at(b"new", 0)?;
        world.disk.rename(Path::new("/data/a.new"), Path::new("/data/a"))?;
        world.disk.sync_folder(Path::new("/data"))?;
        seen.insert(restart(&machine).disk.read(Path::new("/data/a"))?);
    }
    // Neither the old nor the new: who syncs only the folder loses both.
    assert!(seen.contains(&b"new"[..]) && seen.contains(&b""[..]) && !seen.contains(&b"old"[..]));
    Ok(())
}

#[test]
fn what_is_in_a_lost_folder_is_lost() -> io::Result<()> {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let world = machine.world();
        world.disk.make_folder(Path::new("/data/new"))?;
        make(&world, "/data/new/a", b"x")?;
        world.disk.sync_folder(Path::new("/data/new"))?;
        let world = restart(&machine);
        assert_eq!(exists(&world, "/data/new"), exists(&world, "/data/new/a"));
        lost += u64::from(!exists(&world, "/data/new"));
    }
    assert!(lost > 20);
    Ok(())
}

#[test]
fn a_new_database_is_durable_at_once() -> io::Result<()> {
    for seed in 0..SEEDS {
        let machine = machine(seed);
        machine.world().disk.database(Path::new("/data/sled"), 0)?;
        assert!(exists(&restart(&machine), "/data/sled/db"));
    }
    Ok(())
}

#[test]
fn names_are_found_listed_and_refused_as_on_any_disk() -> io::Result<()> {
    let machine = machine(1);
    let world = machine.world();
    make(&world, "/data/b", b"four")?;
    make(&world, "/data/./x/../a", b"")?;
    world.disk.make_folder(Path::new("/data/c/d"))?;
    make(&world, "/data/c/d/e", b"")?;
    let listed = world.disk.list(Path::new("/data"))?;
    let listed: Vec<_> =
        listed.iter().map(|(name, meta)| (name.as_str(), meta.len, meta.is_folder)).collect();
    assert_eq!(listed, [("a", 0, false), ("b", 4, false), ("c", 0, true)]);
    assert_eq!(machine.disk().files(Path::new("/data/c")), [Path::new("/data/c/d/e")]);
    let kind = |done: io::Result<()>| done.map_err(|error| error.kind());
    let open = |path: &str, how| kind(world.disk.open(Path::new(path), how).map(drop));
    assert_eq!(open("/data/none", Open::Read), Err(io::ErrorKind::NotFound));
    assert_eq!(open("/none/a", Open::Make), Err(io::ErrorKind::NotFound));
    assert_eq!(open("/data/c", Open::Make), Err(io::ErrorKind::IsADirectory));
    let removed = world.disk.remove(Path::new("/data/none"));
    assert_eq!(kind(removed), Err(io::ErrorKind::NotFound));
    // Who has it open keeps it.
    let file = world.disk.open(Path::new("/data/b"), Open::Read)?;
    world.disk.remove(Path::new("/data/b"))?;
    assert_eq!((file.len()?, exists(&world, "/data/b")), (4, false));
    assert!(file.write_at(b"x", 0).is_err(), "opened to read");
    Ok(())
}
