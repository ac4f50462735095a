//! One history before all the judges that read histories.

use std::fmt::Write;

use serde::Serialize;

use super::replay::Replay;
use super::sometimes::Counters;
use super::verdict::Verdict;
use super::{
    acknowledged, agreement, freshness, hearing, impostors, linearizable, order, progress,
    shared_time, songs, standing, streams, voting,
};
use crate::history::History;

/// What the judges need to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// See there.
    pub shared_time: shared_time::Bounds,
    /// See there.
    pub hearing: hearing::Bounds,
    /// See there.
    pub progress: progress::Bounds,
    /// See there.
    pub freshness: freshness::Bounds,
}

/// All that was judged of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// Promise by promise.
    pub promises: Vec<Judgement>,
    /// What the run reached.
    pub counters: Counters,
}

/// One promise and how the run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The promise: the name of its judge's file.
    pub promise: &'static str,
    /// How the run stands.
    pub verdict: Verdict,
}

/// Records shown before and after each one that a finding names.
const AROUND: usize = 4;

/// Asks all judges.
pub fn judge(history: &History, bounds: &Bounds) -> Judged {
    let replay = Replay::of(history);
    let mut promises = vec![
        Judgement { promise: "agreement", verdict: agreement::judge(history, &replay) },
        Judgement { promise: "acknowledged", verdict: acknowledged::judge(history, &replay) },
        Judgement { promise: "order", verdict: order::judge(history, &replay) },
        Judgement { promise: "linearizable", verdict: linearizable::judge(history, &replay) },
        Judgement { promise: "standing", verdict: standing::judge(history) },
        Judgement { promise: "streams", verdict: streams::judge(history, &replay) },
        Judgement {
            promise: "shared_time",
            verdict: shared_time::judge(history, &replay, &bounds.shared_time),
        },
        Judgement {
            promise: "hearing",
            verdict: hearing::judge(history, &replay, &bounds.hearing),
        },
        Judgement {
            promise: "progress",
            verdict: progress::judge(history, &replay, &bounds.progress),
        },
        Judgement {
            promise: "voting",
            verdict: voting::judge(history, bounds.progress.together_ns),
        },
    ];
    if freshness::is_told(history) {
        let verdict = freshness::judge(history, &replay, &bounds.freshness);
        promises.push(Judgement { promise: "freshness", verdict });
    }
    if songs::is_told(history) {
        promises.push(Judgement { promise: "songs", verdict: songs::judge(history) });
    }
    if impostors::is_told(history) {
        promises.push(Judgement { promise: "impostors", verdict: impostors::judge(history) });
    }
    Judged { promises, counters: Counters::of(history, &replay) }
}

impl Judged {
    /// Some promise was broken.
    pub fn broken(&self) -> bool {
        self.promises.iter().any(|one| matches!(one.verdict, Verdict::Violated(_)))
    }

    /// The promise of this judge was broken.
    pub fn violates(&self, promise: &str) -> bool {
        let is_it = |one: &&Judgement| one.promise == promise;
        let found = self.promises.iter().find(is_it);
        found.is_some_and(|one| matches!(one.verdict, Verdict::Violated(_)))
    }

    /// All promises were kept.
    pub fn held(&self) -> bool {
        self.promises.iter().all(|one| one.verdict.is_held())
    }

    /// For people: each promise, and the events around the first finding of each that is broken.
    pub fn explain(&self, history: &History) -> String {
        let mut text = String::new();
        for Judgement { promise, verdict } in &self.promises {
            // Writing into a string never fails.
            let _ = writeln!(text, "{promise}: {verdict}");
            if let Verdict::Violated(findings) = verdict
                && let Some(first) = findings.first()
            {
                let _ = writeln!(text, "  around the first one:");
                text.push_str(&history.excerpt(&first.shown_by, AROUND));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;
    use crate::history::{Answer, Phase, Request, What};

    fn story() -> Story {
        let mut story = Story::begin();
        story.watch(1, 2, 0);
        story.tell_time(5);
        story.note(What::Phase(Phase::Liveness));
        story.enqueue("ann");
        story.play("bob");
        story.read("cat");
        story.note(What::Phase(Phase::Healed));
        story.elect(3);
        story.tell_time(5);
        story.listen(25_000);
        story.enqueue("bob");
        story
    }

    #[test]
    fn a_good_run_holds_all_promises() {
        let story = story();
        let judged = judge(&story.history, &Bounds::default());
        assert!(judged.held(), "{}", judged.explain(&story.history));
        // And the same from the disk.
        let mut text = Vec::new();
        story.history.write(&mut text).expect("into memory");
        let read = History::read(text.as_slice()).expect("the same");
        assert_eq!(read, story.history);
        assert_eq!(judge(&read, &Bounds::default()).promises, judged.promises);
    }

    #[test]
    fn a_bad_run_is_explained() {
        let mut story = story();
        let op = story.ask("cat", Request::Upload { track: crate::history::Hex(vec![7; 32]) });
        story.answer(op, Answer::Stored);
        let judged = judge(&story.history, &Bounds::default());
        assert!(judged.broken() && !judged.held());
        let text = judged.explain(&story.history);
        let at = text.find("acknowledged: BROKEN").expect("it is named");
        let shown = &text[at..];
        assert!(
            shown.contains("cat asked to keep song 07070707…, was told that it is done"),
            "{text}"
        );
        assert!(shown.contains("cat asks to keep song 07070707… (op "), "{text}");
    }
}
