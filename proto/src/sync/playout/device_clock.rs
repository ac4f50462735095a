//! When a device's frames sound.

/// When the frames of an output device sound, by the raw clock: a line that follows its time
/// stamps.
///
/// A two-state Kalman filter (offset, drift) that does not trust its input. Stamps are noisy by
/// about ±12 µs on a good card. Where the pointer moves in steps they are *late* by up to a step
/// whenever the callback ran late, by milliseconds on a busy machine, but never early. So
/// innovations are weighed by their own measured spread and clipped by it, those that are late
/// more than those that are early.
///
/// Some sound systems move their pointer by a whole period at a time, so that stamps are late by up to that, most of them. Such
/// stamps are told by how often they jump; then only the earliest one of many counts.
#[derive(Clone, Debug)]
pub struct DeviceClock {
    nominal_ns: f64,
    settle: u32,
    to_drop: u32,
    /// The first stamps, from which the line is anchored: (frame, ns).
    first: [(u64, i64); COARSE_ANCHOR_STAMPS],
    taken: u32,
    base_frame: u64,
    base_ns: i64,
    last_frame: u64,
    /// Offset from the nominal line through the base, at `last_frame`, ns.
    offset_ns: f64,
    /// How much longer than nominal a frame lasts, as a ratio. Survives a restart: it is the
    /// crystal's.
    drift: f64,
    /// Covariance of (offset, drift).
    p: [[f64; 2]; 2],
    /// Smoothed square of the clipped innovations, ns².
    spread: f64,
    /// Which of the latest stamps lay far off the line: one bit each.
    strange: u16,
    /// How late the last stamp was against the nominal line through the base, and which of the latest stamps jumped from the one
    /// before: one bit each.
    last_late_ns: Option<f64>,
    jumps: u64,
    coarse: Option<Window>,
}

/// Stamps of which the earliest one counts.
#[derive(Clone, Copy, Debug)]
struct Window {
    taken: u32,
    earliest_ns: f64,
    latest_ns: f64,
}

impl Window {
    const EMPTY: Self = Self { taken: 0, earliest_ns: f64::INFINITY, latest_ns: f64::NEG_INFINITY };
}

/// A first guess of how noisy stamps are, and the least that is assumed.
const STAMP_SIGMA_NS: f64 = 30e3;
const STAMP_SIGMA_MIN_NS: f64 = 2e3;
/// In sigmas, where innovations are clipped. From 1.5 on, many late stamps would widen the spread
/// that clips them, without end.
const CLIP_LATE: f64 = 1.0;
const CLIP_EARLY: f64 = 4.0;
/// Crystals are within ±100 ppm, most within ±30.
const DRIFT_SIGMA: f64 = 60e-6;
/// How fast offset (ns/√s) and drift (1/√s) wander; the drift's is that of a crystal that warms up.
const OFFSET_WANDER_NS: f64 = 200.0;
const DRIFT_WANDER: f64 = 1e-8;
/// Of a few stamps the earliest is least likely to be wrong.
const ANCHOR_STAMPS: usize = 3;
/// The same where stamps are coarse.
const COARSE_ANCHOR_STAMPS: usize = 16;
/// If all but one of eight stamps lie this far off, the device moved: frames were lost, or it stood
/// still. Where stamps are often late, of sixteen.
const STRANGE_NS: f64 = 2e6;
const STRANGE_STAMPS: u32 = 8;
/// Two stamps that differ by more than this jump. So many jumps among the last 64 stamps are none of a good card, and with so many
/// stamps are coarse.
const JUMP_NS: f64 = 1e6;
const RESTLESS_JUMPS: u32 = 5;
const COARSE_JUMPS: u32 = 16;
/// With a spread above this a line has followed stamps that it should not have.
const MISLED_NS: f64 = 200e3;
/// Coarse stamps of which the earliest one counts.
const WINDOW_STAMPS: u32 = 32;

impl DeviceClock {
    /// For a device with `rate` frames a second whose first `settle` stamps after a start or an
    /// underrun are wrong; 0: for one whose stamps are exact.
    pub fn new(rate: u32, settle: u32) -> Self {
        Self {
            nominal_ns: 1e9 / f64::from(rate),
            settle,
            to_drop: settle,
            first: [(0, 0); COARSE_ANCHOR_STAMPS],
            taken: 0,
            base_frame: 0,
            base_ns: 0,
            last_frame: 0,
            offset_ns: 0.0,
            drift: 0.0,
            p: [[0.0, 0.0], [0.0, DRIFT_SIGMA * DRIFT_SIGMA]],
            spread: STAMP_SIGMA_NS * STAMP_SIGMA_NS,
            strange: 0,
            last_late_ns: None,
            jumps: 0,
            coarse: None,
        }
    }

    /// Frames no longer follow the line (an underrun): anchor anew, and keep the drift.
    pub fn restart(&mut self) {
        self.to_drop = self.settle;
        self.taken = 0;
        self.strange = 0;
        self.last_late_ns = None;
        self.coarse = self.coarse.map(|_| Window::EMPTY);
    }

    /// Whether stamps come in steps of milliseconds, so that the line is known to no better than a fraction of those.
    pub fn is_coarse(&self) -> bool {
        self.coarse.is_some()
    }

    /// How far stamps are off the line, as a rule: ns.
    pub fn stamp_sigma_ns(&self) -> f64 {
        self.noise().sqrt()
    }

    /// Whether there is a line.
    pub fn ready(&self) -> bool {
        self.taken as usize >= self.anchor_stamps()
    }

    /// By how much the device runs faster than the raw clock, ppm.
    pub fn fast_ppm(&self) -> f64 {
        -self.drift * 1e6
    }

    /// Takes a stamp: `frame` sounds at `raw_ns`. Returns false if the device moved off its line,
    /// which begins anew.
    pub fn observe(&mut self, frame: u64, raw_ns: i64) -> bool {
        if self.to_drop > 0 {
            self.to_drop -= 1;
            return true;
        }
        self.note_jump(frame, raw_ns);
        if !self.ready() {
            self.first[self.taken as usize] = (frame, raw_ns);
            self.taken += 1;
            if self.ready() {
                self.anchor();
            }
            return true;
        }
        let dt_ns = (frame as i64 - self.last_frame as i64) as f64 * self.nominal_ns;
        self.predict(dt_ns, dt_ns * 1e-9);
        self.last_frame = frame;
        let innovation = (raw_ns - self.raw_at(frame)) as f64;
        let moved = match self.coarse {
            Some(window) => self.observe_coarse(window, innovation),
            None => self.observe_fine(innovation),
        };
        if moved {
            self.restart();
        }
        !moved
    }

    /// Whether the device moved.
    fn observe_fine(&mut self, innovation: f64) -> bool {
        self.strange = self.strange << 1 | u16::from(innovation.abs() > STRANGE_NS);
        let is_restless = self.jumps.count_ones() >= RESTLESS_JUMPS;
        let stamps = if is_restless { 2 * STRANGE_STAMPS } else { STRANGE_STAMPS };
        let latest = self.strange & (u16::MAX >> (u16::BITS - stamps));
        if latest.count_ones() + 1 >= stamps {
            return true;
        }
        let sigma = self.noise().sqrt();
        let clipped = innovation.clamp(-CLIP_EARLY * sigma, CLIP_LATE * sigma);
        self.spread += 0.02 * (clipped * clipped - self.spread);
        self.update(clipped);
        false
    }

    /// The same where stamps are coarse.
    fn observe_coarse(&mut self, window: Window, innovation: f64) -> bool {
        let window = Window {
            taken: window.taken + 1,
            earliest_ns: window.earliest_ns.min(innovation),
            latest_ns: window.latest_ns.max(innovation),
        };
        self.coarse = Some(window);
        if window.taken < WINDOW_STAMPS {
            return false;
        }
        self.coarse = Some(Window::EMPTY);
        let range = window.latest_ns - window.earliest_ns;
        if window.earliest_ns.abs() > STRANGE_NS.max(range / 2.0) {
            return true;
        }
        // The earliest of many that lie anywhere within the range.
        let sigma = self.noise().sqrt().max(range / f64::from(WINDOW_STAMPS));
        let clipped = window.earliest_ns.clamp(-CLIP_EARLY * sigma, CLIP_EARLY * sigma);
        self.spread += 0.2 * (clipped * clipped - self.spread);
        self.update(clipped);
        false
    }

    /// Learns from how stamps follow each other how coarse they are. That needs no line.
    fn note_jump(&mut self, frame: u64, raw_ns: i64) {
        let from_base = (frame as i64 - self.base_frame as i64) as f64 * self.nominal_ns;
        let late_ns = (raw_ns - self.base_ns) as f64 - from_base;
        if let Some(last_ns) = self.last_late_ns.replace(late_ns) {
            self.jumps = self.jumps << 1 | u64::from((late_ns - last_ns).abs() > JUMP_NS);
        }
        match (self.coarse, self.jumps.count_ones()) {
            (None, COARSE_JUMPS..) => {
                self.coarse = Some(Window::EMPTY);
                if self.spread > MISLED_NS * MISLED_NS {
                    // What was learnt from them so far was mostly how they jump.
                    self.drift = 0.0;
                    self.p = [[STRANGE_NS * STRANGE_NS, 0.0], [0.0, DRIFT_SIGMA * DRIFT_SIGMA]];
                }
            }
            (Some(_), ..RESTLESS_JUMPS) => self.coarse = None,
            _ => {}
        }
    }

    /// When `frame` begins to sound: the raw clock, ns.
    pub fn raw_at(&self, frame: u64) -> i64 {
        let from_base = (frame as i64 - self.base_frame as i64) as f64 * self.nominal_ns;
        let from_last = (frame as i64 - self.last_frame as i64) as f64 * self.nominal_ns;
        self.base_ns + (from_base + self.offset_ns + self.drift * from_last).round() as i64
    }

    /// Which frame sounds at a reading of the raw clock; negative before frame 0.
    pub fn frame_at(&self, raw_ns: i64) -> i64 {
        let since_last = (raw_ns - self.raw_at(self.last_frame)) as f64;
        let frames = since_last / (self.nominal_ns * (1.0 + self.drift));
        self.last_frame as i64 + frames.floor() as i64
    }

    fn anchor_stamps(&self) -> usize {
        match self.coarse {
            _ if self.settle == 0 => 1,
            Some(_) => COARSE_ANCHOR_STAMPS,
            None => ANCHOR_STAMPS,
        }
    }

    fn anchor(&mut self) {
        let stamps = self.anchor_stamps();
        let (from_frame, from_ns) = self.first[0];
        let lateness = |(frame, ns): &(u64, i64)| {
            let due_ns = (*frame as i64 - from_frame as i64) as f64 * self.nominal_ns;
            ns - from_ns - due_ns.round() as i64
        };
        let earliest = self.first[..stamps].iter().min_by_key(|stamp| lateness(stamp));
        (self.base_frame, self.base_ns) = *earliest.expect("it is anchored from stamps");
        self.last_frame = self.base_frame;
        self.last_late_ns = None;
        self.offset_ns = 0.0;
        self.p = [[self.noise(), 0.0], [0.0, self.p[1][1]]];
    }

    fn noise(&self) -> f64 {
        self.spread.max(STAMP_SIGMA_MIN_NS * STAMP_SIGMA_MIN_NS)
    }

    fn predict(&mut self, dt_ns: f64, dt: f64) {
        let [[p00, p01], [p10, p11]] = self.p;
        let offset_noise = OFFSET_WANDER_NS * OFFSET_WANDER_NS * dt;
        self.offset_ns += self.drift * dt_ns;
        self.p = [
            [p00 + dt_ns * (p01 + p10) + dt_ns * dt_ns * p11 + offset_noise, p01 + dt_ns * p11],
            [p10 + dt_ns * p11, p11 + DRIFT_WANDER * DRIFT_WANDER * dt],
        ];
    }

    fn update(&mut self, innovation: f64) {
        let [[p00, p01], [p10, p11]] = self.p;
        let total = p00 + self.noise();
        let (gain_offset, gain_drift) = (p00 / total, p10 / total);
        self.offset_ns += gain_offset * innovation;
        self.drift += gain_drift * innovation;
        self.p = [
            [(1.0 - gain_offset) * p00, (1.0 - gain_offset) * p01],
            [p10 - gain_drift * p00, p11 - gain_drift * p01],
        ];
    }
}
