//! Scenarios: a cluster, a load, what breaks, and what is demanded. TOML files in `chaos/scenarios`, and those of others.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::fault::Kind;

/// Those that come with the program.
const OWN: &[(&str, &str)] = &[
    ("ci", include_str!("../../scenarios/ci.toml")),
    ("clients", include_str!("../../scenarios/clients.toml")),
    ("clock-file", include_str!("../../scenarios/clock-file.toml")),
    ("clocks", include_str!("../../scenarios/clocks.toml")),
    ("composites", include_str!("../../scenarios/composites.toml")),
    ("copied-folder", include_str!("../../scenarios/copied-folder.toml")),
    ("crowd", include_str!("../../scenarios/crowd.toml")),
    ("disks", include_str!("../../scenarios/disks.toml")),
    ("everything", include_str!("../../scenarios/everything.toml")),
    ("hostile", include_str!("../../scenarios/hostile.toml")),
    ("leader-loss", include_str!("../../scenarios/leader-loss.toml")),
    ("lost-replacement", include_str!("../../scenarios/lost-replacement.toml")),
    ("majorities", include_str!("../../scenarios/majorities.toml")),
    ("network", include_str!("../../scenarios/network.toml")),
    ("operations", include_str!("../../scenarios/operations.toml")),
    ("outage", include_str!("../../scenarios/outage.toml")),
    ("pauses", include_str!("../../scenarios/pauses.toml")),
    ("power", include_str!("../../scenarios/power.toml")),
    ("rot", include_str!("../../scenarios/rot.toml")),
    ("zombie", include_str!("../../scenarios/zombie.toml")),
];

/// A kind of run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its file's name.
    #[serde(default)]
    pub name: String,
    /// What it is for, one sentence.
    pub about: String,
    /// How long faults of all kinds go on, s.
    pub secs: u64,
    /// A new fault of the mix begins about this often, ms.
    #[serde(default = "three_seconds")]
    pub every_ms: u64,
    /// The nodes.
    #[serde(default)]
    pub cluster: Cluster,
    /// Who uses them.
    #[serde(default)]
    pub load: Load,
    /// What breaks.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Entry>,
    /// What is demanded.
    #[serde(default)]
    pub budget: Budget,
    /// What a run must reach, or it can't be told: names of "sometimes" counters.
    #[serde(default)]
    pub wants: Vec<String>,
}

fn three_seconds() -> u64 {
    3000
}

/// The nodes of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// How many.
    pub nodes: u64,
    /// As `jamd --snapshot-every`.
    pub snapshot_every: u64,
    /// Log entries that a node keeps behind a snapshot: who lacks more of them needs that.
    pub keep_entries: u64,
    /// As `jamd --heartbeat-ms`.
    pub heartbeat_ms: u64,
    /// As `jamd --election-ms`.
    pub election_ms: String,
    /// Nodes reach each other at an address of their own: `jamd --peer-listen`.
    pub peer_door: bool,
}

impl Default for Cluster {
    fn default() -> Self {
        // Machines that run chaos are busy: the timeouts are wider than a node's own ones.
        Self {
            nodes: 3,
            snapshot_every: 400,
            keep_entries: 100,
            heartbeat_ms: 60,
            election_ms: "250..400".into(),
            peer_door: false,
        }
    }
}

/// Who uses the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Clients that edit two rooms at random, at least one.
    pub clients: u64,
    /// Watchers of all rooms.
    pub watchers: u64,
    /// `jam join` processes in a room with a host.
    pub listeners: u64,
    /// Listeners within the runner, in another room with a host.
    pub gallery: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self { clients: 4, watchers: 4, listeners: 2, gallery: 2 }
    }
}

/// A fault of a scenario: at a stated time, or drawn again and again by its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What breaks.
    pub what: Kind,
    /// When, ms after the faults begin.
    pub at_ms: Option<u64>,
    /// How often it is drawn, against the others.
    pub weight: Option<u64>,
    /// How long it lasts, ms: at least, at most.
    pub lasts_ms: (u64, u64),
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Until a command is acknowledged while a healthy majority is there, ms.
    pub acknowledged_ms: u64,
    /// Until everybody has everything once all is healed, ms.
    pub together_ms: u64,
    /// Between two listeners at p99, over the whole run, µs. Machines that run chaos are busy, and links are broken; the promise
    /// for a LAN where nothing is broken is tighter, and is measured elsewhere.
    pub skew_p99_us: i64,
    /// Where a new clock epoch begins while a song plays: how far shared time may go back, ms, and ahead of where it would
    /// be if it had run on.
    pub time_back_ms: u64,
    /// See above.
    pub time_ahead_ms: u64,
    /// Clock epochs that may begin after the first one; not there: any number.
    pub bumps_max: Option<u64>,
    /// Memory of a node while it is attacked, MiB.
    pub node_mib: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            acknowledged_ms: 5_000,
            together_ms: 10_000,
            skew_p99_us: 1_000,
            time_back_ms: 15_000,
            time_ahead_ms: 7_201_000,
            bumps_max: None,
            node_mib: 512,
        }
    }
}

impl Scenario {
    /// The one of this name, or in this file.
    ///
    /// # Errors
    /// If there is none, or it can't be used: what is wrong with it.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        if let Some((name, text)) = OWN.iter().find(|(own, _)| *own == name) {
            return Self::parse(name, text);
        }
        let path = Path::new(name);
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("can't read {name}"))?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            return Self::parse(&stem, &text).with_context(|| format!("{name} is no scenario"));
        }
        bail!(
            "there is no scenario '{name}'; `jam-chaos list` names them, FILE.toml is one of your own"
        )
    }

    /// All that come with the program.
    pub fn all() -> Vec<Self> {
        let parse = |(name, text): &(&str, &str)| Self::parse(name, text);
        OWN.iter().map(|own| parse(own).expect("our own are good")).collect()
    }

    fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let mut scenario: Self = toml::from_str(text)?;
        scenario.name = name.to_owned();
        scenario.check()?;
        Ok(scenario)
    }

    /// Whether it can be run.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((3..=7).contains(&self.cluster.nodes), "[cluster] nodes must be 3 to 7");
        ensure!(
            self.load.clients > 0,
            "[load] clients must be 1 or more: nothing is judged without"
        );
        ensure!((1..=3600).contains(&self.secs), "secs must be 1 to 3600");
        ensure!(self.every_ms >= 100, "every_ms must be 100 or more");
        for entry in &self.faults {
            let what = &entry.what;
            ensure!(
                entry.at_ms.is_some() != entry.weight.is_some(),
                "the fault '{what}' needs either at_ms or weight"
            );
            ensure!(
                entry.lasts_ms.0 <= entry.lasts_ms.1,
                "the fault '{what}' lasts at least longer than at most"
            );
        }
        Ok(())
    }

    /// Some fault takes disks of the nodes' own.
    pub fn needs_volumes(&self) -> bool {
        self.faults.iter().any(|entry| entry.what.needs_volumes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_scenarios_are_good() {
        for scenario in Scenario::all() {
            assert!(!scenario.about.is_empty() && !scenario.faults.is_empty(), "{}", scenario.name);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = "about = 'x'\nsecs = 5\n";
        for (more, said) in [
            ("secs = 0", "secs must be"),
            (
                "[[fault]]\nwhat = { kind = 'kill', who = 'nobody' }\nweight = 1\nlasts_ms = [1, 2]",
                "names no nodes",
            ),
            (
                "[[fault]]\nwhat = { kind = 'kill', who = 'leader' }\nlasts_ms = [1, 2]",
                "either at_ms or weight",
            ),
            ("[[fault]]\nwhat = { kind = 'explode' }\nweight = 1\nlasts_ms = [1, 2]", "explode"),
            ("[load]\nclients = 0", "clients must be"),
            ("colour = 'red'", "colour"),
        ] {
            let text = match more.strip_prefix("secs") {
                Some(_) => format!("about = 'x'\n{more}\n"),
                None => format!("{good}{more}\n"),
            };
            let error = format!("{:#}", Scenario::parse("x", &text).expect_err(more));
            assert!(error.contains(said), "{error}");
        }
        let error = Scenario::find("nothing").expect_err("none").to_string();
        assert!(error.contains("jam-chaos list"), "{error}");
    }
}
