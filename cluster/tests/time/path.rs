//! Networks: how long a message takes.

use crate::draws::Draws;

/// No message takes longer, ns.
const DELAY_NS_MAX: f64 = 3e9;

/// What kind of network a site has.
#[derive(Clone, Copy, Debug)]
pub enum Network {
    /// One room: cables, and wireless listeners.
    Near,
    /// One country.
    Far,
    /// Where queues are often longer than the way.
    Wild,
}

/// Ranges, ns: the way without a queue, and a usual queue.
struct Ranges {
    least: (f64, f64),
    queue: (f64, f64),
}

impl Network {
    fn between_nodes(self) -> Ranges {
        match self {
            Self::Near => Ranges { least: (20e3, 200e3), queue: (2e3, 40e3) },
            Self::Far => Ranges { least: (200e3, 3e6), queue: (10e3, 400e3) },
            Self::Wild => Ranges { least: (100e3, 2e6), queue: (100e3, 3e6) },
        }
    }

    fn to_listeners(self) -> Ranges {
        match self {
            Self::Near => Ranges { least: (100e3, 2e6), queue: (10e3, 500e3) },
            Self::Far => Ranges { least: (3e6, 60e6), queue: (100e3, 3e6) },
            Self::Wild => Ranges { least: (1e6, 30e6), queue: (2e6, 30e6) },
        }
    }
}

/// Both ways between an asker and a node.
pub struct Path {
    pub there: Way,
    pub back: Way,
}

impl Path {
    /// From a node (or a listener) to a node. One in three is longer one way than the other.
    pub fn new(network: Network, from_node: bool, draws: &mut Draws) -> Self {
        let Ranges { least, queue } =
            if from_node { network.between_nodes() } else { network.to_listeners() };
        let least_ns = draws.magnitude(least.0, least.1);
        let queue_ns = draws.magnitude(queue.0, queue.1);
        let tilt = if draws.one_in(3) { draws.within(-0.8, 0.8) } else { 0.0 };
        Self {
            there: Way::new(least_ns * (1.0 + tilt), queue_ns, draws),
            back: Way::new(least_ns * (1.0 - tilt), queue_ns, draws),
        }
    }

    /// By how much a clock at the other end seems to be ahead though it is not, ns: nobody who only exchanges probes
    /// can know it.
    pub fn unseen_ns(&self) -> i64 {
        ((self.there.least_ns - self.back.least_ns) / 2.0).round() as i64
    }
}

/// One way.
pub struct Way {
    least_ns: f64,
    queue_ns: f64,
    /// How heavy the tail is: smaller is heavier.
    alpha: f64,
    /// For some seconds a queue is this many times as long as usual: each way has its own hard times.
    load: f64,
    load_until_ns: i64,
    draws: Draws,
}

impl Way {
    fn new(least_ns: f64, queue_ns: f64, draws: &mut Draws) -> Self {
        let alpha = draws.within(1.2, 3.0);
        let draws = Draws::new(draws.draw(), 0);
        Self { least_ns, queue_ns, alpha, load: 1.0, load_until_ns: 0, draws }
    }

    /// How long a message that sets out now is on its way, ns.
    pub fn delay_ns(&mut self, now_ns: i64) -> i64 {
        let draws = &mut self.draws;
        if now_ns >= self.load_until_ns {
            self.load = match draws.below(10) {
                0 => draws.magnitude(3.0, 20.0),
                1..=3 => draws.magnitude(1.0, 3.0),
                _ => draws.magnitude(0.1, 1.0),
            };
            self.load_until_ns = now_ns + draws.exponential(2e9) as i64;
        }
        // Interrupts and wakeups.
        let host_ns = draws.exponential(3e3);
        let tail =
            if draws.one_in(4) { draws.pareto(self.alpha) } else { draws.lognormal(1.0) / 2.0 };
        (self.least_ns + host_ns + (self.queue_ns * self.load * tail).min(DELAY_NS_MAX)) as i64
    }
}
