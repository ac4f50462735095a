//! Which files `add` means, and in which order.
//!
//! Files are taken as they are named. A folder is taken with all that is in it, album by album in the order of
//! their paths, and within an album by disc, track number and file name. What is no song is left out with a note; whether a
//! song is fit to be played is for the node to say.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jam_media::{Refusal, Tags};

use crate::error::Failure;

/// The files to add, in order, and those that were left out.
#[derive(Debug, Default)]
pub struct Plan {
    /// To be added.
    pub files: Vec<PathBuf>,
    /// Found in a folder, but no songs.
    pub skipped: Vec<PathBuf>,
    /// Folders within one that was named.
    pub unread: Vec<Unread>,
}

/// A folder that can't be read.
#[derive(Debug)]
pub struct Unread {
    /// Which.
    pub folder: PathBuf,
    /// Why.
    pub why: String,
}

impl Plan {
    /// Looks at what the command line names.
    pub fn of(named: &[PathBuf]) -> Result<Self, Failure> {
        let mut plan = Self::default();
        for path in named {
            let kind = fs::metadata(path)
                .map_err(|error| Failure::local(format!("can't read {}", path.display()), error))?;
            if kind.is_dir() {
                plan.add_folder(path).map_err(|error| {
                    Failure::local(format!("can't read the folder {}", path.display()), error)
                })?;
            } else if kind.is_file() {
                plan.files.push(path.clone());
            } else {
                return Err(Failure::Usage(format!(
                    "{} is not a plain file; name a song or a folder of songs",
                    path.display()
                )));
            }
        }
        if plan.files.is_empty() {
            return Err(Failure::refused(
                "no_songs",
                "there are no songs in that folder; name another one",
            ));
        }
        Ok(plan)
    }

    fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        let mut found = Vec::new();
        walk(folder, &mut found, &mut self.unread)?;
        let mut songs = Vec::new();
        for path in found {
            match jam_media::tags(&path) {
                Ok(tags) => songs.push((path, tags)),
                Err(Refusal::NotAudio | Refusal::NoAudioTrack | Refusal::EmptyFile) => {
                    self.skipped.push(path)
                }
                // Audio of a kind, with something wrong: the node says what.
                Err(_) => songs.push((path, Tags::default())),
            }
        }
        self.files.extend(in_tag_order(songs));
        Ok(())
    }
}

/// Every plain file below `folder`, by path. Hidden ones are not meant; links to folders could go in circles. A folder
/// within it that can't be read goes to `unread`.
fn walk(folder: &Path, found: &mut Vec<PathBuf>, unread: &mut Vec<Unread>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if let Err(error) = walk(&path, found, unread) {
                unread.push(Unread { folder: path, why: error.to_string() });
            }
        } else if fs::metadata(&path).is_ok_and(|kind| kind.is_file()) {
            found.push(path);
        }
    }
    Ok(())
}

/// `songs` come sorted by path, which decides whatever the tags leave open.
fn in_tag_order(songs: Vec<(PathBuf, Tags)>) -> Vec<PathBuf> {
    let mut albums: BTreeMap<String, usize> = BTreeMap::new();
    let mut keyed: Vec<_> = songs
        .into_iter()
        .map(|(path, tags)| {
            let folder =
                || path.parent().map(|parent| parent.display().to_string()).unwrap_or_default();
            let album = tags.album.clone().unwrap_or_else(folder);
            let next = albums.len();
            let rank = *albums.entry(album).or_insert(next);
            // A disc without a number is the only one; a track without one comes after those that have one.
            let key = (rank, tags.disc_number.unwrap_or(1), tags.track_number.unwrap_or(u32::MAX));
            (key, path)
        })
        .collect();
    keyed.sort();
    keyed.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn song(
        path: &str,
        album: Option<&str>,
        disc: Option<u32>,
        track: Option<u32>,
    ) -> (PathBuf, Tags) {
        let mut tags = Tags::default();
        tags.album = album.map(str::to_owned);
        tags.disc_number = disc;
        tags.track_number = track;
        (path.into(), tags)
    }

    fn ordered(songs: Vec<(PathBuf, Tags)>) -> Vec<String> {
        in_tag_order(songs).into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn disc_then_track_then_name() {
        let songs = vec![
            song("x/a.mp3", Some("A"), Some(2), Some(1)),
            song("x/b.mp3", Some("A"), None, Some(10)),
            song("x/c.mp3", Some("A"), Some(1), Some(9)),
            song("x/d.mp3", Some("A"), Some(1), None),
            song("x/e.mp3", Some("A"), Some(1), None),
        ];
        assert_eq!(ordered(songs), ["x/c.mp3", "x/b.mp3", "x/d.mp3", "x/e.mp3", "x/a.mp3"]);
    }

    #[test]
    fn albums_stay_together_also_across_folders() {
        let songs = vec![
            song("m/cd1/02.mp3", Some("B"), Some(1), Some(2)),
            song("m/cd2/01.mp3", Some("B"), Some(2), Some(1)),
            song("m/other/01.mp3", Some("A"), None, Some(1)),
            song("m/z/01.mp3", Some("B"), Some(1), Some(1)),
            song("untagged/b.mp3", None, None, None),
        ];
        let want =
            ["m/z/01.mp3", "m/cd1/02.mp3", "m/cd2/01.mp3", "m/other/01.mp3", "untagged/b.mp3"];
        assert_eq!(ordered(songs), want);
    }

    #[test]
    fn a_folder_leaves_out_what_is_no_song() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("cover.txt"), "no song").expect("written");
        fs::write(folder.path().join(".hidden"), "no song").expect("written");
        fs::create_dir(folder.path().join("sub")).expect("made");
        fs::write(folder.path().join("sub/silence.wav"), wav(1000)).expect("written");
        let plan = Plan::of(&[folder.path().to_owned()]).expect("readable");
        assert_eq!(plan.files, [folder.path().join("sub/silence.wav")]);
        assert_eq!(plan.skipped, [folder.path().join("cover.txt")]);
        assert!(Plan::of(&[folder.path().join("nowhere")]).is_err());
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let refused = Plan::of(&[socket]).expect_err("no file").to_string();
        assert!(refused.contains("not a plain file"), "{refused}");
    }

    #[test]
    fn a_folder_that_can_t_be_read_is_told_and_the_rest_is_added() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("silence.wav"), wav(1000)).expect("written");
        // So deep that its path is longer than any call takes: root may read all others.
        let (name, mode) = ("d".repeat(60), rustix::fs::Mode::RWXU);
        let mut at = rustix::fd::OwnedFd::from(fs::File::open(folder.path()).expect("a folder"));
        for _ in 0..80 {
            rustix::fs::mkdirat(&at, &name, mode).expect("made");
            let flags = rustix::fs::OFlags::DIRECTORY;
            at = rustix::fs::openat(&at, &name, flags, mode).expect("open");
        }
        let plan = Plan::of(&[folder.path().to_owned()]).expect("readable");
        assert_eq!(plan.files, [folder.path().join("silence.wav")]);
        assert_eq!(plan.unread.len(), 1);
        assert!(!plan.unread[0].why.is_empty());
    }

    fn wav(frames: u32) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut bytes, spec).expect("a cursor takes all");
        for frame in 0..frames {
            writer.write_sample((frame % 100) as i16).expect("a cursor takes all");
        }
        writer.finalize().expect("a cursor takes all");
        bytes.into_inner()
    }
}
