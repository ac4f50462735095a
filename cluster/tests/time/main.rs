//! Shared time, simulated: three nodes' real clocks and two listeners', over thousands of seeds and in true time that
//! nobody in the site can read.
//!
//! Crystals are up to 100 ppm off and wander; paths are slower one way than the other, with queues of heavy tails and
//! hard times of their own; leaders hand over, die, stand still and are cut off; processes come back with their saved
//! maps. Raft is played by its outcomes only. There are no threads, no sleeping and no tasks: what `cluster/src/time`
//! and `client/src/clock` do in theirs is done here as things happen.
//!
//! A seed that fails is run again alone by `JAM_TIME_SEED=<seed> cargo test -p jam-cluster --test time`.

mod draws;
mod exchange;
mod figures;
mod group;
mod judge;
mod listener;
mod machine;
mod node;
mod path;
mod site;
mod troubles;

use draws::Draws;
use figures::Figures;
use path::Network;
use site::{SECOND, Site};

/// Of each kind of network.
const SEEDS: u64 = 700;
/// Faults that are written out.
const FAULTS_MAX: usize = 20;

fn run(seed: u64, network: Network) -> (Figures, Vec<String>) {
    let mut site = Site::new(seed, network);
    let secs = Draws::new(seed, 99).within(60.0, 120.0) as i64;
    site.runs_until(secs * SECOND);
    (site.judge.figures, site.judge.faults)
}

/// All seeds of a kind of network: what has to hold always does, and what is stated covers what is true.
fn judge(network: Network) {
    let one = std::env::var("JAM_TIME_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = one.map_or(1..=SEEDS, |seed| seed..=seed);
    let mut figures = Figures::default();
    let mut faults = Vec::new();
    for seed in seeds {
        let (of_seed, found) = run(seed, network);
        figures.add(&of_seed);
        faults.extend(found.into_iter().map(|fault| format!("seed {seed} {fault}")));
    }
    eprintln!("{network:?}:\n{figures}");
    let first = &faults[..faults.len().min(FAULTS_MAX)];
    assert!(faults.is_empty(), "{} faults: {first:#?}", faults.len());
    if one.is_none() {
        covers(&figures);
    }
}

fn covers(figures: &Figures) {
    assert!(
        figures.stamps > 100 * SEEDS && figures.restarts > SEEDS / 4 && figures.pauses > SEEDS / 4
    );
    assert!(figures.continued > SEEDS, "few leaders went on with time");
    assert!(figures.adopted > SEEDS / 50, "few leaders went on with another node's time");
    assert!(
        figures.caught > SEEDS / 50 && figures.contradicted > SEEDS / 50,
        "few machines stood still"
    );
    for (name, coverage) in [
        ("followers' filters", &figures.follower_filters),
        ("listeners' filters", &figures.listener_filters),
    ] {
        let within = coverage.in_sigmas(2);
        assert!(within >= 0.95, "{name}: {within} are within two sigmas");
    }
    for (name, coverage) in [
        ("followers' filters", &figures.follower_filters),
        ("listeners' filters", &figures.listener_filters),
        ("nodes' clocks", &figures.nodes),
        ("listeners' clocks", &figures.listeners),
    ] {
        let within = coverage.in_bound();
        assert!(within >= 0.999, "{name}: {within} are within their bounds");
    }
}

#[test]
fn one_room() {
    judge(Network::Near);
}

#[test]
fn one_country() {
    judge(Network::Far);
}

#[test]
fn where_queues_are_long() {
    judge(Network::Wild);
}

#[test]
fn a_seed_means_the_same_history() {
    let (first, again) = (run(7, Network::Wild), run(7, Network::Wild));
    assert_eq!(first, again);
    assert_ne!(first, run(8, Network::Wild));
}
