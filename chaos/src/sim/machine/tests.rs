//! Machines under turmoil.

mod grpc;
mod listener;

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jam_world::Open;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::sim::Pace;

fn sim(seed: u64) -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(crate::sim::time::STEP)
        .simulation_duration(Duration::from_secs(60))
        .build()
}

fn run(time: &Time, sim: &mut turmoil::Sim<'_>) -> turmoil::Result {
    while !time.step(sim)? {}
    Ok(())
}

/// Takes connections, and answers each byte by the next one.
async fn serve(world: World) -> turmoil::Result {
    let listener = world.net.listen(([192, 168, 7, 7], 7400).into()).await?;
    loop {
        let mut stream = listener.accept().await?;
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
fn machines_reach_each_other_by_name_and_by_address() -> turmoil::Result {
    let (time, mut sim) = (Time::new(), sim(1));
    let server = Machine::new(1, "server", &time);
    sim.host("server", move || serve(server.world()));
    let address = format!("{}:7400", sim.lookup("server"));
    let client = Machine::new(1, "client", &time);
    sim.client("client", async move {
        let world = client.world();
        assert_eq!(ask(&world, "server:7400", 1).await?, 2);
        assert_eq!(ask(&world, &address, 5).await?, 6);
        assert!(ask(&world, "nobody:7400", 1).await.is_err());
        assert!(ask(&world, "server:7401", 1).await.is_err());
        client.kill();
        assert!(ask(&world, "server:7400", 1).await.is_err(), "this life has ended");
        Ok(())
    });
    run(&time, &mut sim)
}

#[test]
fn work_waits_for_the_disk_and_is_done_even_if_nobody_waits() -> turmoil::Result {
    let (time, mut sim) = (Time::new(), sim(1));
    let machine = Machine::new(1, "n1", &time);
    machine.disk().set_pace(Pace { mean_us: 20_000, stall_one_in: 0, stall_ms_max: 0 });
    sim.client("n1", async move {
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

        machine.suspend();
        let waking = machine.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            waking.wake();
        });
        let start = tokio::time::Instant::now();
        world.blocking(|| ()).await?;
        assert!(start.elapsed() >= Duration::from_secs(3), "the disk slept");
        Ok(())
    });
    run(&time, &mut sim)
}

#[test]
fn turns_are_paced_woken_and_end() -> turmoil::Result {
    let (time, mut sim) = (Time::new(), sim(1));
    let machine = Machine::new(1, "n1", &time);
    sim.client("n1", async move {
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
        machine.suspend();
        seldom.wake();
        rest().await;
        assert_eq!(taken.load(Ordering::Relaxed), 0, "the machine sleeps");
        machine.wake();
        rest().await;
        assert_eq!(taken.swap(0, Ordering::Relaxed), 1);

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
    });
    run(&time, &mut sim)
}

/// Counts on in a file every 10 ms, each count synced.
async fn count(world: World, seen: Rc<RefCell<Vec<u8>>>) -> turmoil::Result {
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
fn a_process_finds_after_a_crash_what_it_had_synced() -> turmoil::Result {
    let (time, mut sim) = (Time::new(), sim(1));
    let machine = Machine::new(1, "n1", &time);
    machine.disk().install_folder(Path::new("/data"));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (host, seen_there) = (machine.clone(), seen.clone());
    sim.host("n1", move || count(host.world(), seen_there.clone()));
    let steps = |sim: &mut turmoil::Sim<'_>, count: u32| -> turmoil::Result {
        (0..count).try_for_each(|_| time.step(sim).map(drop))
    };
    steps(&mut sim, 95)?;
    machine.kill();
    sim.crash("n1");
    sim.bounce("n1");
    steps(&mut sim, 95)?;
    machine.cut_power();
    sim.crash("n1");
    steps(&mut sim, 50)?;
    machine.power_up();
    sim.bounce("n1");
    steps(&mut sim, 45)?;
    // A fuse, at the write of the third count from now.
    machine.disk().light_fuse(5);
    steps(&mut sim, 100)?;
    assert!(machine.disk().is_dark());
    machine.cut_power();
    machine.power_up();
    sim.bounce("n1");
    steps(&mut sim, 5)?;
    let seen = seen.borrow();
    assert_eq!(seen[..3], [0, 10, 20]);
    assert!((27..=28).contains(&seen[3]), "{seen:?}");
    Ok(())
}

#[test]
fn clocks_of_a_host_follow_the_simulation() -> turmoil::Result {
    let (time, mut sim) = (Time::new(), sim(1));
    let machine = Machine::new(5, "n1", &time);
    let (slow, host) = (machine.clocks().raw_ppb(), machine.clone());
    sim.client("n1", async move {
        let world = host.world();
        let (start_ns, boot) = (world.clock.raw_ns(), world.clock.boot_id());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let off_ns = world.clock.raw_ns() - start_ns - 10_000_000_000;
        assert!((off_ns - slow * 10).abs() < 1_000_000, "{off_ns}");
        assert_eq!(world.clock.boot_id(), boot);
        Ok(())
    });
    run(&time, &mut sim)
}
