//! Machines and processes on a site.

mod grpc;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jam_world::{Open, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::sim::Pace;

/// Steps until that machine's process is done.
fn run(site: &mut Site, machine: &str) {
    while site.is_running(machine) {
        site.step().expect("goes on");
    }
}

fn site(names: &[&str]) -> (Site, Vec<Machine>) {
    let time = Time::new();
    let mut site = Site::new(1, (1, 20), &time);
    let machines: Vec<Machine> = names.iter().map(|name| Machine::new(1, name, &time)).collect();
    machines.iter().for_each(|machine| site.add(machine));
    (site, machines)
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A process that must not fail.
async fn well(work: impl Future<Output = Outcome>) {
    work.await.expect("it goes well");
}

/// Takes connections, and answers each byte by the next one.
async fn serve(world: World) -> Outcome {
    let listener = world.net.listen(([192, 168, 7, 7], 7400).into()).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            while let Ok(byte) = stream.read_u8().await {
                stream.write_u8(byte + 1).await?;
            }
            io::Result::Ok(())
        });
    }
}

async fn ask(world: &World, address: &str, byte: u8) -> io::Result<u8> {
    let mut stream = world.net.dial(address.to_owned()).await?;
    stream.write_u8(byte).await?;
    stream.read_u8().await
}

#[test]
fn machines_reach_each_other_by_name_and_by_address() -> Outcome {
    let (mut site, machines) = site(&["server", "client"]);
    site.start("server", well(serve(machines[0].world())))?;
    let address = format!("{}:7400", site.lookup("server"));
    let client = machines[1].clone();
    let asks = async move {
        let world = client.world();
        assert_eq!(ask(&world, "server:7400", 1).await?, 2);
        assert_eq!(ask(&world, &address, 5).await?, 6);
        assert!(ask(&world, "nobody:7400", 1).await.is_err());
        assert!(ask(&world, "server:7401", 1).await.is_err());
        client.kill();
        assert!(ask(&world, "server:7400", 1).await.is_err(), "this life has ended");
        Ok(())
    };
    site.start("client", well(asks))?;
    run(&mut site, "client");
    Ok(())
}

#[test]
fn work_waits_for_the_disk_and_is_done_even_if_nobody_waits() -> Outcome {
    let (mut site, machines) = site(&["n1"]);
    let machine = machines[0].clone();
    machine.disk().set_pace(Pace { mean_us: 20_000, stall_one_in: 0, stall_ms_max: 0 });
    let works = async move {
        let world = machine.world();
        let start = tokio::time::Instant::now();
        for number in 0..50 {
            assert_eq!(world.blocking(move || number + 1).await?, number + 1);
        }
        assert!((500..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());

        let (tell, told) = tokio::sync::oneshot::channel();
        drop(world.blocking(move || tell.send(7).is_ok()));
        assert!(told.await.is_err(), "it was never begun");
        let (tell, told) = tokio::sync::oneshot::channel();
        drop(world.work.blocking(Box::new(move || {
            let _ = tell.send(7);
        })));
        assert_eq!(told.await?, 7);

        let (tell, told) = tokio::sync::oneshot::channel();
        let task = async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let _ = tell.send(8);
        };
        world.worker("worker", Box::pin(task))?;
        assert_eq!(told.await?, 8);
        Ok(())
    };
    site.start("n1", well(works))?;
    run(&mut site, "n1");
    Ok(())
}

#[test]
fn turns_are_paced_woken_and_end() -> Outcome {
    let (mut site, machines) = site(&["n1"]);
    let machine = machines[0].clone();
    let works = async move {
        let world = machine.world();
        let taken = Arc::new(AtomicU32::new(0));
        let paced = |wait: Duration| {
            let taken = taken.clone();
            world.paced("turns", move || {
                taken.fetch_add(1, Ordering::Relaxed);
                Some(wait)
            })
        };
        let rest = || tokio::time::sleep(Duration::from_millis(100));
        let often = paced(Duration::from_millis(10))?;
        rest().await;
        assert!((9..=11).contains(&taken.load(Ordering::Relaxed)));
        drop(often);
        rest().await;
        assert!(taken.swap(0, Ordering::Relaxed) <= 11);

        let seldom = paced(Duration::from_secs(3600))?;
        rest().await;
        assert_eq!(taken.load(Ordering::Relaxed), 1);
        seldom.wake();
        rest().await;
        assert_eq!(taken.swap(0, Ordering::Relaxed), 2);

        // Who has nothing to wait for does not hold up the others.
        let eager = paced(Duration::ZERO)?;
        rest().await;
        assert!((50..=101).contains(&taken.swap(0, Ordering::Relaxed)));
        machine.kill();
        rest().await;
        assert_eq!(taken.load(Ordering::Relaxed), 0, "its process has ended");
        assert!(paced(Duration::ZERO).is_err());
        drop((seldom, eager));
        Ok(())
    };
    site.start("n1", well(works))?;
    run(&mut site, "n1");
    Ok(())
}

/// Notes each 10 ms what its clocks show: the raw one, the one that counts sleep, and tokio's, in ms since the start.
async fn look(world: World, seen: Rc<RefCell<Vec<[i64; 3]>>>) -> Outcome {
    let start = (world.clock.raw_ns(), world.clock.boottime_ns(), tokio::time::Instant::now());
    loop {
        let raw = (world.clock.raw_ns() - start.0) / 1_000_000;
        let boottime = (world.clock.boottime_ns() - start.1) / 1_000_000;
        seen.borrow_mut().push([raw, boottime, start.2.elapsed().as_millis() as i64]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_stopped_process_finds_that_time_went_on_and_a_sleeping_machine_that_some_did() -> Outcome {
    let (mut site, machines) = site(&["n1"]);
    let seen = Rc::new(RefCell::new(Vec::new()));
    site.start("n1", well(look(machines[0].world(), seen.clone())))?;
    let steps = |site: &mut Site, count: u32| (0..count).try_for_each(|_| site.step());
    let last = || *seen.borrow().last().expect("it looks at once");
    let near = |found: [i64; 3], right: [i64; 3]| {
        let is_near = found.iter().zip(right).all(|(found, right)| (found - right).abs() <= 12);
        assert!(is_near, "{found:?} instead of {right:?}");
    };
    steps(&mut site, 1000)?;
    near(last(), [1000; 3]);
    site.stop(1, "n1");
    steps(&mut site, 5000)?;
    near(last(), [1000; 3]);
    site.heal(1);
    steps(&mut site, 20)?;
    near(last(), [6020; 3]);
    site.suspend(2, "n1");
    steps(&mut site, 5000)?;
    near(last(), [6020; 3]);
    site.heal(2);
    steps(&mut site, 20)?;
    near(last(), [6040, 11_040, 6040]);
    Ok(())
}

#[test]
fn a_stopped_process_is_to_others_one_that_takes_its_time() -> Outcome {
    let (mut site, machines) = site(&["server", "client"]);
    site.start("server", well(serve(machines[0].world())))?;
    (0..5).try_for_each(|_| site.step())?;
    site.stop(1, "server");
    let world = machines[1].world();
    let asks = async move {
        let start = tokio::time::Instant::now();
        assert_eq!(ask(&world, "server:7400", 1).await?, 2);
        assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
        Ok(())
    };
    site.start("client", well(asks))?;
    (0..3000).try_for_each(|_| site.step())?;
    assert!(site.is_running("client"));
    site.heal(1);
    run(&mut site, "client");
    Ok(())
}

/// Counts on in a file every 10 ms, each count synced.
async fn count(world: World, seen: Rc<RefCell<Vec<u8>>>) -> Outcome {
    let path = Path::new("/data/count");
    let file = world.disk.open(path, Open::Make)?;
    world.disk.sync_folder(Path::new("/data"))?;
    let mut byte = [0];
    file.read_at(&mut byte, 0)?;
    seen.borrow_mut().push(byte[0]);
    loop {
        byte[0] += 1;
        if file.write_at(&byte, 0).and_then(|()| file.sync_data()).is_err() {
            // A real process would stop here, too.
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_process_finds_after_a_crash_what_it_had_synced() -> Outcome {
    let (mut site, machines) = site(&["n1"]);
    let machine = &machines[0];
    machine.disk().install_folder(Path::new("/data"));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let start = |site: &mut Site| site.start("n1", well(count(machine.world(), seen.clone())));
    let steps = |site: &mut Site, count: u32| (0..count).try_for_each(|_| site.step());
    start(&mut site)?;
    steps(&mut site, 95)?;
    site.kill("n1");
    start(&mut site)?;
    steps(&mut site, 95)?;
    site.cut_power(1, "n1");
    steps(&mut site, 50)?;
    machine.power_up();
    start(&mut site)?;
    steps(&mut site, 45)?;
    // A fuse, at the write of the third count from now.
    machine.disk().light_fuse(5);
    steps(&mut site, 100)?;
    assert!(machine.disk().is_dark());
    site.cut_power(2, "n1");
    machine.power_up();
    start(&mut site)?;
    steps(&mut site, 5)?;
    let seen = seen.borrow();
    assert_eq!(seen[..3], [0, 10, 20]);
    assert!((27..=28).contains(&seen[3]), "{seen:?}");
    Ok(())
}

#[test]
fn clocks_of_a_machine_follow_the_simulation() -> Outcome {
    let (mut site, machines) = site(&["n1"]);
    let (slow, machine) = (machines[0].clocks().raw_ppb(), machines[0].clone());
    let looks = async move {
        let world = machine.world();
        let (start_ns, boot) = (world.clock.raw_ns(), world.clock.boot_id());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let off_ns = world.clock.raw_ns() - start_ns - 10_000_000_000;
        assert!((off_ns - slow * 10).abs() < 1_000_000, "{off_ns}");
        assert_eq!(world.clock.boot_id(), boot);
        Ok(())
    };
    site.start("n1", well(looks))?;
    run(&mut site, "n1");
    Ok(())
}
