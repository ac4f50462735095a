//! Who a data folder is: its place, its random incarnation, its cluster and its node id.
//!
//! A node that comes back with an empty folder must never pass for the one that voted and
//! acknowledged before. So a folder gets a random incarnation when it is made, the cluster's
//! membership names it, and whoever calls a node says which folder is meant.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jam_world::{Disk, World, exists, make_lasting_folder};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

const FILE: &str = "identity.json";
const LOCK: &str = "lock";
const RAFT: &str = "raft";
/// Of the whole data folder: whoever changes the format of any file in it raises this number.
const FORMAT: u32 = 1;

/// 128 random bits: a cluster's id, or a folder's incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(pub [u8; 16]);

impl Id {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// From wire bytes; `None` if they are not 16.
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = (text.len() == 32).then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or(format!("'{text}' is no id of 32 hex digits"))
    }
}

/// How far a folder has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It belongs to no cluster yet.
    Empty,
    /// It founds one, which has not begun.
    Forming,
    /// It belongs to one, and its log has not begun.
    Joining,
    /// Its log has begun: it must never be empty again.
    Member,
}

/// What the folder says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub(crate) format: u32,
    /// The `--id` of its jamd.
    pub place: u64,
    /// Which folder this is.
    pub incarnation: Id,
    /// How far it has come.
    pub stage: Stage,
    /// Its cluster, unless the stage is `Empty`.
    pub cluster: Option<Id>,
    /// Its node id, unless the stage is `Empty`. The place's number, or the id that replaced it.
    pub node: Option<u64>,
}

/// The one field that each format has.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

impl Identity {
    /// Of a new, empty folder.
    pub fn fresh(place: u64) -> Self {
        let incarnation = Id::random();
        Self { format: FORMAT, place, incarnation, stage: Stage::Empty, cluster: None, node: None }
    }
}

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error(
        "another jamd is using the data folder {0}; stop that one, or give this one a folder of its own"
    )]
    InUse(PathBuf),
    /// It was made for another place.
    #[error(
        "the data folder {folder} is that of node {theirs}; start jamd with --id {theirs}, or give node {ours} its own"
    )]
    OtherPlace {
        /// The folder.
        folder: PathBuf,
        /// The folder's place.
        theirs: u64,
        /// The one asked for.
        ours: u64,
    },
    /// It holds a log and no word of whose.
    #[error(
        "the data folder {folder} holds a log, but {FILE} is {why}: the disk has lost data. Move the folder away, run \
         `jam --servers … cluster replace {place}` against the other nodes, and start jamd again with an empty folder"
    )]
    Lost {
        /// The folder.
        folder: PathBuf,
        /// The `--id` of this node.
        place: u64,
        /// What is wrong.
        why: String,
    },
    /// A newer build wrote it.
    #[error(
        "the data folder {folder} has format {found}, and this jamd knows formats up to {FORMAT}: a newer build wrote it. \
         Nothing is lost: install the build that the other nodes run, and start it again on this folder"
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The operating system said no.
    #[error("can't use the data folder {folder}: {source}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An open data folder, this process's alone.
pub struct Folder {
    world: World,
    path: PathBuf,
    identity: Mutex<Identity>,
    changes: watch::Sender<Stage>,
    _lock: Box<dyn Send + Sync>,
}

impl Folder {
    /// Opens the data folder of `place`, or makes it. Blocks.
    pub fn open(world: &World, path: &Path, place: u64) -> Result<Self, FolderError> {
        let disk = world.disk.as_ref();
        let io = |source| FolderError::Io { folder: path.to_owned(), source };
        make_lasting_folder(disk, path).map_err(io)?;
        let lock = disk.lock(&path.join(LOCK)).map_err(io)?;
        let lock = lock.ok_or_else(|| FolderError::InUse(path.to_owned()))?;
        let lost = |why: String| FolderError::Lost { folder: path.to_owned(), place, why };
        let identity = match disk.read(&path.join(FILE)) {
            Ok(bytes) => {
                let unreadable = |error| lost(format!("unreadable ({error})"));
                // By itself and first: a newer format may look different in all else.
                let Format { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
                if format > u64::from(FORMAT) {
                    return Err(FolderError::Newer { folder: path.to_owned(), found: format });
                }
                serde_json::from_slice::<Identity>(&bytes).map_err(unreadable)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if exists(disk, &path.join(RAFT)).map_err(io)? {
                    return Err(lost("missing".to_owned()));
                }
                let fresh = Identity::fresh(place);
                save(disk, path, &fresh).map_err(io)?;
                fresh
            }
            Err(error) => return Err(io(error)),
        };
        if identity.place != place {
            return Err(FolderError::OtherPlace {
                folder: path.to_owned(),
                theirs: identity.place,
                ours: place,
            });
        }
        // An earlier start may have written it and failed to sync its name.
        disk.sync_folder(path).map_err(io)?;
        let changes = watch::Sender::new(identity.stage);
        Ok(Self {
            world: world.clone(),
            path: path.to_owned(),
            identity: Mutex::new(identity),
            changes,
            _lock: lock,
        })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the Raft store lives.
    pub fn raft_path(&self) -> PathBuf {
        self.path.join(RAFT)
    }

    /// What it says of itself.
    pub fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Wakes when the stage changes.
    pub fn stage_changes(&self) -> watch::Receiver<Stage> {
        self.changes.subscribe()
    }

    /// As [`Folder::step`], where blocking holds up nothing.
    pub async fn take_step(
        self: &Arc<Self>,
        next: impl FnOnce(&Identity) -> Option<Step> + Send + 'static,
    ) -> Result<Identity, FolderError> {
        let this = self.clone();
        let io = |source| FolderError::Io { folder: self.path.clone(), source };
        self.world.blocking(move || this.step(next)).await.map_err(io)?
    }

    /// Takes a step, if `next` says one from what is true now, and makes it durable. Answers what
    /// is true afterwards. Blocks.
    pub fn step(
        &self,
        next: impl FnOnce(&Identity) -> Option<Step>,
    ) -> Result<Identity, FolderError> {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = next(&identity) {
            let mut stepped = identity.clone();
            match step {
                Step::Into { stage, cluster, node } => {
                    stepped.stage = stage;
                    stepped.cluster = Some(cluster);
                    stepped.node = Some(node);
                }
                Step::Begun => stepped.stage = Stage::Member,
            }
            save(self.world.disk.as_ref(), &self.path, &stepped)
                .map_err(|source| FolderError::Io { folder: self.path.clone(), source })?;
            *identity = stepped;
            self.changes.send_replace(identity.stage);
        }
        Ok(identity.clone())
    }
}

/// A step of a folder's life.
pub enum Step {
    /// From empty into a cluster.
    Into {
        /// As its founder or as one who joins.
        stage: Stage,
        /// Which.
        cluster: Id,
        /// As which node.
        node: u64,
    },
    /// The log has begun.
    Begun,
}

/// Writes the file beside its old self and then over it.
fn save(disk: &dyn Disk, folder: &Path, identity: &Identity) -> io::Result<()> {
    let beside = folder.join("identity.json.new");
    jam_world::write_and_sync(disk, &beside, &serde_json::to_vec_pretty(identity)?)?;
    disk.rename(&beside, &folder.join(FILE))?;
    disk.sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stays_who_it_is() -> Result<(), Box<dyn std::error::Error>> {
        let temporary = tempfile::tempdir()?;
        let path = temporary.path().join("n1");
        let first = Folder::open(&World::real(), &path, 1)?;
        let fresh = first.identity();
        assert_eq!((fresh.stage, fresh.cluster, fresh.node), (Stage::Empty, None, None));
        assert!(matches!(Folder::open(&World::real(), &path, 1), Err(FolderError::InUse(_))));

        let cluster = Id::random();
        first.step(|_| Some(Step::Into { stage: Stage::Joining, cluster, node: 7 }))?;
        first.step(|identity| (identity.stage == Stage::Joining).then_some(Step::Begun))?;
        let stepped = first.identity();
        drop(first);
        assert_eq!(Folder::open(&World::real(), &path, 1)?.identity(), stepped);
        assert_eq!(
            (stepped.stage, stepped.cluster, stepped.node),
            (Stage::Member, Some(cluster), Some(7))
        );
        assert_eq!(stepped.incarnation, fresh.incarnation);
        assert!(matches!(
            Folder::open(&World::real(), &path, 2),
            Err(FolderError::OtherPlace { theirs: 1, .. })
        ));
        Ok(())
    }

    #[test]
    fn a_folder_of_a_newer_build_is_not_called_lost() -> Result<(), Box<dyn std::error::Error>> {
        let temporary = tempfile::tempdir()?;
        drop(Folder::open(&World::real(), temporary.path(), 3)?);
        std::fs::write(temporary.path().join(FILE), r#"{"format": 2, "who": "somebody"}"#)?;
        let refusal = Folder::open(&World::real(), temporary.path(), 3).err().ok_or("refused")?;
        assert!(matches!(refusal, FolderError::Newer { found: 2, .. }), "{refusal}");
        assert!(!refusal.to_string().contains("replace"), "{refusal}");
        Ok(())
    }

    #[test]
    fn a_log_without_an_identity_is_refused_and_names_the_command()
    -> Result<(), Box<dyn std::error::Error>> {
        let temporary = tempfile::tempdir()?;
        drop(Folder::open(&World::real(), temporary.path(), 3)?);
        std::fs::create_dir(temporary.path().join(RAFT))?;
        std::fs::write(temporary.path().join(FILE), "{")?;
        for _ in 0..2 {
            let refusal = Folder::open(&World::real(), temporary.path(), 3)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(refusal.contains("cluster replace 3"), "{refusal}");
            std::fs::remove_file(temporary.path().join(FILE)).ok();
        }
        Ok(())
    }
}
