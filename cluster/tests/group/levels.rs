//! Nodes of two builds in one cluster: the feature level waits for the older one, which then stops at what it does not
//! know, and one log gives the same state to all who replay it.

use jam_cluster::formation::StartError;
use jam_cluster::raft::handle::Levels;
use jam_cluster::raft::levels::Held;
use jam_cluster::shard::RaiseError;
use jam_proto::level::FeatureLevel;
use jam_proto::shard::Shard;
use jam_proto::wire::log::v1::ShardSnapshot;

use crate::cluster::{Cluster, Options, start_with, wait};

/// Of the release before.
const OLD: Levels = Levels { known: FeatureLevel::FIRST, allowed: FeatureLevel::FIRST };

impl Cluster {
    /// Starts two nodes of this build and the third one with another.
    fn start_mixed(&mut self, levels: Levels) {
        let (peers, data) = (self.peers.clone(), self.data(3));
        let third = std::thread::spawn(move || {
            start_with(Options { levels, ..Options::default() }, 3, peers, &data)
        });
        self.start([1, 2]).expect("they form");
        self.nodes.insert(3, third.join().expect("no panic").expect("it is in the cluster"));
    }

    fn raise(&self, force: bool) -> Result<FeatureLevel, RaiseError> {
        let leader = &self.nodes[&self.leader()];
        leader.block_on(leader.group.raise_level(force))
    }

    fn level(&self, place: u64) -> FeatureLevel {
        self.nodes[&place].group.read(Shard::level)
    }

    fn state(&self, place: u64) -> (u64, ShardSnapshot) {
        let group = &self.nodes[&place].group;
        group.read(|shard| (group.standing().applied, shard.to_wire()))
    }

    fn all_equal(&self) {
        wait("equal states on all nodes", || {
            let states: Vec<_> = self.nodes.keys().map(|&place| self.state(place)).collect();
            states.windows(2).all(|pair| pair[0] == pair[1])
        });
    }
}

#[test]
fn one_log_of_two_levels_gives_one_state_to_a_mixed_trio() {
    let mut cluster = Cluster::new(3);
    cluster.start_mixed(OLD);
    cluster.register(0..10);
    // The old build holds the others back, and so does silence.
    let held = cluster.raise(false).expect_err("an old build is there");
    let below = Held::Below { place: 3, allowed: FeatureLevel::FIRST };
    assert!(matches!(&held, RaiseError::Held(why) if *why == below), "{held}");
    assert!(cluster.raise(true).is_err(), "what answers can't be passed over");
    assert_eq!(cluster.level(1), FeatureLevel::FIRST);
    cluster.kill(3);
    let held = cluster.raise(false).expect_err("nobody knows what runs there");
    assert!(matches!(&held, RaiseError::Held(Held::Silent(places)) if places == &[3]), "{held}");

    // Upgraded, it comes back, and the level rises by itself. Half of the log is old by now.
    cluster.start([3]).expect("it resumes");
    wait("the new level on all nodes", || {
        (1..=3).all(|place| cluster.level(place) == FeatureLevel::CURRENT)
    });
    cluster.register(10..20);
    cluster.all_have(20);
    cluster.all_equal();

    // One replays both halves from its log, one gets them as a snapshot.
    cluster.kill(2);
    cluster.kill(3);
    cluster.start([2]).expect("it replays");
    cluster.register(20..230);
    cluster.start([3]).expect("it is sent a snapshot");
    cluster.all_have(230);
    cluster.all_equal();

    // The old build meets what it does not know, on its disk: it stops with a sentence, and its folder is no loss.
    cluster.kill(3);
    let refusal = cluster.start_with(OLD, [3]).expect_err("it is too old");
    let StartError::Raft(sentence) = &refusal else { panic!("{refusal:?}") };
    assert!(sentence.contains("newer build") && sentence.contains("Nothing is lost"), "{sentence}");
    cluster.start([3]).expect("and with the right build it goes on");
    cluster.register(230..231);
    cluster.all_have(231);
    cluster.all_equal();
}

#[test]
fn a_node_that_was_passed_over_stops_when_the_entry_comes() {
    let mut cluster = Cluster::new(3);
    cluster.start_mixed(OLD);
    cluster.register(0..3);
    cluster.kill(3);
    assert_eq!(cluster.raise(true), Ok(FeatureLevel::CURRENT));
    cluster.register(3..6);
    cluster.start_with(OLD, [3]).expect("what it has on disk, it knows");
    let node = &cluster.nodes[&3];
    let sentence = node.block_on(node.group.failed());
    assert!(sentence.contains("newer build"), "{sentence}");
    assert_eq!(cluster.level(3), FeatureLevel::FIRST);
}
