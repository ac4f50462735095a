//! The same seed gives the same history, byte for byte, in two processes.
//!
//! Without arguments: runs seeds in processes of their own, twice each, and compares. `--one SEED`: runs one.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, exit};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use jam_chaos::seed::Stream;
use jam_chaos::sim::{Machine, Pace, Site, Time, entropy};
use jam_world::{Open, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SEEDS: std::ops::Range<u64> = 1..6;
const SIMULATED: Duration = Duration::from_secs(20);
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--one", seed] => one(seed.parse().map_err(io::Error::other)?).map_err(io::Error::other),
        ["--thread"] => {
            other_thread();
            Ok(())
        }
        ["--early"] => {
            early();
            Ok(())
        }
        // Whatever else a test runner says.
        _ => all(),
    }
}

fn all() -> io::Result<()> {
    let mut histories = Vec::new();
    for seed in SEEDS {
        let (one, other) =
            (child(&["--one", &seed.to_string()])?, child(&["--one", &seed.to_string()])?);
        assert!(one.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&one.stderr));
        let (one, other) =
            (String::from_utf8_lossy(&one.stdout), String::from_utf8_lossy(&other.stdout));
        for (number, (one, other)) in one.lines().zip(other.lines()).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {number}");
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
        assert!(one.lines().count() > 500, "{one}");
        println!("seed {seed}: {} lines, twice the same", one.lines().count());
        histories.push(one.into_owned());
    }
    histories.dedup();
    assert_eq!(histories.len() as u64, SEEDS.end - SEEDS.start, "seeds differ");

    let thread = child(&["--thread"])?;
    let said = String::from_utf8_lossy(&thread.stderr);
    assert!(!thread.status.success() && said.contains("another thread drew"), "{said}");
    println!("a thread that draws ends the process");
    let early = child(&["--early"])?;
    let said = String::from_utf8_lossy(&early.stderr);
    assert!(!early.status.success() && said.contains("before the simulation began"), "{said}");
    println!("so does a draw before the simulation began");
    Ok(())
}

fn child(arguments: &[&str]) -> io::Result<Output> {
    Command::new(std::env::current_exe()?).args(arguments).output()
}

fn other_thread() {
    entropy::begin(1);
    let drawn = std::thread::spawn(|| RandomState::new().hash_one(1)).join();
    println!("{drawn:?}");
}

fn early() {
    println!("{}", RandomState::new().hash_one(1));
    entropy::begin(1);
}

type Log = Rc<RefCell<io::StdoutLock<'static>>>;

fn one(seed: u64) -> anyhow::Result<()> {
    entropy::begin(seed);
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        exit(101);
    }));
    let time = Time::new();
    let log: Log = Rc::new(RefCell::new(io::stdout().lock()));
    let mut site = Site::new(seed, (1, 20), &time);
    let machines = NAMES.map(|name| Machine::new(seed, name, &time));
    let start = |site: &mut Site, machine: &Machine| {
        let (name, world, log) = (machine.name().to_owned(), machine.world(), log.clone());
        let work = async move {
            if let Err(error) = process(&name, world, log.clone()).await {
                drop(writeln!(log.borrow_mut(), "{name}: {error}"));
            }
        };
        site.start(machine.name(), work)
    };
    for machine in &machines {
        machine.disk().install_folder(Path::new("/data"));
        machine.disk().set_pace(Pace { mean_us: 800, stall_one_in: 50, stall_ms_max: 90 });
        site.add(machine);
        start(&mut site, machine)?;
    }
    let mut director = Stream::new(seed, "director");
    let mut stopped: Option<u64> = None;
    while site.elapsed() < SIMULATED {
        site.step()?;
        let now_ms = site.elapsed().as_millis() as u64;
        let machine = &machines[director.below(3) as usize];
        if machine.disk().is_dark() || director.one_in(1000) {
            site.cut_power(now_ms, machine.name());
            machine.power_up();
            site.heal(now_ms);
            start(&mut site, machine)?;
            let (name, tally) = (machine.name(), machine.disk().tally());
            writeln!(log.borrow_mut(), "{now_ms} power cut {name}: {tally}")?;
        } else if director.one_in(1000) {
            site.kill(machine.name());
            start(&mut site, machine)?;
            writeln!(log.borrow_mut(), "{now_ms} kill {}", machine.name())?;
        } else if director.one_in(1000) {
            machine.disk().light_fuse(1 + director.below(50));
        } else if director.one_in(500) {
            match stopped.take() {
                Some(fault) => site.heal(fault),
                None if director.one_in(2) => site.suspend(now_ms, machine.name()),
                None => site.stop(now_ms, machine.name()),
            }
            stopped = Some(now_ms);
        }
    }
    // What std draws, as hyper and tokio do.
    let hash = RandomState::new().hash_one("x");
    writeln!(log.borrow_mut(), "{hash} {:?} {:?}", SystemTime::now(), entropy::asked())?;
    Ok(())
}

/// Tells the others its count, and writes down what it heard.
async fn process(name: &str, world: World, log: Log) -> io::Result<()> {
    let listener = world.net.listen(([0, 0, 0, 0], 7400).into()).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let mut count = 0_u8;
    loop {
        // Its order is drawn.
        tokio::select! {
            accepted = listener.accept() => {
                let (mut stream, _) = accepted?;
                let heard = stream.read_u8().await;
                writeln!(log.borrow_mut(), "{name} at {}: heard {heard:?}", world.clock.raw_ns())?;
            }
            _ = tick.tick() => {
                count = count.wrapping_add(1);
                let saved = save(&world, count).await;
                writeln!(log.borrow_mut(), "{name} at {:?}: saved {count}: {saved:?}", world.clock.wall())?;
                let other = NAMES[RandomState::new().hash_one(count) as usize % NAMES.len()];
                let work = world.clone();
                tokio::spawn(async move {
                    let mut stream = work.net.dial(format!("{other}:7400")).await?;
                    stream.write_u8(count).await
                });
            }
        }
    }
}

async fn save(world: &World, count: u8) -> io::Result<Vec<u8>> {
    let disk = world.disk.clone();
    world
        .try_blocking(move || {
            let file = disk.open(Path::new("/data/count"), Open::Make)?;
            file.write_at(&[count; 1500], 100 * u64::from(count % 7))?;
            if count.is_multiple_of(3) {
                file.sync_data()?;
            }
            if count.is_multiple_of(5) {
                disk.sync_folder(Path::new("/data"))?;
            }
            Ok(blake3::hash(&disk.read(Path::new("/data/count"))?).as_bytes()[..4].to_vec())
        })
        .await
}
