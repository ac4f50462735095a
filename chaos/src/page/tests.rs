//! The report of small stories.

use serde_json::json;

use super::*;
use crate::history::{Answer, Hex, History, ListenerSample, Phase, Request, Sound, Stretch, What};
use crate::promises::all::{Bounds, Judged, judge};
use crate::promises::sometimes::Counters;
use crate::promises::story::Story;
use crate::promises::verdict::Verdict;

const NASTY: &str = "n1: <script>alert('x')</script> & \"more\"";
const NASTY_SAFE: &str =
    "n1: &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;";

/// A run in which all is well, with some of everything that can be shown.
fn story() -> Story {
    let mut story = Story::begin();
    story.note(What::Phase(Phase::Safety));
    story.watch(1, 2, 0);
    story.note(What::FaultBegun {
        fault: 1,
        text: NASTY.to_owned(),
        affects: vec!["n1".to_owned()],
    });
    let affects = vec!["n2".to_owned(), "<n3>".to_owned()];
    story.note(What::FaultBegun { fault: 2, text: "n2, <n3>: cut off".to_owned(), affects });
    story.tell_time(5);
    story.note(What::FaultHealed { fault: 1 });
    story.note(What::Phase(Phase::Liveness));
    story.enqueue("ann");
    story.play("bob");
    story.read("cat");
    story.note(What::Phase(Phase::Healed));
    story.elect(3);
    story.tell_time(5);
    story.listen(25_000);
    story.restart(2);
    story.enqueue("bob");
    story
}

fn facts() -> Facts {
    Facts {
        scenario: "leader-loss".to_owned(),
        purpose: "A <leader> is lost in mid-song.".to_owned(),
        seed: 7,
        seconds: 27.5,
        started_at: Some("2024-05-01T12:00:00Z".to_owned()),
        again: "jam-chaos run leader-loss --seed 7".to_owned(),
        nodes: 3,
        clients: 2,
        listeners: 1,
        versions: vec![("jam".to_owned(), "0.1.0".to_owned())],
        links: vec![Link { text: "log & more".to_owned(), path: "logs/n 1.txt".to_owned() }],
        could_not: vec!["No <netem> in this kernel.".to_owned()],
        figures: vec![figure(Some(true))],
        untold: Vec::new(),
    }
}

fn figure(held: Option<bool>) -> Figure {
    let name = "skew, p99".to_owned();
    let budget = Some("200 µs".to_owned());
    Figure { name, value: 81.5, unit: "µs".to_owned(), budget, held }
}

fn judged(history: &History) -> Judged {
    judge(history, &Bounds::default())
}

/// A promise is broken by what was added to the story.
fn broken() -> Story {
    let mut story = story();
    let op = story.ask("<eve>", Request::Upload { track: Hex(vec![7; 32]) });
    story.answer(op, Answer::Stored);
    story
}

fn open() -> Judged {
    let promises = vec![crate::promises::all::Judgement {
        promise: "progress",
        verdict: Verdict::Inconclusive(vec!["the run ended too soon".to_owned()]),
    }];
    Judged { promises, counters: Counters::default() }
}

/// Panics unless it is well-formed XML: each element is closed where it must be.
#[track_caller]
fn assert_well_formed(xml: &str) {
    let mut reader = quick_xml::Reader::from_str(xml);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => return,
            Ok(quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag)) => {
                tag.attributes().for_each(|one| drop(one.expect("attributes are in order")));
            }
            Ok(_) => {}
            Err(error) => panic!("{error} at {}", reader.error_position()),
        }
    }
}

#[test]
fn a_page_tells_all_of_a_run() {
    let story = story();
    let judged = judged(&story.history);
    assert!(judged.held(), "{}", judged.explain(&story.history));
    let page = html(&facts(), &story.history, &judged);
    assert_well_formed(&page);
    for told in [
        "Every promise held.",
        "never stood still for long",
        "safety: anything may break",
        "log entries compared",
        "jam-chaos run leader-loss --seed 7",
        "A &lt;leader&gt; is lost in mid-song.",
        "href=\"./logs/n%201.txt\">log &amp; more<",
        "No &lt;netem&gt; in this kernel.",
        "2024-05-01T12:00:00Z",
        "81.5 µs",
        "n2, &lt;n3&gt;: cut off",
        "never healed",
        "leads, term 2",
        "node 2: was killed at",
        "safety: anything may break",
        "bob, command: play: acknowledged after",
        "watcher 1 asks node 2",
    ] {
        assert!(page.contains(told), "{told} is missing");
    }
    for one in &judged.promises {
        assert!(page.contains(&format!("<code>{}</code>", one.promise)), "{}", one.promise);
        assert!(!words::promise(one.promise).1.is_empty(), "no words for {}", one.promise);
    }
    assert!(page.matches(NASTY_SAFE).count() >= 2, "in the lanes and in the table");
    assert!(!page.contains("<script>alert") && !page.contains("<n3>"));
    for foreign in ["http://", "https://", "src="] {
        let named = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!named.contains(foreign), "the page needs something else: {foreign}");
    }
}

#[test]
fn what_broke_is_explained_and_marked() {
    let story = broken();
    let judged = judged(&story.history);
    let page = html(&facts(), &story.history, &judged);
    assert_well_formed(&page);
    let count = format!("1 of {} promises broken.", judged.promises.len());
    for told in [
        count.as_str(),
        "href=\"#finding-1\"",
        "id=\"finding-1\"",
        "class=\"evident\"",
        "&lt;eve&gt; asked to keep song 07070707…, was told that it is done",
        "when nothing was broken any more",
        "In effect: n2, &lt;n3&gt;: cut off (for ",
        "<mark>&gt; #",
    ] {
        assert!(page.contains(told), "{told} is missing");
    }
    assert!(!page.contains("<eve>"));
}

#[test]
fn what_cant_be_told_is_no_pass() {
    let page = html(&facts(), &History::default(), &open());
    assert_well_formed(&page);
    assert!(page.contains("It can’t be told whether 1 of 1 promises held."));
    assert!(page.contains("the run ended too soon"));
    assert!(!page.contains("Every promise held"));
}

#[test]
fn listeners_are_shown() {
    let mut story = story();
    let listener = "<l1>".to_owned();
    for node in [3, 3] {
        story.wait_ms(100);
        let said = story.sample(node);
        story.now(What::Time(said));
        story.wait_ms(50);
        story.now(What::Listens(ListenerSample {
            listener: listener.clone(),
            life: 1,
            at_ns: story.now_ns,
            room: "ABCD".to_owned(),
            revision: 1,
            epoch: 1,
            term: 2,
            shared: Some(story.shared()),
            bound_ns: 2_000_000,
            unheard_ns: None,
            state: "playing".to_owned(),
            song_here: true,
        }));
    }
    let said = story.sample(3);
    story.wait_ms(50);
    story.now(What::Time(said));
    let (from_ns, until_ns) = (story.now_ns - 100_000_000, story.now_ns);
    story.now(What::Heard(Stretch { listener, life: 1, from_ns, until_ns, sound: Sound::Other }));
    let page = html(&facts(), &story.history, &open());
    assert_well_formed(&page);
    assert!(page.contains("&lt;l1&gt;: at most "), "its clock");
    assert!(page.contains("something else for 100 ms from "), "its sound");
}

#[test]
fn many_operations_become_a_density() {
    let mut story = story();
    for at in 0..5000 {
        let op = story.ask("ann", Request::Read { room: "ABCD".to_owned() });
        story.wait_ms(at % 40);
        story.answer(op, if at == 4000 { Answer::Unknown } else { Answer::NoRoom });
    }
    let page = html(&facts(), &story.history, &open());
    assert_well_formed(&page);
    assert!(page.contains("unknown and refused one by one"));
    assert!(page.contains("ann, read a room: unknown after 1 ms"));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let held = story();
    let all = judged(&held.history);
    let told = result(&facts(), &held.history, &all);
    assert_eq!((&told["outcome"], &told["exit_code"]), (&json!("held"), &json!(0)));
    assert_eq!(
        told["totals"]["faults"],
        json!({ "<script>alert('x')</script> & \"more\"": 1, "cut off": 1 })
    );
    assert_eq!(told["totals"]["operations"]["command: play"]["acknowledged"], 1);
    assert_eq!(told["promises"].as_array().map(Vec::len), Some(all.promises.len()));

    let bad = broken();
    let told = result(&facts(), &bad.history, &judged(&bad.history));
    assert_eq!((&told["outcome"], &told["exit_code"]), (&json!("broken"), &json!(1)));
    let promises = told["promises"].as_array().expect("a list");
    let one = promises.iter().find(|one| one["verdict"] == "broken").expect("one is broken");
    assert_eq!(one["name"], "acknowledged");
    assert!(one["findings"][0]["what"].as_str().is_some_and(|what| what.contains("keep song")));

    let told = result(&facts(), &History::default(), &open());
    assert_eq!((&told["outcome"], &told["exit_code"]), (&json!("inconclusive"), &json!(2)));
    assert_eq!(told["promises"][0]["why"], json!(["the run ended too soon"]));

    let over = Facts { figures: vec![figure(Some(false))], ..facts() };
    let told = result(&over, &held.history, &judged(&held.history));
    assert_eq!((&told["outcome"], &told["exit_code"]), (&json!("broken"), &json!(1)));
}

#[test]
fn junit_has_a_case_for_each_promise() {
    let read = |history: &History, judged: &Judged, facts: &Facts| {
        let xml = junit(facts, history, judged).expect("it is written");
        quick_junit::Report::deserialize_from_str(&xml).expect("it is read")
    };
    let bad = broken();
    let all = judged(&bad.history);
    let report = read(&bad.history, &all, &facts());
    // And one for the figure.
    let tests = all.promises.len() + 1;
    assert_eq!((report.tests, report.failures, report.errors, report.skipped), (tests, 1, 0, 0));
    let over = Facts { figures: vec![figure(Some(false)), figure(None)], ..facts() };
    let report = read(&History::default(), &open(), &over);
    assert_eq!((report.tests, report.failures, report.errors, report.skipped), (2, 1, 1, 0));
}
