//! One seed, one history.

use super::*;
use crate::seed::Stream;

/// Does all kinds of things by a seed, and says all that came of it.
fn history(seed: u64) -> String {
    let mut draws = Stream::new(seed, "script");
    let machine = machine(seed);
    let mut world = machine.world();
    let mut said = String::new();
    for _ in 0..300 {
        let step = do_something(&machine, &mut world, &mut draws);
        said.push_str(&match step {
            Ok(()) => ".".to_owned(),
            Err(error) => format!("[{error}]"),
        });
        if machine.disk().is_dark() || draws.one_in(40) {
            world = restart(&machine);
            machine.disk().install_folder(Path::new("/data"));
            for path in machine.disk().files(Path::new("/")) {
                let bytes = world.disk.read(&path).unwrap_or_default();
                said.push_str(&format!("\n{} {}", path.display(), blake3::hash(&bytes).to_hex()));
            }
        }
    }
    format!("{said}\n{}", machine.disk().tally())
}

fn do_something(machine: &Machine, world: &mut World, draws: &mut Stream) -> io::Result<()> {
    let path = |number: u64| std::path::PathBuf::from(format!("/data/{number}"));
    let (one, other) = (path(draws.below(6)), path(draws.below(6)));
    let disk = &world.disk;
    match draws.below(12) {
        0..3 => {
            let bytes = vec![draws.draw() as u8; draws.below(3000) as usize];
            disk.open(&one, Open::Make)?.write_at(&bytes, draws.below(2000))
        }
        3 => disk.open(&one, Open::Anew).map(drop),
        4 => disk.open(&one, Open::Change)?.sync_data(),
        5 => disk.rename(&one, &other),
        6 => disk.remove(&one),
        7 => disk.sync_folder(Path::new("/data")),
        8 => {
            let database = disk.database(Path::new("/data/sled"), 0)?;
            database.apply(vec![(vec![draws.below(9) as u8], Some(vec![draws.draw() as u8; 9]))])
        }
        9 => disk.database(Path::new("/data/sled"), 0)?.sync(),
        10 => {
            machine.disk().light_fuse(1 + draws.below(20));
            Ok(())
        }
        _ => {
            machine.kill();
            *world = machine.world();
            Ok(())
        }
    }
}

#[test]
fn a_seed_means_one_history() {
    let histories: Vec<String> = (0..20).map(history).collect();
    for (seed, first) in (0..20).zip(&histories) {
        assert_eq!(&history(seed), first, "seed {seed}");
    }
    let different: BTreeSet<&String> = histories.iter().collect();
    assert_eq!(different.len(), 20);
}
