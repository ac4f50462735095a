//! How a run stands, for CI systems.

use std::time::Duration;

use anyhow::Context;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::explain::{CUT_CHARS, cut, events};
use super::words;
use super::{Facts, Figure};
use crate::history::History;
use crate::promises::all::{Judged, Judgement};
use crate::promises::verdict::Verdict;

/// A JUnit report: one suite, in it a test case for each promise and for each figure with a budget.
///
/// What is broken is a failure. What can't be told is an error: CI systems show errors red and apart from failures,
/// but take a skipped test for a pass and hide why it was skipped, and unknown is never a pass.
///
/// # Errors
/// If it can't be written as XML.
pub fn junit(facts: &Facts, history: &History, judged: &Judged) -> anyhow::Result<String> {
    let name = format!("jam-chaos {}", facts.scenario);
    let length = Duration::try_from_secs_f64(facts.seconds).unwrap_or_default();
    let mut suite = TestSuite::new(name.as_str());
    suite.set_time(length);
    suite.add_property(("seed", facts.seed.to_string().as_str()));
    suite.add_property(("again", facts.again.as_str()));
    let class = format!("jam-chaos.{}", facts.scenario);
    for judgement in &judged.promises {
        let mut case = TestCase::new(judgement.promise, promise(facts, history, judgement));
        case.set_classname(format!("{class}.promises"));
        suite.add_test_case(case);
    }
    for one in facts.figures.iter().filter(|one| one.held.is_some()) {
        let mut case = TestCase::new(one.name.as_str(), figure(one));
        case.set_classname(format!("{class}.figures"));
        suite.add_test_case(case);
    }
    let mut report = Report::new(name);
    report.set_time(length);
    report.add_test_suite(suite);
    report.to_string().context("can't write the JUnit report")
}

fn promise(facts: &Facts, history: &History, judgement: &Judgement) -> TestCaseStatus {
    let (_, means) = words::promise(judgement.promise);
    match &judgement.verdict {
        Verdict::Held { .. } => TestCaseStatus::success(),
        Verdict::Violated(findings) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("broken");
            let mut text = format!("{means}\n");
            for finding in findings {
                text.push_str(&format!("{finding}\n"));
            }
            if let Some(first) = findings.first() {
                status.set_message(cut(&first.what, CUT_CHARS));
                text.push_str(&format!("Around the first one:\n{}", events(history, first)));
            }
            text.push_str(&format!("Again: {}", facts.again));
            status.set_description(text);
            status
        }
        Verdict::Inconclusive(why) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("inconclusive");
            status.set_message(format!("can't be told: {}", why.join("; ")));
            status.set_description(format!("{means}\nAgain: {}", facts.again));
            status
        }
    }
}

fn figure(figure: &Figure) -> TestCaseStatus {
    if !figure.missed() {
        return TestCaseStatus::success();
    }
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type("budget");
    let budget = figure.budget.as_deref().unwrap_or("not told");
    status.set_message(format!("{}; the budget is {budget}", figure.text()));
    status
}
