//! Playing out in step: when a device's frames sound, and how to steer towards when they are due.
//!
//! [`DeviceClock`] turns a device's time stamps into a line *frame → raw clock*. [`Controller`]
//! turns the error (when a frame sounds minus when it is due) into a resampling rate that nobody
//! hears, or into a jump where that is hopeless.
//!
//! The controller sees the error at the frame that is rendered next, which it knows exactly but
//! for the device clock's noise. So there is no delay in the loop, and its gains only have to be
//! slow enough to be inaudible.

/// When the frames of an output device sound, by the raw clock: a line that follows its time
/// stamps.
///
/// A two-state Kalman filter (offset, drift) that does not trust its input. Stamps are noisy by
/// about ±12 µs on a good card. Where the pointer moves in steps they are *late* by up to a step
/// whenever the callback ran late, by milliseconds on a busy machine, but never early. So
/// innovations are weighed by their own measured spread and clipped by it, those that are late
/// more than those that are early.
#[derive(Clone, Debug)]
pub struct DeviceClock {
    nominal_ns: f64,
    settle: u32,
    to_drop: u32,
    /// The first stamps, from which the line is anchored: (frame, ns).
    first: [(u64, i64); ANCHOR_STAMPS],
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
    /// How many of the latest stamps lay far off the line: one bit each.
    strange: u8,
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
/// If all but one of eight stamps lie this far off, the device moved: frames were lost, or it stood
/// still.
const STRANGE_NS: f64 = 2e6;
const STRANGE_MIN: u32 = 7;

impl DeviceClock {
    /// For a device with `rate` frames a second whose first `settle` stamps after a start or an
    /// underrun are wrong; 0: for one whose stamps are exact.
    pub fn new(rate: u32, settle: u32) -> Self {
        Self {
            nominal_ns: 1e9 / f64::from(rate),
            settle,
            to_drop: settle,
            first: [(0, 0); ANCHOR_STAMPS],
            taken: 0,
            base_frame: 0,
            base_ns: 0,
            last_frame: 0,
            offset_ns: 0.0,
            drift: 0.0,
            p: [[0.0, 0.0], [0.0, DRIFT_SIGMA * DRIFT_SIGMA]],
            spread: STAMP_SIGMA_NS * STAMP_SIGMA_NS,
            strange: 0,
        }
    }

    /// Frames no longer follow the line (an underrun): anchor anew, and keep the drift.
    pub fn restart(&mut self) {
        self.to_drop = self.settle;
        self.taken = 0;
        self.strange = 0;
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
        self.strange = self.strange << 1 | u8::from(innovation.abs() > STRANGE_NS);
        if self.strange.count_ones() >= STRANGE_MIN {
            self.restart();
            return false;
        }
        let sigma = self.noise().sqrt();
        let clipped = innovation.clamp(-CLIP_EARLY * sigma, CLIP_LATE * sigma);
        self.spread += 0.02 * (clipped * clipped - self.spread);
        self.update(clipped);
        true
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
        if self.settle == 0 { 1 } else { ANCHOR_STAMPS }
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

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steering {
    /// Play the song faster than nominal by so many ppm of device frames.
    Rate(f64),
    /// Move to where it is due, with a short crossfade.
    Jump,
}

/// From the playout error to a rate: proportional and integral, bounded, and slow enough to be
/// inaudible.
///
/// 500 ppm are 0.9 cents. A 1 ms error is under 0.25 ms after 4 s. An error that steering could
/// only remove in many seconds jumps: one crossfade of 5 ms is better than being an audible echo
/// of the others for long.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    rate_ppm: f64,
    integral_ppm: f64,
    over_s: f64,
    moving: bool,
}

const PROPORTIONAL_PER_S: f64 = 0.5;
/// For what the estimated rate leaves, which is little: so slow that it hardly overshoots.
const INTEGRAL_PER_S2: f64 = 0.01;
const INTEGRAL_PPM_MAX: f64 = 100.0;
/// Larger errors are steps of an estimate or of a clock, and say nothing about its rate.
const INTEGRAL_ERROR_NS: f64 = 200e3;
/// Around the estimated rate.
const STEER_PPM_MAX: f64 = 500.0;
const SLEW_PPM_PER_S: f64 = 500.0;
/// A gap is heard from about 2 ms on.
const JUMP_ERROR_NS: f64 = 2e6;
const JUMP_AFTER_S: f64 = 1.0;

impl Controller {
    /// Aligned by other means (start, resume, underrun, jump): nothing to slew from.
    pub fn realigned(&mut self) {
        self.moving = false;
        self.over_s = 0.0;
    }

    /// The error `error_ns` of the next frame, positive if it sounds later than it is due;
    /// `estimated_ppm`, by how much faster than nominal the device's frames have to be played by
    /// what is known of its clock and shared time; and `dt_s`, how long the last rate held.
    pub fn steer(&mut self, error_ns: f64, estimated_ppm: f64, dt_s: f64) -> Steering {
        self.over_s = if error_ns.abs() > JUMP_ERROR_NS { self.over_s + dt_s } else { 0.0 };
        if self.over_s >= JUMP_AFTER_S {
            self.realigned();
            return Steering::Jump;
        }
        // 1 ns a second is 0.001 ppm.
        let proportional = PROPORTIONAL_PER_S * error_ns * 1e-3;
        let wanted = proportional + self.integral_ppm;
        if error_ns.abs() < INTEGRAL_ERROR_NS {
            let integral = self.integral_ppm + INTEGRAL_PER_S2 * error_ns * 1e-3 * dt_s;
            self.integral_ppm = integral.clamp(-INTEGRAL_PPM_MAX, INTEGRAL_PPM_MAX);
        }
        let target = estimated_ppm + wanted.clamp(-STEER_PPM_MAX, STEER_PPM_MAX);
        if self.moving {
            let step = SLEW_PPM_PER_S * dt_s;
            self.rate_ppm += (target - self.rate_ppm).clamp(-step, step);
        } else {
            self.rate_ppm = target;
            self.moving = true;
        }
        Steering::Rate(self.rate_ppm)
    }
}

#[cfg(test)]
mod tests;
