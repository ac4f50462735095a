//! Need root and loop devices, and say so where there are none.

use std::io::Write;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::super::process::Victim;
use super::super::tidy::tidy;
use super::super::undo::loop_devices;
use super::*;

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = crate::cluster::PATIENCE;

/// A volume, unless this machine has none to offer.
fn volume() -> anyhow::Result<Option<(Volume, TempDir)>> {
    let dir = tempfile::tempdir()?;
    let journal = Journal::begin(&dir.path().join("active"))?;
    if !geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        println!("skipped: volumes take root and loop devices");
        return Ok(None);
    }
    let volume = Volume::create(dir.path(), "n1", 64 * MIB, &journal)?;
    Ok(Some((volume, dir)))
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nothing_else() -> anyhow::Result<()> {
    let Some((volume, _dir)) = volume()? else { return Ok(()) };
    let (synced, unsynced) = (volume.path().join("synced"), volume.path().join("unsynced"));
    let mut file = File::create(&synced)?;
    file.write_all(b"durable")?;
    file.sync_all()?;
    file.write_all(b", and what came after")?;
    fs::write(&unsynced, "in memory only")?;

    volume.cut_power()?;
    let refused = file.sync_all().expect_err("there is no power");
    assert_eq!(refused.raw_os_error(), Some(libc::EIO));
    drop(file);
    volume.remount(PATIENCE)?;
    assert_eq!(fs::read_to_string(&synced)?, "durable");
    assert!(!unsynced.exists());
    fs::write(&unsynced, "works again")?;
    volume.remove()
}

#[test]
fn a_disk_that_failed_works_again_afterwards() -> anyhow::Result<()> {
    let Some((volume, _dir)) = volume()? else { return Ok(()) };
    let path = volume.path().join("file");
    fs::write(&path, "before")?;
    File::open(&path)?.sync_all()?;
    volume.fail()?;
    assert!(fs::write(&path, "meanwhile").is_err());
    volume.remount(PATIENCE)?;
    assert_eq!(fs::read_to_string(&path)?, "before");
    volume.remove()
}

#[test]
fn a_full_disk_takes_nothing_until_it_is_drained() -> anyhow::Result<()> {
    let Some((volume, _dir)) = volume()? else { return Ok(()) };
    let path = volume.path().join("file");
    for _ in 0..2 {
        volume.fill()?;
        let refused = fs::write(&path, vec![1; 8192]).expect_err("there is no room");
        assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
        volume.drain()?;
        fs::write(&path, vec![1; 8192])?;
        fs::remove_file(&path)?;
    }
    volume.drain()?;
    volume.remove()
}

#[test]
fn a_process_in_the_way_of_a_remount_is_named() -> anyhow::Result<()> {
    let Some((volume, _dir)) = volume()? else { return Ok(()) };
    let holder = Command::new("sleep")
        .arg("600")
        .current_dir(volume.path())
        .stdin(Stdio::null())
        .spawn()
        .map(Victim)?;
    volume.cut_power()?;
    let refused = volume.remount(Duration::ZERO).expect_err("it is held");
    assert!(refused.to_string().contains(&format!("[{}]", holder.0.id())), "{refused:#}");
    drop(holder);
    volume.remount(PATIENCE)?;
    volume.remove()
}

#[test]
fn a_slow_disk_is_slow_until_it_is_not() -> anyhow::Result<()> {
    let Some((mut volume, _dir)) = volume()? else { return Ok(()) };
    let Some(throttle) = throttle() else {
        println!("skipped: {}", Needs::Blkio);
        return Ok(());
    };
    volume.slow(50)?;
    volume.slow(20)?;
    let limits = || fs::read_to_string(&throttle);
    assert!(limits()?.lines().any(|limit| limit.ends_with(" 20")), "{}", limits()?);
    volume.full_speed()?;
    assert!(!limits()?.lines().any(|limit| limit.ends_with(" 20")), "{}", limits()?);
    volume.remove()
}

#[test]
fn nothing_stays_of_a_volume_whose_run_ended_early() -> anyhow::Result<()> {
    let Some((mut volume, dir)) = volume()? else { return Ok(()) };
    let (journal, mount) = (volume.journal.path().to_owned(), volume.mount.clone());
    let image = mount.with_extension("img");
    if throttle().is_some() {
        volume.slow(1000)?;
    }
    // As if the runner had been killed.
    std::mem::forget(volume);
    assert!(is_mounted(&mount)? && loop_devices(&image).len() == 1);

    let said = tidy(&journal);
    assert!(said.iter().any(|did| did.starts_with("unmounted")), "{said:?}");
    assert!(!said.iter().any(|did| did.starts_with("not undone")), "{said:?}");
    assert!(!is_mounted(&mount)? && loop_devices(&image).is_empty());
    assert!(!mount.exists() && !image.exists());
    dir.close()?;
    Ok(())
}
