//! What the names on a disk stand for: now, and after a power cut.
//!
//! A name is made, moved or removed in the cache, in the order of a journal. Syncing a folder makes the changes of its names
//! durable, and those of others only as far as a move between two folders ties them. The rest is lost from some point on, for
//! each folder: what comes later in a folder never survives what came before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::seed::Stream;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Folder,
    /// By its number.
    File(u64),
    /// A database, by its number.
    Database(u64),
}

type Tree = BTreeMap<PathBuf, Entry>;

/// One change, which happens or doesn't.
#[derive(Clone, Debug)]
struct Change {
    gone: Option<PathBuf>,
    made: Option<(PathBuf, Entry)>,
}

/// All names.
#[derive(Debug)]
pub(super) struct Names {
    now: Tree,
    durable: Tree,
    unsynced: Vec<Change>,
}

impl Names {
    pub(super) fn new() -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Entry::Folder)]);
        Self { now: root.clone(), durable: root, unsynced: Vec::new() }
    }

    pub(super) fn find(&self, path: &Path) -> Option<Entry> {
        self.now.get(&clean(path)).copied()
    }

    /// What is in a folder, by name.
    pub(super) fn list(&self, folder: &Path) -> Vec<(PathBuf, Entry)> {
        let folder = clean(folder);
        let within = self.now.range(folder.clone()..).skip(1);
        let within = within.take_while(|(path, _)| path.starts_with(&folder));
        let own = within.filter(|(path, _)| path.parent() == Some(&folder));
        own.map(|(path, entry)| (path.clone(), *entry)).collect()
    }

    /// Whether a name may be made there.
    pub(super) fn has_folder_for(&self, path: &Path) -> bool {
        clean(path).parent().is_some_and(|folder| self.now.get(folder) == Some(&Entry::Folder))
    }

    pub(super) fn make(&mut self, path: &Path, entry: Entry) {
        self.change(Change { gone: None, made: Some((clean(path), entry)) });
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.change(Change { gone: Some(clean(path)), made: None });
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, entry: Entry) {
        self.change(Change { gone: Some(clean(from)), made: Some((clean(to), entry)) });
    }

    /// Makes a folder and those above it; false if a file is in the way.
    pub(super) fn make_folders(&mut self, folder: &Path) -> bool {
        let folder = clean(folder);
        let mut missing: Vec<&Path> = Vec::new();
        for above in folder.ancestors() {
            match self.now.get(above) {
                None => missing.push(above),
                Some(Entry::Folder) => break,
                Some(_) => return false,
            }
        }
        for folder in missing.into_iter().rev() {
            self.make(folder, Entry::Folder);
        }
        true
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync(&mut self, folder: &Path) {
        // Backwards: a move out of or into a folder takes with it what was done there before.
        let mut folders = BTreeSet::from([clean(folder)]);
        let mut tied = Vec::new();
        for change in self.unsynced.iter().rev() {
            let is_tied = change.folders().any(|folder| folders.contains(folder));
            if is_tied {
                folders.extend(change.folders().map(Path::to_owned));
            }
            tied.push(is_tied);
        }
        let durable = &mut self.durable;
        self.unsynced.retain(|change| {
            let is_tied = tied.pop().unwrap_or(false);
            if is_tied {
                change.apply(durable);
            }
            !is_tied
        });
    }

    /// Leaves what is durable and, in each folder, what else was done up to some point. Says how many changes were lost.
    pub(super) fn cut_power(&mut self, draws: &mut Stream) -> u64 {
        let mut lossy = BTreeSet::new();
        let mut lost = 0;
        // All, none, or from some point on.
        let one_in = [1, u64::MAX, 2, 6][draws.below(4) as usize];
        for change in self.unsynced.drain(..) {
            if change.folders().any(|folder| lossy.contains(folder)) || draws.one_in(one_in) {
                lossy.extend(change.folders().map(Path::to_owned));
                lost += 1;
            } else {
                change.apply(&mut self.durable);
            }
        }
        // What is in a folder whose name was lost can't be reached. Folders come before what they hold.
        let mut left = Tree::new();
        for (path, entry) in std::mem::take(&mut self.durable) {
            let above = path.parent();
            if above.is_none_or(|above| left.get(above) == Some(&Entry::Folder)) {
                left.insert(path, entry);
            } else {
                lost += 1;
            }
        }
        self.durable = left;
        self.now.clone_from(&self.durable);
        lost
    }

    /// All that a name stands for, or stood for and will again if a change is lost.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let made = self.unsynced.iter().filter_map(|change| change.made.as_ref());
        let named = self.now.values().chain(self.durable.values());
        named.copied().chain(made.map(|(_, entry)| *entry))
    }

    /// What names stand for now.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Path, Entry)> {
        self.now.iter().map(|(path, entry)| (path.as_path(), *entry))
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }
}

impl Change {
    fn apply(&self, tree: &mut Tree) {
        if let Some(gone) = &self.gone {
            tree.remove(gone);
        }
        if let Some((path, entry)) = &self.made {
            tree.insert(path.clone(), *entry);
        }
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        let made = self.made.as_ref().map(|(path, _)| path);
        self.gone.iter().chain(made).filter_map(|path| path.parent())
    }
}

/// A path from the root, without detours. Relative ones begin there too.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}
