//! Whatever else is done to a disk: what was synced and left alone since survives any power cut.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::seed::Stream;

const FOLDERS: [&str; 3] = ["/data", "/data/one", "/data/two"];

/// What is known of a file that a process works on.
#[derive(Clone, Debug, Default)]
struct Known {
    bytes: Vec<u8>,
    is_data_durable: bool,
    is_name_durable: bool,
}

/// A dumb model: only what must be there, nothing of what may be.
#[derive(Debug, Default)]
struct Model(BTreeMap<PathBuf, Known>);

impl Model {
    fn step(&mut self, world: &World, draws: &mut Stream) -> io::Result<()> {
        let path = |draws: &mut Stream| {
            PathBuf::from(FOLDERS[draws.below(3) as usize]).join(draws.below(3).to_string())
        };
        let (one, other) = (path(draws), path(draws));
        match draws.below(10) {
            0..4 => {
                let bytes = vec![draws.draw() as u8; draws.below(2000) as usize];
                let at = draws.below(1500) as usize;
                world.disk.open(&one, Open::Make)?.write_at(&bytes, at as u64)?;
                let known = self.0.entry(one).or_default();
                if !bytes.is_empty() {
                    known.bytes.resize(known.bytes.len().max(at + bytes.len()), 0);
                    known.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
                    known.is_data_durable = false;
                }
            }
            4 | 5 => {
                if let Some(known) = self.0.get_mut(&one) {
                    world.disk.open(&one, Open::Change)?.sync_data()?;
                    known.is_data_durable = true;
                }
            }
            6 => {
                if one != other
                    && let Some(known) = self.0.remove(&one)
                {
                    world.disk.rename(&one, &other)?;
                    self.0.insert(other, Known { is_name_durable: false, ..known });
                }
            }
            7 => {
                if self.0.remove(&one).is_some() {
                    world.disk.remove(&one)?;
                }
            }
            _ => {
                let folder = Path::new(FOLDERS[draws.below(3) as usize]);
                world.disk.sync_folder(folder)?;
                let within = self.0.iter_mut().filter(|(path, _)| path.parent() == Some(folder));
                within.for_each(|(_, known)| known.is_name_durable = true);
            }
        }
        Ok(())
    }
}

#[test]
fn what_was_synced_and_left_alone_survives() -> io::Result<()> {
    let (mut sure, mut lost) = (0, 0);
    for seed in 0..SEEDS * 5 {
        let machine = machine(seed);
        FOLDERS.iter().for_each(|folder| machine.disk().install_folder(Path::new(folder)));
        let world = machine.world();
        let (mut draws, mut model) = (Stream::new(seed, "script"), Model::default());
        for _ in 0..draws.below(80) {
            model.step(&world, &mut draws)?;
            for (path, known) in &model.0 {
                assert_eq!(world.disk.read(path)?, known.bytes, "seed {seed}");
            }
        }
        let world = restart(&machine);
        for (path, known) in &model.0 {
            let found = world.disk.read(path).ok();
            if known.is_data_durable && known.is_name_durable {
                assert_eq!(found.as_ref(), Some(&known.bytes), "seed {seed}, {}", path.display());
                sure += 1;
            }
            lost += u64::from(found.as_ref() != Some(&known.bytes));
        }
        // What a power cut left is durable: a second one takes nothing.
        let left = |world: &World| -> Vec<_> {
            let paths = machine.disk().files(Path::new("/"));
            paths.into_iter().map(|path| (world.disk.read(&path).ok(), path)).collect()
        };
        let first = left(&world);
        assert_eq!(left(&restart(&machine)), first);
    }
    assert!(sure > 300 && lost > 300, "{sure} sure, {lost} lost");
    Ok(())
}
