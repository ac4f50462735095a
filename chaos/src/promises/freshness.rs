//! A listener with live time is never far behind: what was committed when the leader told it the time, it knows soon after, if
//! need be from another node than the one that it followed.
//!
//! Time is live while the leader answers. So that leader can be reached, and whoever is behind all the same follows a node that is
//! cut off or late, and should have left it. Nothing is asked of a listener whose time is not live, that stood still, or that
//! does not know its room yet.

use std::collections::BTreeMap;

use super::replay::Replay;
use super::sound::millis;
use super::verdict::{Findings, Verdict};
use crate::history::{History, ListenerSample, What};

/// What listeners are held to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long ago the leader may have been heard for time to be live, ns. As on the live line.
    pub live_ns: i64,
    /// From when the leader answered after a commit, until the listener knows what was committed, ns.
    pub behind_ns: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        // Until a node counts as late 2 s; until the next look 0.5 s; jitter 1 s; nodes that do not answer before the one that does
        // 1.5 s; an answer that came before the leader knew of the commit 1 s; a leader that may be gone while its time is live still 3 s.
        // The rest is margin: round trips, and another leader in the middle of it.
        Self { live_ns: 3_000_000_000, behind_ns: 12_000_000_000 }
    }
}

/// A listener that is not heard of for so long stood still.
const SILENT_NS: i64 = 250_000_000;

/// Whether listeners told how live their time is.
pub fn is_told(history: &History) -> bool {
    let tells = |what: &What| matches!(what, What::Listens(said) if said.unheard_ns.is_some());
    history.records.iter().any(|record| tells(&record.what))
}

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>, bounds: &Bounds) -> Verdict {
    let mut found = Findings::default();
    let mut listeners: BTreeMap<(&str, u32), Listener<'_>> = BTreeMap::new();
    let stalls = history.records.iter().filter_map(|record| match record.what {
        What::Stalled { from_ns, until_ns } => Some((from_ns, until_ns)),
        _ => None,
    });
    let stalls: Vec<(i64, i64)> = stalls.collect();
    for (record, one) in history.records.iter().enumerate() {
        let What::Listens(said) = &one.what else { continue };
        let known = listeners.entry((said.listener.as_str(), said.life));
        let listener = known.or_insert_with(|| Listener { said, live: None, told: false });
        listener.hears(said, &stalls, bounds);
        found.judged();
        let missed = listener.missed(said, history, replay);
        let missed = missed.filter(|missed| missed.for_ns > bounds.behind_ns);
        let told = std::mem::replace(&mut listener.told, missed.is_some());
        if let Some(missed) = missed.filter(|_| !told) {
            found.broken(missed.text(said, bounds), [missed.committed, record]);
        }
    }
    if let Some(why) = replay.open() {
        found.open(why);
    }
    found.verdict("nobody listened")
}

struct Listener<'a> {
    /// What it said last.
    said: &'a ListenerSample,
    /// Since when its time is live without a break.
    live: Option<Live>,
    /// That it is behind was told, and it still is.
    told: bool,
}

struct Live {
    since_ns: i64,
    /// When a leader was heard, each time; in order.
    heard_ns: Vec<i64>,
}

/// An event that a listener lacks.
struct Missed {
    revision: u64,
    /// The record of the commit.
    committed: usize,
    /// For so long it should have known, ns.
    for_ns: i64,
}

impl<'a> Listener<'a> {
    fn hears(&mut self, said: &'a ListenerSample, stalls: &[(i64, i64)], bounds: &Bounds) {
        let (before_ns, now_ns) = (self.said.at_ns, said.at_ns);
        let stalled =
            stalls.iter().any(|(from_ns, until_ns)| *from_ns <= now_ns && before_ns <= *until_ns);
        let stood_still = now_ns - before_ns > SILENT_NS || stalled;
        let live_ns = said.unheard_ns.filter(|unheard_ns| *unheard_ns <= bounds.live_ns);
        let is_live = live_ns.filter(|_| said.revision > 0);
        self.said = said;
        let Some(unheard_ns) = is_live else {
            self.live = None;
            return;
        };
        if stood_still {
            self.live = None;
        }
        let live = Live { since_ns: said.at_ns, heard_ns: Vec::new() };
        let live = self.live.get_or_insert(live);
        let heard_ns = said.at_ns - unheard_ns;
        if live.heard_ns.last().is_none_or(|last| *last < heard_ns) {
            live.heard_ns.push(heard_ns);
        }
    }

    /// The first event that it lacks, if a leader was heard since that was committed.
    fn missed(
        &self,
        said: &ListenerSample,
        history: &History,
        replay: &Replay<'_>,
    ) -> Option<Missed> {
        let live = self.live.as_ref()?;
        let revision = said.revision + 1;
        let (_, step) = replay.room(&said.room)?.events.get(&revision)?;
        let committed = replay.steps().get(*step)?.record;
        let committed_ns = history.records[committed].at_ns;
        let since = live.heard_ns.partition_point(|heard_ns| *heard_ns < committed_ns);
        let heard_ns = *live.heard_ns.get(since)?;
        let for_ns = said.at_ns - heard_ns.max(live.since_ns);
        Some(Missed { revision, committed, for_ns })
    }
}

impl Missed {
    fn text(&self, said: &ListenerSample, bounds: &Bounds) -> String {
        format!(
            "listener {} (life {}) has live time and does not know event {} of {} {} after the leader could have named it; {} is \
             the limit",
            said.listener,
            said.life,
            self.revision,
            said.room,
            millis(self.for_ns),
            millis(bounds.behind_ns)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{MS, ROOM, Story};
    use super::*;
    use crate::history::Record;

    /// Somebody edits each second, and a listener knows everything at once; its time is live.
    fn story() -> Story {
        let mut story = Story::begin();
        for second in 0..40 {
            story.enqueue("ann");
            let revision = second + 2;
            for _ in 0..10 {
                story.wait_ms(100);
                say(&mut story, revision, 400 * MS);
            }
        }
        story
    }

    fn say(story: &mut Story, revision: u64, unheard_ns: i64) {
        let said = ListenerSample {
            listener: "l1".to_owned(),
            life: 1,
            at_ns: story.now_ns,
            room: ROOM.to_owned(),
            revision,
            epoch: 1,
            term: 1,
            shared: Some(story.shared()),
            bound_ns: 300_000,
            unheard_ns: Some(unheard_ns),
            state: "playing".to_owned(),
            song_here: true,
        };
        story.now(What::Listens(said));
    }

    fn verdict(story: &Story) -> Verdict {
        judge(&story.history, &Replay::of(&story.history), &Bounds::default())
    }

    /// Changes what the listener said between two true times.
    fn spoil(story: &mut Story, secs: std::ops::Range<i64>, spoil: impl Fn(&mut ListenerSample)) {
        for record in &mut story.history.records {
            if let What::Listens(said) = &mut record.what
                && (secs.start * 1000 * MS..secs.end * 1000 * MS).contains(&said.at_ns)
            {
                spoil(said);
            }
        }
    }

    #[test]
    fn whoever_knows_everything_holds() {
        let story = story();
        assert!(is_told(&story.history));
        verdict(&story).assert_held();
    }

    #[test]
    fn a_listener_that_follows_a_node_that_is_cut_off() {
        let mut story = story();
        spoil(&mut story, 10..22, |said| said.revision = said.revision.min(11));
        assert!(verdict(&story).is_held(), "for as long as it takes to leave");
        spoil(&mut story, 22..30, |said| said.revision = said.revision.min(11));
        verdict(&story)
            .assert_broken("listener l1 (life 1) has live time and does not know event 12");
        let Verdict::Violated(findings) = verdict(&story) else { panic!("it is broken") };
        assert_eq!(findings.len(), 1, "once");
    }

    #[test]
    fn a_listener_that_is_always_late() {
        let mut story = story();
        spoil(&mut story, 0..40, |said| said.revision = said.revision.saturating_sub(15).max(1));
        verdict(&story).assert_broken("does not know event");
    }

    #[test]
    fn nothing_is_asked_of_who_hears_no_leader_or_stood_still() {
        let mut story = story();
        spoil(&mut story, 10..40, |said| said.revision = said.revision.min(11));
        let mut cut_off = story.clone();
        spoil(&mut cut_off, 10..40, |said| said.unheard_ns = Some(said.at_ns - 10_000 * MS));
        verdict(&cut_off).assert_held();
        let mut stalled = story.clone();
        for at_secs in [20, 30] {
            let at =
                stalled.history.records.iter().position(|one| one.at_ns >= at_secs * 1000 * MS);
            let at_ns = at_secs * 1000 * MS;
            let what = What::Stalled { from_ns: at_ns - 500 * MS, until_ns: at_ns };
            stalled.history.records.insert(at.expect("it is longer"), Record { at_ns, what });
        }
        verdict(&stalled).assert_held();
        story.history.records.retain(|record| {
            !matches!(&record.what, What::Listens(said) if said.at_ns % (10_000 * MS) < 400 * MS)
        });
        assert!(verdict(&story).is_held(), "it stood still every ten seconds");
    }

    #[test]
    fn nobody_listened() {
        let story = Story::begin();
        assert!(!is_told(&story.history));
        verdict(&story).assert_open("nobody listened");
    }
}
