//! What was counted over all seeds.

use std::fmt;

/// Bars of the histogram: errors in halves of the stated sigma, the last one for all that are larger.
const BARS: usize = 9;
/// Rungs of a ladder of errors, four to a doubling: up to some seconds.
const RUNGS: usize = 136;

/// How well something stated covers the true error.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    samples: u64,
    within_bound: u64,
    worst_ns: i64,
    worst_share: f64,
    bars: [u64; BARS],
    rungs: [u64; RUNGS],
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            samples: 0,
            within_bound: 0,
            worst_ns: 0,
            worst_share: 0.0,
            bars: [0; BARS],
            rungs: [0; RUNGS],
        }
    }
}

impl Coverage {
    /// An error, and what it was said to be at most.
    pub fn bound(&mut self, error_ns: i64, bound_ns: i64) {
        self.samples += 1;
        self.within_bound += u64::from(error_ns.abs() <= bound_ns);
        self.worst_ns = self.worst_ns.max(error_ns.abs());
        self.worst_share = self.worst_share.max(error_ns.abs() as f64 / bound_ns.max(1) as f64);
    }

    /// The same error without what no probe can show, and the stated sigma.
    pub fn sigma(&mut self, error_ns: i64, sigma_ns: i64) {
        let halves = (2.0 * error_ns.abs() as f64 / sigma_ns.max(1) as f64).ceil() as usize;
        self.bars[halves.clamp(1, BARS) - 1] += 1;
        let rung = (4.0 * (error_ns.abs().max(1) as f64).log2()) as usize;
        self.rungs[rung.min(RUNGS - 1)] += 1;
    }

    /// So large is this share of the errors at most, without what no probe can show, µs.
    fn quantile_us(&self, share: f64) -> f64 {
        let (all, mut below) = (self.rungs.iter().sum::<u64>() as f64, 0);
        let rung = self.rungs.iter().position(|count| {
            below += count;
            below as f64 >= share * all
        });
        ((rung.unwrap_or(0) + 1) as f64 / 4.0).exp2() / 1e3
    }

    /// The share of errors within their bounds.
    pub fn in_bound(&self) -> f64 {
        share(self.within_bound, self.samples)
    }

    /// The share within so many sigmas.
    pub fn in_sigmas(&self, sigmas: usize) -> f64 {
        share(self.bars[..2 * sigmas].iter().sum(), self.bars.iter().sum())
    }

    fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.within_bound += other.within_bound;
        self.worst_ns = self.worst_ns.max(other.worst_ns);
        self.worst_share = self.worst_share.max(other.worst_share);
        self.bars.iter_mut().zip(other.bars).for_each(|(bar, more)| *bar += more);
        self.rungs.iter_mut().zip(other.rungs).for_each(|(rung, more)| *rung += more);
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, worst_ns, worst_share, bars, .. } = self;
        write!(
            out,
            "{samples} samples, {:.4} % in their bounds, worst {:.3} ms and {worst_share:.3} of a bound",
            100.0 * self.in_bound(),
            *worst_ns as f64 / 1e6,
        )?;
        if bars.iter().any(|bar| *bar > 0) {
            let [one, two, three] = [1, 2, 3].map(|sigmas| 100.0 * self.in_sigmas(sigmas));
            write!(
                out,
                "; without what is unseen {:.1} µs (p50) and {:.1} µs (p99)",
                self.quantile_us(0.5),
                self.quantile_us(0.99)
            )?;
            write!(
                out,
                "; within 1, 2, 3 sigmas {one:.2}, {two:.2}, {three:.2} %; by halves {bars:?}"
            )?;
        }
        Ok(())
    }
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub simulated_ns: i64,
    /// What leaders said of the time, stamps among it.
    pub told: u64,
    pub stamps: u64,
    pub restarts: u64,
    pub pauses: u64,
    /// Machines all of whose clocks stood still for a while.
    pub stood_still: u64,
    /// Of those, the ones that led before they had measured anything, and did not go on with their own time; and
    /// followers that were contradicted by a probe.
    pub caught: u64,
    pub contradicted: u64,
    /// Leaderships that went on with time, and those that began an epoch.
    pub continued: u64,
    pub bumped: u64,
    /// Of those that went on, the ones that did with another node's time.
    pub adopted: u64,
    /// Phase changes against what the new leader commits.
    pub phases: Coverage,
    /// Distances from all the earlier leaders of an epoch against what the log sums up.
    pub sums: Coverage,
    /// What followers' and listeners' filters say.
    pub follower_filters: Coverage,
    pub listener_filters: Coverage,
    /// What nodes' clocks say of their distance from the leader's time.
    pub nodes: Coverage,
    /// What listeners say who play by what they have published.
    pub listeners: Coverage,
    /// Coarse first estimates of listeners that were put right by a step.
    pub coarse_steps: u64,
}

impl Figures {
    /// Together with another seed's.
    pub fn add(&mut self, other: &Self) {
        self.simulated_ns += other.simulated_ns;
        self.told += other.told;
        self.stamps += other.stamps;
        self.restarts += other.restarts;
        self.pauses += other.pauses;
        self.stood_still += other.stood_still;
        self.caught += other.caught;
        self.contradicted += other.contradicted;
        self.continued += other.continued;
        self.bumped += other.bumped;
        self.adopted += other.adopted;
        self.coarse_steps += other.coarse_steps;
        self.phases.add(&other.phases);
        self.sums.add(&other.sums);
        self.follower_filters.add(&other.follower_filters);
        self.listener_filters.add(&other.listener_filters);
        self.nodes.add(&other.nodes);
        self.listeners.add(&other.listeners);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "  {} s, {} stamps, {} looks at leaders, {} restarts, {} pauses, {} stood still ({} led after it, {} were contradicted), {} leaders went on \
             ({} with another node's time), {} began an epoch, {} coarse steps",
            self.simulated_ns / 1_000_000_000,
            self.stamps,
            self.told,
            self.restarts,
            self.pauses,
            self.stood_still,
            self.caught,
            self.contradicted,
            self.continued,
            self.adopted,
            self.bumped,
            self.coarse_steps,
        )?;
        writeln!(out, "  phase changes:      {}", self.phases)?;
        writeln!(out, "  sums of those:      {}", self.sums)?;
        writeln!(out, "  followers' filters: {}", self.follower_filters)?;
        writeln!(out, "  listeners' filters: {}", self.listener_filters)?;
        writeln!(out, "  nodes' clocks:      {}", self.nodes)?;
        write!(out, "  listeners' clocks:  {}", self.listeners)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
