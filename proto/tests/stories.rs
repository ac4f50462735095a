//! Rooms as stories: each file in `stories/` is a script with what it printed.
//!
//! A line that is not indented is a step (`#`: a comment); the indented lines under it are what it
//! printed. `UPDATE_EXPECT=1 cargo test -p jam-proto --test stories` rewrites them: read the
//! difference before you commit it. After every step a client that only folds events, and a node that
//! comes from a snapshot, must equal the node of the story.
//!
//! Steps, times being seconds of shared time:
//!
//! | step | does |
//! | --- | --- |
//! | `track TITLE M:SS[.mmm]\|FRAMESf RATE [ALBUM [LUFS DBTP]]` · `forget TITLE [SECONDS]` | commits a track, or forgets it if nobody needed it since then |
//! | `lead SECONDS` | how far ahead commands are announced from here on; 0.4 at first |
//! | `term N` | the leader's term from here on; 0 at first |
//! | `in ROOM` | the room that is meant from here on; `kitchen` at first |
//! | `TIME USER open [from PLACE]` | opens the user's session, for a client at an address that PLACE stands for |
//! | `TIME USER COMMAND…` | a command with the session's next number: `create NAME`, `enqueue TITLE [next]`, `remove N`, `move N before N`, `move N last`, `clear`, `play N`, `pause N`, `seek N M:SS`, `skip N`, `back N`, `rename NAME`; N `-`: none |
//! | `TIME USER again` · `TIME USER numbered K COMMAND…` | the last command once more · a command with a number of its own |
//! | `TIME raise LEVEL` | the leader raises the feature level |
//! | `TIME epoch N floor SECONDS [term N]` · `TIME unheard REVISION` · `TIME replace PLACE [HOLDER]` · `TIME lost TITLE` | what the leader proposes |
//! | `sounds TIME` · `queue TIME` · `gains TIME` · `next TIME` · `history` · `who` · `name` | what anybody can ask of a room |
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // it reads files; a wrong script may panic

mod world;

use std::path::PathBuf;

use expect_test::expect_file;
use world::World;

fn tell(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stories").join(name);
    let script = std::fs::read_to_string(&path).unwrap();
    let mut world = World::default();
    let mut told = String::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        told.push_str(line);
        told.push('\n');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        for printed in world.step(line) {
            told.push_str(&format!("  {printed}\n"));
        }
        world.check(line);
    }
    expect_file![path].assert_eq(&told);
}

macro_rules! stories {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            tell(concat!(stringify!($name), ".txt"));
        })*

        #[test]
        fn every_story_is_told() {
            let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stories"))
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let mut told = vec![$(concat!(stringify!($name), ".txt")),*];
            told.sort();
            assert_eq!(files, told);
        }
    };
}

stories! {
    life_of_a_queue
    albums_and_gains
    two_who_skip_at_once
    skips_of_far_listeners
    across_a_songs_end
    retries
    pause_seek_play
    ends_by_time_alone
    forgetting
    editing_the_queue
    back
    announced_and_late
    a_new_epoch
    a_clock_far_ahead
    odd_rates_for_days
    nobody_listens
    refusals
    another_name
    tracks_and_nodes
    sessions_and_origins
    lost_songs
    lost_replacements
    forged_epochs
    the_last_epoch
    bounds
}
