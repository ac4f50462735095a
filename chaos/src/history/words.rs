//! Commands and members in words, for people who read a report.

use std::collections::BTreeMap;

use jam_proto::command::clock_text;
use jam_proto::time::Flicks;
use jam_proto::wire::v1::command::Kind;

use super::Hex;

/// What a command asks for, in a few words.
pub(super) fn command_text(kind: &Kind) -> String {
    let seen = |entry: u64| match entry {
        0 => "nothing was current".to_owned(),
        entry => format!("entry {entry} was heard"),
    };
    let name = command_name(kind);
    match kind {
        Kind::Create(_) | Kind::Clear(_) | Kind::Rename(_) => name.to_owned(),
        Kind::Enqueue(enqueue) => {
            let place = if enqueue.next { "next" } else { "at the end" };
            format!("{name} song {} {place}", Hex(enqueue.track.clone()).short())
        }
        Kind::Remove(remove) => format!("{name} entry {}", remove.entry),
        Kind::Move(moved) if moved.before == 0 => {
            format!("{name} entry {} to the end", moved.entry)
        }
        Kind::Move(moved) => format!("{name} entry {} before entry {}", moved.entry, moved.before),
        Kind::Play(play) => format!("{name} ({})", seen(play.entry)),
        Kind::Pause(pause) => format!("{name} ({})", seen(pause.entry)),
        Kind::Back(back) => format!("{name} ({})", seen(back.entry)),
        Kind::Seek(seek) => {
            format!("{name} to {} of entry {}", clock_text(Flicks(seek.position)), seek.entry)
        }
        Kind::Skip(skip) => format!("{name} entry {}", skip.entry),
    }
}

/// What a command is called.
pub(crate) fn command_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Create(_) => "create the room",
        Kind::Enqueue(_) => "enqueue",
        Kind::Remove(_) => "remove",
        Kind::Move(_) => "move",
        Kind::Clear(_) => "clear the queue",
        Kind::Play(_) => "play",
        Kind::Pause(_) => "pause",
        Kind::Seek(_) => "seek",
        Kind::Skip(_) => "skip",
        Kind::Back(_) => "back",
        Kind::Rename(_) => "rename the room",
    }
}

/// Who votes, as a membership of the log says it.
pub(crate) struct Voting {
    /// By place: the node that votes for it.
    pub places: BTreeMap<u64, u64>,
    /// Sets of voters: two while the members change.
    pub sets: usize,
}

impl Voting {
    /// Reads openraft's words for a membership: `{voters:[{1:PeerNode { …, place: 1, … },…}], learners:[…]}`.
    pub fn read(text: &str) -> Option<Self> {
        let (voters, _) = text.strip_prefix("{voters:[")?.split_once("], learners:[")?;
        let digits =
            |text: &str| text.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok();
        let places = voters.match_indices(":PeerNode {").map(|(at, _)| {
            let (before, after) = voters.split_at(at);
            let id = before.rsplit(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()?;
            Some((digits(after.split_once("place: ")?.1)?, id))
        });
        Some(Self {
            places: places.collect::<Option<_>>()?,
            sets: voters.matches("},{").count() + 1,
        })
    }
}

/// A membership in a few words.
pub(super) fn members_text(text: &str) -> String {
    let Some(Voting { places, sets }) = Voting::read(text) else {
        return "members that can't be read".to_owned();
    };
    let voters = places.iter().map(|(place, node)| match place == node {
        true => format!("node {node}"),
        false => format!("node {node} for place {place}"),
    });
    let voters = voters.collect::<Vec<_>>().join(", ");
    let changing = if sets > 1 { ", while the members change" } else { "" };
    format!("the voters are {voters}{changing}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::wire::v1::{MoveEntry, Seek, Skip};

    #[test]
    fn no_command_is_shown_as_rust_shows_it() {
        let told = |kind| command_text(&kind);
        assert_eq!(told(Kind::Skip(Skip { entry: 7 })), "skip entry 7");
        assert_eq!(told(Kind::Move(MoveEntry { entry: 7, before: 0 })), "move entry 7 to the end");
        let position = Flicks::from_secs(90).0;
        assert_eq!(told(Kind::Seek(Seek { entry: 2, position })), "seek to 1:30.000 of entry 2");
    }

    #[test]
    fn members_are_named_with_their_places() {
        let node = |id: u64, place: u64| {
            format!("{id}:PeerNode {{ addresses: x, place: {place}, incarnation: y }}")
        };
        let text = format!("{{voters:[{{{},{}}}], learners:[]}}", node(1, 1), node(101, 2));
        assert_eq!(members_text(&text), "the voters are node 1, node 101 for place 2");
        assert_eq!(members_text("nonsense"), "members that can't be read");
    }
}
