//! One run of a schedule: starts everything, breaks it, writes down what happened.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::attackers::Attacked;
use super::fetch::{fetch_all, kept};
use super::gather;
use super::machine::journal::{Journal, folder};
use super::schedule::{Due, Schedule};
use super::stage::{Since, Stage, populate};
use crate::book::{Book, TrueTime};
use crate::cluster::monotonic_ns;
use crate::history::{Answer, History, Phase, What};
use crate::promises::report::{self, Report, report};
use crate::witness::Witness;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two lines about how it goes.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// For all nodes to elect a first leader.
const FORM_PATIENCE: Duration = Duration::from_secs(60);
/// Nodes that stand still for so long sum their state up.
const STILL: Duration = Duration::from_millis(1500);

/// What came of a run, before it is judged.
pub struct Ran {
    /// All that happened.
    pub history: History,
    /// What those who listened in processes of their own heard, by their recordings.
    pub heard: Option<Report>,
    /// Attacks that there were.
    pub attacked: Vec<Attacked>,
    /// The machine had no time to give so often.
    pub stalls: usize,
}

/// Runs a schedule in a folder, which holds all that it leaves; says how it goes with `tell`. Stops early, with what it has,
/// when `stop` is true.
///
/// # Errors
/// If the runner itself fails: something can't be started, a fault can't be made.
pub async fn run(
    schedule: &Schedule,
    dir: &Path,
    tell: &mut (dyn FnMut(String) + Send),
) -> anyhow::Result<Ran> {
    let journal = Journal::begin(&folder()?)?;
    // The first instant of all times.
    let since = Since { begun_ns: monotonic_ns() };
    let book = Book::new(std::sync::Arc::new(since));
    let witness = Witness::start();
    let mut stage = populate(schedule, dir, &book, since, &journal).await?;
    tell(format!(
        "{} nodes, {} clients, {} + {} listeners start",
        schedule.scenario.cluster.nodes,
        schedule.scenario.load.clients,
        schedule.scenario.load.listeners,
        schedule.scenario.load.gallery
    ));
    book.note(What::Phase(Phase::Safety));
    let formed = stage.director.standing.wait_for(|standing| standing.leader.is_some());
    timeout(FORM_PATIENCE, formed)
        .await
        .context("the nodes elected no leader; see their logs")?
        .context("nobody looks at the nodes")?;
    stage.director.joiners.iter_mut().try_for_each(super::joiner::Joiner::join)?;
    play(schedule, &mut stage, &since, tell).await?;
    finish(schedule, dir, stage, book, since, witness).await
}

/// Everything that is due, in time.
async fn play(
    schedule: &Schedule,
    stage: &mut Stage,
    since: &Since,
    tell: &mut (dyn FnMut(String) + Send),
) -> anyhow::Result<()> {
    let director = &mut stage.director;
    let mut due = schedule.due().into_iter().peekable();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Instant::now();
    loop {
        ticks.tick().await;
        let now_ms = (since.now_ns() / 1_000_000) as u64;
        let at = |ms: u64| format!("{:6.1} s  ", ms as f64 / 1e3);
        for said in director.look()? {
            tell(at(now_ms) + &said);
        }
        while let Some((_, what)) = due.next_if(|(at_ms, _)| *at_ms <= now_ms) {
            match what {
                Due::Begin(number) => {
                    let fault = &schedule.faults[number];
                    director.begin(number, fault).await?;
                    let leader = director.standing.borrow().leader;
                    let leader = leader.map_or("nobody".to_owned(), |place| format!("n{place}"));
                    tell(at(now_ms) + &format!("{}; {leader} led", fault.what));
                }
                Due::Heal(number) => director.heal(number, &schedule.faults[number]).await?,
                Due::Liveness => {
                    director.book.note(What::Phase(Phase::Liveness));
                    tell(at(now_ms) + "all but one node is healed: things must happen");
                }
                Due::Healed => {
                    director.book.note(What::Phase(Phase::Healed));
                    tell(at(now_ms) + "nothing is broken any more: all must come together");
                }
            }
        }
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            tell(at(now_ms) + &director.book.look(sum_up));
        }
        if now_ms >= schedule.for_ms {
            return Ok(());
        }
    }
}

/// How it goes, in a line.
fn sum_up(history: &History) -> String {
    let count = |is: fn(&Answer) -> bool| {
        let answers = history.records.iter().filter_map(|record| match &record.what {
            What::Answered { answer, .. } => Some(answer),
            _ => None,
        });
        answers.filter(|answer| is(answer)).count()
    };
    let answered = count(|answer| !matches!(answer, Answer::Unknown | Answer::Refused { .. }));
    let refused = count(|answer| matches!(answer, Answer::Refused { .. }));
    let unknown = count(|answer| matches!(answer, Answer::Unknown));
    format!("{answered} requests answered, {refused} refused, {unknown} with an unknown outcome")
}

/// Fetches songs, ends everything, and puts together what was written down.
async fn finish(
    schedule: &Schedule,
    dir: &Path,
    mut stage: Stage,
    book: Book,
    since: Since,
    witness: Witness,
) -> anyhow::Result<Ran> {
    stage.director.impostors.end(&book)?;
    let tracks: BTreeSet<Vec<u8>> = book.look(kept);
    let ids = node_ids(&stage);
    let fetches = ids.iter().map(|(place, node)| {
        let address = stage.director.wiring.address(*place);
        let tracks = &tracks;
        async move { fetch_all(*node, &address, tracks).await }
    });
    for fetched in join_all(fetches).await.into_iter().flatten() {
        book.note(fetched);
    }
    tokio::time::sleep(STILL).await;
    let until_ns = monotonic_ns();
    let stalls = witness.stop();
    let mut own = book.take();
    stage.crowd.shutdown().await;
    let Stage { mut director, songs, .. } = stage;
    let parts = tokio::task::block_in_place(|| -> anyhow::Result<_> {
        director.joiners.iter_mut().try_for_each(super::joiner::Joiner::leave)?;
        director.seats.values_mut().try_for_each(super::seat::Seat::stop)?;
        let mut parts = Vec::new();
        for seat in director.seats.values() {
            parts.push(gather::node(seat, since.begun_ns, until_ns)?);
        }
        let logs = gather::logs(director.seats.values(), &director.joiners);
        let end_ns = until_ns - since.begun_ns;
        parts.push(gather::panics(logs, end_ns));
        let mut listeners: Vec<report::Listener> = Vec::new();
        for joiner in &director.joiners {
            for take in joiner.takes() {
                let left = gather::listener(&joiner.name, &take, &songs, since.begun_ns)
                    .with_context(|| format!("what {} left can't be read", joiner.name))?;
                if let Some((history, listener)) = left {
                    parts.push(history);
                    listeners.push(listener);
                }
            }
        }
        Ok((parts, listeners))
    });
    let (mut parts, listeners) = parts?;
    for (from_ns, until_ns) in stalls.spans() {
        let (from_ns, until_ns) = (from_ns - since.begun_ns, until_ns - since.begun_ns);
        own.push(own.end_ns().max(until_ns), What::Stalled { from_ns, until_ns });
    }
    parts.push(own);
    let mut history = History::merge(parts.into_iter().map(gather::tidy));
    // What was heard after the end counts no more.
    let end_ns = until_ns - since.begun_ns;
    history.records.retain(|record| record.at_ns <= end_ns);
    gather::write(&history, &dir.join("history.jsonl"))?;
    schedule.write(&dir.join("schedule.json"))?;
    let heard = (!listeners.is_empty()).then(|| report(&listeners, None));
    let attacked = director.attackers.over().to_vec();
    Ok(Ran { history, heard, attacked, stalls: stalls.count() })
}

/// The node ids that the places have now.
fn node_ids(stage: &Stage) -> Vec<(u64, u64)> {
    let last = |seat: &super::seat::Seat| {
        let (_, path) = seat.records().last()?;
        let text = std::fs::read_to_string(path).ok()?;
        let first: jam_cluster::record::Line = serde_json::from_str(text.lines().next()?).ok()?;
        match first.what {
            jam_cluster::record::What::Begins { node } => Some((seat.place, node)),
            _ => None,
        }
    };
    stage.director.seats.values().filter_map(last).collect()
}
