//! What is going to break in one run, and when: a scenario and a seed, written out.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::fault::{Kind, Who};
use super::scenario::Scenario;
use crate::seed::Stream;

/// Before the first fault: songs are uploaded, listeners join, ms.
const QUIET_MS: u64 = 5_000;
/// Added to each part of a run that has a budget, so that it can be seen to be kept, ms.
const MARGIN_MS: u64 = 1_500;

/// One run, before it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Of all draws.
    pub seed: u64,
    /// What it was drawn from.
    pub scenario: Scenario,
    /// When faults of all kinds end, but for one that stays, ms.
    pub liveness_ms: u64,
    /// When nothing is broken any more, ms.
    pub healed_ms: u64,
    /// The length of the run, ms.
    pub for_ms: u64,
    /// What breaks, by the time at which it does.
    pub faults: Vec<Fault>,
    /// A bug that is there on purpose.
    #[serde(default)]
    pub planted: Option<String>,
}

/// Something that breaks, and heals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it breaks, ms.
    pub at_ms: u64,
    /// When it heals, ms.
    pub until_ms: u64,
    /// What.
    pub what: Kind,
    /// Picks among those who could be meant.
    pub pick: u64,
}

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// A fault heals: its place in the list.
    Heal(usize),
    /// A fault begins.
    Begin(usize),
    /// A healthy majority from now on.
    Liveness,
    /// Nothing is broken from now on.
    Healed,
}

impl Schedule {
    /// Writes a scenario out.
    pub fn of(scenario: &Scenario, seed: u64) -> Self {
        let mut draws = Stream::new(seed, "schedule");
        let liveness_ms = QUIET_MS + scenario.secs * 1000;
        let healed_ms = liveness_ms + scenario.budget.acknowledged_ms + MARGIN_MS;
        let mut schedule = Self {
            seed,
            scenario: scenario.clone(),
            liveness_ms,
            healed_ms,
            // Everything must have come together twice: right after the healing, and at the end.
            for_ms: healed_ms + scenario.budget.together_ms + 2 * MARGIN_MS,
            faults: Vec::new(),
            planted: None,
        };
        for entry in &scenario.faults {
            if let Some(at_ms) = entry.at_ms {
                schedule.add(QUIET_MS + at_ms, entry.lasts_ms, &entry.what, &mut draws);
            }
        }
        let weights: u64 = scenario.faults.iter().filter_map(|entry| entry.weight).sum();
        let every_ms = scenario.every_ms as i64;
        let mut at_ms = QUIET_MS;
        loop {
            at_ms += draws.within(every_ms / 2..=every_ms * 3 / 2) as u64;
            if at_ms >= liveness_ms || weights == 0 {
                break;
            }
            let mut drawn = draws.below(weights);
            let entry = scenario.faults.iter().find(|entry| {
                let weight = entry.weight.unwrap_or_default();
                let is_it = drawn < weight;
                drawn = drawn.saturating_sub(weight);
                is_it
            });
            let entry = entry.expect("it was drawn below their sum");
            schedule.add(at_ms, entry.lasts_ms, &entry.what, &mut draws);
        }
        // One node stays broken while the rest must go on.
        let kind = Kind::Kill { who: Who::Follower };
        schedule.add(liveness_ms, (0, 0), &kind, &mut draws);
        if let Some(last) = schedule.faults.last_mut() {
            last.until_ms = healed_ms;
        }
        schedule.faults.sort_by_key(|fault| fault.at_ms);
        schedule
    }

    fn add(&mut self, at_ms: u64, lasts_ms: (u64, u64), what: &Kind, draws: &mut Stream) {
        let lasts_ms = draws.within(lasts_ms.0 as i64..=lasts_ms.1 as i64) as u64;
        let until_ms = (at_ms + lasts_ms).min(self.liveness_ms).max(at_ms);
        self.faults.push(Fault { at_ms, until_ms, what: what.clone(), pick: draws.draw() });
    }

    /// All that is due, with the time in ms. What ends comes before what begins.
    pub fn due(&self) -> Vec<(u64, Due)> {
        let faults = self.faults.iter().enumerate();
        let mut due: Vec<_> = faults
            .flat_map(|(place, fault)| {
                [(fault.at_ms, Due::Begin(place)), (fault.until_ms, Due::Heal(place))]
            })
            .collect();
        due.push((self.liveness_ms, Due::Liveness));
        due.push((self.healed_ms, Due::Healed));
        // A fault that lasts no time begins before it heals.
        due.sort_by_key(|(at_ms, due)| match due {
            Due::Heal(place) if self.faults[*place].at_ms == *at_ms => (*at_ms, 2, *due),
            Due::Heal(_) => (*at_ms, 0, *due),
            _ => (*at_ms, 1, *due),
        });
        due
    }

    /// Reads one from a file.
    ///
    /// # Errors
    /// If there is none, or it is no schedule.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("can't read the schedule {}", path.display()))?;
        let schedule: Self = serde_json::from_str(&text).with_context(|| {
            format!("{} is no schedule; a run keeps its own as schedule.json", path.display())
        })?;
        schedule.scenario.check()?;
        Ok(schedule)
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("can't write {}", path.display()))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            let secs = |ms: u64| ms as f64 / 1e3;
            writeln!(
                out,
                "{:7.2} to {:6.2} s  {}",
                secs(fault.at_ms),
                secs(fault.until_ms),
                fault.what
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_one_schedule() {
        for scenario in Scenario::all() {
            let schedule = Schedule::of(&scenario, 7);
            assert_eq!(schedule, Schedule::of(&scenario, 7));
            assert!(schedule.faults.iter().all(|fault| fault.until_ms >= fault.at_ms));
            let text = serde_json::to_string(&schedule).expect("plain data");
            let read: Schedule = serde_json::from_str(&text).expect("the same");
            assert_eq!(read, schedule);
        }
        let scenario = Scenario::find("ci").expect("it comes with us");
        assert_ne!(Schedule::of(&scenario, 1).faults, Schedule::of(&scenario, 2).faults);
    }

    #[test]
    fn what_is_due_is_in_order() {
        let scenario = Scenario::find("everything").expect("it comes with us");
        let schedule = Schedule::of(&scenario, 3);
        let due = schedule.due();
        assert!(due.is_sorted_by_key(|(at_ms, _)| *at_ms));
        for (place, _) in schedule.faults.iter().enumerate() {
            let at = |wanted| due.iter().position(|(_, due)| *due == wanted);
            assert!(at(Due::Begin(place)) < at(Due::Heal(place)), "fault {place}");
        }
        let after = |(_, due): &&(u64, Due)| *due == Due::Healed;
        let healed = due.iter().position(|one| after(&one)).expect("it is healed");
        assert!(due[healed..].iter().all(|(_, due)| !matches!(due, Due::Begin(_))));
    }
}
