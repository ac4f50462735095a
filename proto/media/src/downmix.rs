//! Any number of channels to two.

use symphonia::core::audio::{Channels, Position};

/// How loud each channel of the original is on the left and on the right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Downmix {
    gains: Vec<[f32; 2]>,
}

/// -3 dB: what is in the middle sounds from both sides and stays as loud as it was
/// (ITU-R BS.775-3, annex 4).
const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

impl Downmix {
    /// For a layout. `gain` is applied to everything.
    pub(crate) fn new(channels: &Channels, gain: f32) -> Self {
        let mut gains = match channels {
            _ if channels.count() == 1 => vec![[1.0, 1.0]],
            _ if channels.count() == 2 => vec![[1.0, 0.0], [0.0, 1.0]],
            Channels::Positioned(positions) => positions.iter().map(side).collect(),
            _ => vec![[HALF_POWER, HALF_POWER]; channels.count()],
        };
        // Loud in all channels at once must not clip.
        let sum = |of: usize| gains.iter().map(|pair| pair[of]).sum::<f32>();
        let scale = if gains.len() > 1 { gain / sum(0).max(sum(1)).max(1.0) } else { gain };
        for side in gains.iter_mut().flatten() {
            *side *= scale;
        }
        Self { gains }
    }

    /// Appends the interleaved frames of `from` to `to`, as interleaved stereo.
    pub(crate) fn mix(&self, from: &[f32], to: &mut Vec<f32>) {
        for frame in from.chunks_exact(self.gains.len().max(1)) {
            let mut out = [0.0; 2];
            for (sample, [left, right]) in frame.iter().zip(&self.gains) {
                out[0] += sample * left;
                out[1] += sample * right;
            }
            to.extend_from_slice(&out);
        }
    }
}

fn side(position: Position) -> [f32; 2] {
    let left = Position::FRONT_LEFT
        | Position::FRONT_LEFT_CENTER
        | Position::FRONT_LEFT_WIDE
        | Position::TOP_FRONT_LEFT
        | Position::BOTTOM_FRONT_LEFT;
    let right = Position::FRONT_RIGHT
        | Position::FRONT_RIGHT_CENTER
        | Position::FRONT_RIGHT_WIDE
        | Position::TOP_FRONT_RIGHT
        | Position::BOTTOM_FRONT_RIGHT;
    let behind_left = Position::REAR_LEFT
        | Position::SIDE_LEFT
        | Position::TOP_REAR_LEFT
        | Position::TOP_SIDE_LEFT;
    let behind_right = Position::REAR_RIGHT
        | Position::SIDE_RIGHT
        | Position::TOP_REAR_RIGHT
        | Position::TOP_SIDE_RIGHT;
    if left.contains(position) {
        [1.0, 0.0]
    } else if right.contains(position) {
        [0.0, 1.0]
    } else if behind_left.contains(position) {
        [HALF_POWER, 0.0]
    } else if behind_right.contains(position) {
        [0.0, HALF_POWER]
    } else if (Position::LFE1 | Position::LFE2).contains(position) {
        // Left out, as BS.775 has it: it is made for one loudspeaker that stereo does not have.
        [0.0, 0.0]
    } else {
        [HALF_POWER, HALF_POWER]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(channels: Channels, frame: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        Downmix::new(&channels, 1.0).mix(frame, &mut out);
        out
    }

    #[test]
    fn one_and_two_channels_are_untouched() {
        assert_eq!(mixed(Position::FRONT_CENTER.into(), &[0.5, -1.0]), [0.5, 0.5, -1.0, -1.0]);
        let stereo = Position::FRONT_LEFT | Position::FRONT_RIGHT;
        assert_eq!(mixed(stereo.into(), &[0.25, -0.75]), [0.25, -0.75]);
    }

    #[test]
    fn surround_keeps_its_sides_and_never_clips() {
        let surround = Position::FRONT_LEFT
            | Position::FRONT_RIGHT
            | Position::FRONT_CENTER
            | Position::LFE1
            | Position::REAR_LEFT
            | Position::REAR_RIGHT;
        let left_only = mixed(surround.into(), &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert!(left_only[0] > 0.5 && left_only[1] == 0.0);
        let all = mixed(surround.into(), &[1.0; 6]);
        assert!(all.iter().all(|sample| *sample <= 1.0 + f32::EPSILON));
        assert_eq!(mixed(Channels::Discrete(4), &[1.0; 4]).len(), 2);
    }
}
