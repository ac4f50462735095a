//! Playing out in step: when a device's frames sound, and how to steer towards when they are due.
//!
//! [`DeviceClock`] turns a device's time stamps into a line *frame → raw clock*. [`Controller`]
//! turns the error (when a frame sounds minus when it is due) into a resampling rate that nobody
//! hears, or into a jump where that is hopeless.
//!
//! The controller sees the error at the frame that is rendered next, which it knows exactly but
//! for the device clock's noise. So there is no delay in the loop, and its gains only have to be
//! slow enough to be inaudible.

mod device_clock;

pub use device_clock::DeviceClock;

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
