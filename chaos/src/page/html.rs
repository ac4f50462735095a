//! The page itself.

use std::fmt::Write;

use super::Facts;
use super::explain;
use super::lanes;
use super::outcome::Outcome;
use super::requests::{Came, requests};
use super::summary::Summary;
use super::tables;
use super::text::{count, escape, href, short, span, thousands};
use super::words;
use crate::history::History;
use crate::promises::all::Judged;
use crate::promises::stalls::Stalls;
use crate::promises::verdict::Verdict;

/// One page that needs nothing else: no file, no network. It is XML, too.
pub fn html(facts: &Facts, history: &History, judged: &Judged) -> String {
    let outcome = Outcome::of(facts, judged);
    let firsts = explain::firsts(history, judged);
    let asked = requests(history);
    let summary = Summary::of(history, &asked);
    let mut html =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\" />");
    // Writing into a string never fails.
    let _ = write!(
        html,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\
         <meta name=\"color-scheme\" content=\"light dark\" />\
         <title>{}: {}</title><style>{}</style></head><body><main>",
        escape(&facts.scenario),
        outcome.name(),
        include_str!("page.css"),
    );
    html.push_str(&head(facts, judged, outcome, &summary));
    let _ = write!(html, "<p class=\"soft\">{}</p>", escape(&machine(history)));
    section(&mut html, "Promises", &tables::promises(judged, &firsts));
    if !facts.figures.is_empty() {
        section(&mut html, "Figures", &tables::figures(facts));
    }
    section(&mut html, "What happened", &lanes::draw(history, &asked, &firsts));
    if !firsts.is_empty() {
        section(&mut html, "What broke", &explain::sections(history, &firsts));
    }
    section(&mut html, "Operations", &tables::requests(&summary));
    section(&mut html, "Faults", &tables::faults(history));
    section(&mut html, "Reached", &tables::counters(judged));
    html.push_str(&about(facts));
    let _ = write!(
        html,
        "</main><script>//<![CDATA[\n{}//]]>\n</script></body></html>\n",
        include_str!("page.js")
    );
    html
}

/// How the machine did that ran it all.
fn machine(history: &History) -> String {
    let stalls = Stalls::of(history);
    match stalls.count() {
        0 => "The machine that ran all this never stood still for long.".to_owned(),
        times => format!(
            "The machine that ran all this stood still {}, for {} at the longest. What fell into that is not held against Jam; \
             where too much did, it can’t be told.",
            count(times, "time"),
            span(stalls.longest_ns()),
        ),
    }
}

fn section(html: &mut String, title: &str, inside: &str) {
    let id = title.to_lowercase().replace(' ', "-");
    let _ = write!(
        html,
        "<section id=\"{id}\"><h2>{title}</h2><div class=\"wide\">{inside}</div></section>"
    );
}

fn head(facts: &Facts, judged: &Judged, outcome: Outcome, summary: &Summary) -> String {
    let mark = outcome.mark();
    let mut html = format!("<header class=\"{}\"><p class=\"scenario\">", outcome.name());
    let _ = write!(html, "<b>{}</b> {}</p>", escape(&facts.scenario), escape(&facts.purpose));
    let _ = write!(
        html,
        "<h1><span class=\"mark\" aria-hidden=\"true\">{mark}</span>{}</h1>",
        escape(&verdict(facts, judged, outcome)),
    );
    if outcome != Outcome::Held {
        html.push_str("<ul class=\"why\">");
        reasons(facts, judged)
            .iter()
            .for_each(|why| html.push_str(&format!("<li>{}</li>", escape(why))));
        html.push_str("</ul>");
    }
    let _ = write!(
        html,
        "<p class=\"again\"><span>Again:</span> <code id=\"again\">{}</code><button type=\"button\" data-copy=\"again\" hidden=\"hidden\">Copy</button></p>",
        escape(&facts.again),
    );
    html.push_str("</header>");
    html.push_str(&tiles(facts, summary));
    html
}

/// The run in one sentence.
fn verdict(facts: &Facts, judged: &Judged, outcome: Outcome) -> String {
    let all = judged.promises.len();
    let broken = judged.promises.iter().filter(|one| matches!(one.verdict, Verdict::Violated(_)));
    let broken = broken.count();
    let missed = facts.figures.iter().filter(|one| one.missed()).count();
    let open = judged.promises.iter().filter(|one| matches!(one.verdict, Verdict::Inconclusive(_)));
    match outcome {
        Outcome::Held => "Every promise held.".to_owned(),
        Outcome::Inconclusive => {
            format!(
                "It can’t be told whether {} of {all} promises held. None was broken.",
                open.count()
            )
        }
        Outcome::Broken => match (broken, missed) {
            (0, missed) => {
                format!("{} over budget; every promise was looked at.", count(missed, "figure"))
            }
            (broken, 0) => format!("{broken} of {all} promises broken."),
            (broken, missed) => {
                format!(
                    "{broken} of {all} promises broken, {} over budget.",
                    count(missed, "figure")
                )
            }
        },
    }
}

fn reasons(facts: &Facts, judged: &Judged) -> Vec<String> {
    let mut reasons = Vec::new();
    for one in &judged.promises {
        let (title, _) = words::promise(one.promise);
        match &one.verdict {
            Verdict::Held { .. } => {}
            Verdict::Violated(findings) => {
                let first = findings.first().map_or("", |first| first.what.as_str());
                reasons.push(format!("“{title}” is broken: {}", explain::cut(first, 300)));
            }
            Verdict::Inconclusive(why) => {
                reasons.push(format!("“{title}” can’t be told: {}", why.join("; ")));
            }
        }
    }
    for one in facts.figures.iter().filter(|one| one.missed()) {
        let budget = one.budget.as_deref().unwrap_or("not told");
        reasons.push(format!(
            "Over budget: {} is {}; the budget is {budget}",
            one.name,
            one.text()
        ));
    }
    reasons
}

fn tiles(facts: &Facts, summary: &Summary) -> String {
    let asked = summary.asked();
    let served = summary.came(Came::Acknowledged) + summary.came(Came::Rejected);
    let share = if asked == 0 { 0.0 } else { 100.0 * served as f64 / asked as f64 };
    let number = |number: u64| thousands(i64::try_from(number).unwrap_or(i64::MAX));
    let tiles = [
        (format!("{} s", short(facts.seconds)), "long".to_owned()),
        (number(facts.nodes), "nodes".to_owned()),
        (number(facts.clients), "clients that edit".to_owned()),
        (number(facts.listeners), "listeners".to_owned()),
        (number(summary.broke() as u64), "faults".to_owned()),
        (number(summary.elections as u64), "elections".to_owned()),
        (number(asked as u64), format!("operations, {} % served", short(share))),
        (facts.seed.to_string(), "seed".to_owned()),
    ];
    let mut html = String::from("<dl class=\"tiles\">");
    for (value, name) in tiles {
        let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(&name), escape(&value));
    }
    html.push_str("</dl>");
    html
}

/// Where it ran and what lies beside it.
fn about(facts: &Facts) -> String {
    let mut html = String::new();
    if !facts.could_not.is_empty() {
        html.push_str("<section><h2>What this machine could not do</h2><ul>");
        for one in &facts.could_not {
            let _ = write!(html, "<li>{}</li>", escape(one));
        }
        html.push_str("</ul></section>");
    }
    if !facts.untold.is_empty() {
        html.push_str("<section><h2>What could not be judged</h2><ul>");
        for one in &facts.untold {
            let _ = write!(html, "<li>{}</li>", escape(one));
        }
        html.push_str("</ul></section>");
    }
    html.push_str("<footer>");
    if let Some(begun) = &facts.started_at {
        let _ = write!(html, "<p>Began {}.</p>", escape(begun));
    }
    if !facts.versions.is_empty() {
        let each =
            facts.versions.iter().map(|(name, one)| format!("{} {}", escape(name), escape(one)));
        let _ = write!(html, "<p>{}</p>", each.collect::<Vec<_>>().join(" · "));
    }
    if !facts.links.is_empty() {
        let each = facts
            .links
            .iter()
            .map(|link| format!("<a href=\"{}\">{}</a>", href(&link.path), escape(&link.text)));
        let _ = write!(html, "<p>Beside this page: {}</p>", each.collect::<Vec<_>>().join(" · "));
    }
    html.push_str("</footer>");
    html
}
