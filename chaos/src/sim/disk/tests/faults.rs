//! Faults.

use super::*;

#[test]
fn from_the_kth_operation_on_all_fail() -> io::Result<()> {
    let machine = machine(1);
    let world = machine.world();
    let file = durable_file(&world, "/data/a", b"one")?;
    machine.disk().fail_at(3);
    file.write_at(b"two", 0)?;
    file.sync_all()?;
    for _ in 0..3 {
        let error = file.write_at(b"x", 0).expect_err("fails");
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
    assert!(world.disk.read(Path::new("/data/a")).is_err());
    machine.disk().heal();
    assert_eq!(world.disk.read(Path::new("/data/a"))?, b"two");
    assert_eq!(machine.disk().tally().of(Event::IoError), 4);
    Ok(())
}

#[test]
fn after_a_failed_sync_the_next_one_may_lie() -> io::Result<()> {
    let mut lies = 0;
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let file = durable_file(&machine.world(), "/data/a", b"one")?;
        file.write_at(b"two", 0)?;
        machine.disk().fail_at(1);
        assert!(file.sync_data().is_err());
        machine.disk().heal();
        file.sync_data()?;
        let mut read = [0; 3];
        assert_eq!((file.read_at(&mut read, 0)?, &read), (3, b"two"));
        lies += u64::from(restart(&machine).disk.read(Path::new("/data/a"))? == b"one");
    }
    assert!((50..150).contains(&lies), "{lies}");
    Ok(())
}

#[test]
fn a_full_disk_takes_what_fits_and_overwrites() -> io::Result<()> {
    let machine = machine(1);
    let world = machine.world();
    let file = durable_file(&world, "/data/a", &[1; 60])?;
    let database = world.disk.database(Path::new("/data/sled"), 0)?;
    database.apply(vec![(vec![0; 10], Some(vec![0; 20]))])?;
    machine.disk().set_capacity(Some(100));
    assert_eq!(world.disk.free_bytes(Path::new("/data"))?, 10);
    let error = database.apply(vec![(vec![1], Some(vec![0; 20]))]).expect_err("no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let error = file.write_at(&[2; 30], 50).expect_err("no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!((file.len()?, machine.disk().used_bytes()), (70, 100));
    file.write_at(&[3; 70], 0)?;
    database.apply(vec![(vec![0; 10], None)])?;
    file.write_at(&[3; 20], 70)?;
    assert_eq!(machine.disk().tally().of(Event::Full), 2);
    Ok(())
}

#[test]
fn at_the_fuses_end_one_change_is_half_done_and_nothing_after_it() -> io::Result<()> {
    let (mut some, mut torn) = (0, 0);
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let world = machine.world();
        let file = durable_file(&world, "/data/a", &[0; 4096])?;
        machine.disk().light_fuse(3);
        file.write_at(&[1; 100], 0)?;
        file.sync_data()?;
        assert!(!machine.disk().is_dark());
        assert!(file.write_at(&[2; 4096], 0).is_err());
        assert!(machine.disk().is_dark());
        assert!(file.write_at(&[3; 4096], 0).is_err() && file.sync_data().is_err());
        assert!(world.disk.sync_folder(Path::new("/data")).is_err());
        let bytes = restart(&machine).disk.read(Path::new("/data/a"))?;
        let twos = bytes.iter().filter(|byte| **byte == 2).count();
        assert_eq!(bytes.iter().filter(|byte| **byte == 3).count(), 0);
        assert!(twos >= 512 || bytes[..100] == [1; 100], "what was synced stays");
        some += u64::from(twos > 0);
        torn += u64::from(twos > 0 && twos < 4096);
    }
    assert!(some > 60 && torn > 60, "{some} {torn}");
    Ok(())
}

#[test]
fn a_sync_that_the_power_ended_may_have_been_done() -> io::Result<()> {
    let mut done = 0;
    for seed in 0..SEEDS {
        let machine = machine(seed);
        let file = durable_file(&machine.world(), "/data/a", b"one")?;
        file.write_at(b"two", 0)?;
        machine.disk().light_fuse(1);
        assert!(file.sync_data().is_err());
        // Nobody cut the power: booting does it.
        machine.power_up();
        let bytes = machine.world().disk.read(Path::new("/data/a"))?;
        assert!([b"one", b"two"].contains(&bytes.as_slice().try_into().expect("three bytes")));
        done += u64::from(bytes == b"two");
    }
    assert!((40..160).contains(&done), "{done}");
    Ok(())
}

#[test]
fn a_machine_without_power_does_nothing() -> io::Result<()> {
    let machine = machine(1);
    durable_file(&machine.world(), "/data/a", b"one")?;
    machine.cut_power();
    assert!(machine.world().disk.read(Path::new("/data/a")).is_err());
    machine.power_up();
    assert_eq!(machine.world().disk.read(Path::new("/data/a"))?, b"one");
    Ok(())
}

#[test]
fn a_flipped_byte_is_seen_and_stays() -> io::Result<()> {
    let machine = machine(1);
    let world = machine.world();
    durable_file(&world, "/data/a", &[5; 1000])?;
    durable_file(&world, "/data/empty", b"")?;
    let at = machine.disk().flip_byte(Path::new("/data/a")).expect("there is one");
    assert_eq!(machine.disk().flip_byte(Path::new("/data/empty")), None);
    assert_eq!(machine.disk().flip_byte(Path::new("/data/none")), None);
    for world in [world, restart(&machine)] {
        let bytes = machine.world().disk.read(Path::new("/data/a"))?;
        let wrong: Vec<usize> = (0..1000).filter(|at| bytes[*at] != 5).collect();
        assert_eq!(wrong, [at]);
        drop(world);
    }
    Ok(())
}

#[test]
fn a_database_can_lose_durable_batches_and_a_disk_everything() -> io::Result<()> {
    let machine = machine(1);
    let database = machine.world().disk.database(Path::new("/data/sled"), 0)?;
    for batch in 0..10u8 {
        database.apply(vec![(vec![0], Some(vec![batch])), (vec![batch + 1], Some(vec![]))])?;
        database.sync()?;
    }
    machine.kill();
    assert_eq!(machine.disk().set_back_databases(4), 4);
    let world = machine.world();
    let database = world.disk.database(Path::new("/data/sled"), 0)?;
    assert_eq!(database.get(&[0])?, Some(vec![5]));
    assert_eq!(database.range(vec![1]..=vec![99]).count(), 6);
    machine.kill();
    machine.disk().wipe();
    assert_eq!(machine.disk().used_bytes(), 0);
    assert!(machine.world().disk.look(Path::new("/data")).is_err());
    Ok(())
}

#[test]
fn a_healed_disk_keeps_its_pace_and_its_size() -> io::Result<()> {
    let machine = machine(1);
    let file = durable_file(&machine.world(), "/data/a", b"one")?;
    machine.disk().set_pace(Pace { mean_us: 5000, stall_one_in: 0, stall_ms_max: 0 });
    machine.disk().set_capacity(Some(3));
    machine.disk().light_fuse(2);
    machine.disk().fail_at(1);
    assert!(file.len().is_err());
    machine.disk().heal();
    for _ in 0..5 {
        file.write_at(b"two", 0)?;
    }
    assert!(file.write_at(b"three", 0).is_err());
    assert!((0..9).any(|_| machine.disk().state().pace() > Duration::ZERO));
    Ok(())
}

#[test]
fn slow_disks_stall_now_and_then_and_small_waits_add_up() {
    let machine = machine(1);
    assert_eq!(machine.disk().state().pace(), Duration::ZERO);
    machine.disk().set_pace(Pace { mean_us: 300, stall_one_in: 50, stall_ms_max: 200 });
    let waits: Vec<u128> = (0..1000).map(|_| machine.disk().state().pace().as_millis()).collect();
    let (short, long): (Vec<u128>, Vec<u128>) = waits.iter().partition(|wait| **wait < 2);
    assert!((200..400).contains(&short.iter().sum::<u128>()), "{short:?}");
    assert!((8..40).contains(&long.len()) && long.iter().max() > Some(&100), "{long:?}");
}
