//! Hears the clicks with a microphone: how much later than stated each one comes.

use std::sync::{Arc, Mutex, PoisonError};

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{SampleFormat, StreamInstant};

use super::clicks::{CLICK_FRAMES, RATE, click, hz};

/// Seconds that are recorded: as much as is needed to hear each kind of click a few times.
pub const LISTEN_S: u64 = 10;
/// A click is taken for heard if it stands out from the rest by so much.
const CLEAR: f32 = 6.0;
/// Clicks that have to be heard, and how far their delays may lie apart: ns.
const HEARD_MIN: usize = 5;
const APART_NS_MAX: i64 = 2_000_000;
/// How far from its second a click is looked for, either way: ns.
const AROUND_NS: i64 = 450_000_000;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum NotHeard {
    /// There is none, or it can't be used.
    #[error("there is no microphone that can be used ({0})")]
    NoMicrophone(String),
    /// Too quiet, or too noisy.
    #[error(
        "only {0} clicks were clear enough; turn the volume up, or bring the microphone nearer"
    )]
    TooFew(usize),
    /// They contradict each other.
    #[error("the clicks came {} ms apart from each other; try again where it is quiet", .0 / 1_000_000)]
    Scattered(i64),
}

/// What a microphone took in, in mono.
#[derive(Debug, Default)]
pub struct Recording {
    /// Frames a second.
    pub rate: u32,
    /// Samples from the first one on.
    pub samples: Vec<f32>,
    /// For each callback: how many samples were there before, and when its first one was in the air by the stream's clock, ns.
    pub stamps: Vec<(usize, i64)>,
}

/// A running recording.
pub struct Microphone {
    stream: cpal::Stream,
    taken: Arc<Mutex<Recording>>,
}

impl Microphone {
    /// Opens the default input of a host.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(host: &cpal::Host) -> Result<Self, NotHeard> {
        let none = |error: cpal::Error| NotHeard::NoMicrophone(error.to_string());
        let device = host
            .default_input_device()
            .ok_or_else(|| NotHeard::NoMicrophone("the system has no input".to_owned()))?;
        let offered = device.default_input_config().map_err(none)?;
        if offered.sample_format() != SampleFormat::F32
            && offered.sample_format() != SampleFormat::I16
        {
            return Err(NotHeard::NoMicrophone("it gives neither floats nor 16 bits".to_owned()));
        }
        let (config, channels) = (offered.config(), usize::from(offered.channels().max(1)));
        let taken =
            Arc::new(Mutex::new(Recording { rate: config.sample_rate, ..Recording::default() }));
        let keep = taken.clone();
        // No music depends on this callback: it may wait for its lock.
        let take = move |at: StreamInstant, mono: &mut dyn Iterator<Item = f32>| {
            let mut taken = keep.lock().unwrap_or_else(PoisonError::into_inner);
            let before = taken.samples.len();
            taken.stamps.push((before, at.as_nanos() as i64));
            taken.samples.extend(mono);
        };
        let failed = |error| tracing::warn!("the microphone: {error}");
        let stream = match offered.sample_format() {
            SampleFormat::F32 => device.build_input_stream::<f32, _, _>(
                config,
                move |input, info| {
                    let mut mono = input.chunks_exact(channels).map(|frame| frame[0]);
                    take(info.timestamp().capture, &mut mono);
                },
                failed,
                None,
            ),
            _ => device.build_input_stream::<i16, _, _>(
                config,
                move |input, info| {
                    let mut mono =
                        input.chunks_exact(channels).map(|frame| f32::from(frame[0]) / 32768.0);
                    take(info.timestamp().capture, &mut mono);
                },
                failed,
                None,
            ),
        };
        let stream = stream.map_err(none)?;
        stream.play().map_err(none)?;
        Ok(Self { stream, taken })
    }

    /// The stream's clock now, ns.
    pub fn now_ns(&self) -> i64 {
        self.stream.now().as_nanos() as i64
    }

    /// Ends the recording.
    pub fn stop(self) -> Recording {
        drop(self.stream);
        std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How much later than at its second each click was in the air, as the median: ns. `second_at` gives the instant of a second of
/// shared time by the stream's clock, for the seconds from `first` on.
///
/// # Errors
/// If too few are clear, or they contradict each other.
pub fn delay(
    recording: &Recording,
    first: u64,
    seconds: u64,
    second_at: impl Fn(u64) -> i64,
) -> Result<i64, NotHeard> {
    let heard =
        (first..first + seconds).filter_map(|second| find(recording, second, second_at(second)));
    let mut delays: Vec<i64> = heard.collect();
    delays.sort_unstable();
    if delays.len() < HEARD_MIN {
        return Err(NotHeard::TooFew(delays.len()));
    }
    // A clap or a step may be among them.
    let inner = &delays[delays.len() / 4..=delays.len() * 3 / 4];
    let apart_ns = inner[inner.len() - 1] - inner[0];
    if apart_ns > APART_NS_MAX {
        return Err(NotHeard::Scattered(apart_ns));
    }
    Ok(delays[delays.len() / 2])
}

/// How much later than `due_ns` the click of a second is found, if it is.
fn find(recording: &Recording, second: u64, due_ns: i64) -> Option<i64> {
    let rate = i64::from(recording.rate);
    let index = |ns: i64| place(recording, ns);
    let (from, to) = (index(due_ns - AROUND_NS)?, index(due_ns + AROUND_NS)?);
    let template: Vec<f32> = (0..CLICK_FRAMES * rate as u64 / u64::from(RATE))
        .map(|n| click(n * u64::from(RATE) / rate as u64, hz(second)))
        .collect();
    let around = recording.samples.get(from..to + template.len())?;
    let likeness =
        |window: &[f32]| -> f32 { window.iter().zip(&template).map(|(a, b)| a * b).sum() };
    let likenesses: Vec<f32> = around.windows(template.len()).map(likeness).collect();
    let best = (0..likenesses.len()).max_by(|a, b| likenesses[*a].total_cmp(&likenesses[*b]))?;
    let mean = likenesses.iter().map(|one| one.abs()).sum::<f32>() / likenesses.len() as f32;
    (likenesses[best] > CLEAR * mean).then(|| instant(recording, from + best) - due_ns)
}

/// Which sample was in the air at an instant.
fn place(recording: &Recording, ns: i64) -> Option<usize> {
    let next = recording.stamps.partition_point(|(_, at)| *at <= ns);
    let (before, at) = *recording.stamps.get(next.checked_sub(1)?)?;
    Some(before + ((ns - at) * i64::from(recording.rate) / 1_000_000_000) as usize)
}

/// When a sample was in the air.
fn instant(recording: &Recording, sample: usize) -> i64 {
    let next = recording.stamps.partition_point(|(before, _)| *before <= sample);
    let (before, at) = recording.stamps[next.saturating_sub(1)];
    at + (sample - before) as i64 * 1_000_000_000 / i64::from(recording.rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room in which each click comes `delay_ns` late, over noise.
    fn recorded(rate: u32, delay_ns: i64, loudness: f32) -> Recording {
        let mut recording = Recording { rate, ..Recording::default() };
        let mut noise = 1u32;
        for n in 0..(LISTEN_S + 2) * u64::from(rate) {
            if n % 512 == 0 {
                let at = n as i64 * 1_000_000_000 / i64::from(rate);
                recording.stamps.push((n as usize, at));
            }
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = (noise >> 16) as f32 / 65_536.0 * 0.1 - 0.05;
            let since_ns = n as i64 * 1_000_000_000 / i64::from(rate) - delay_ns;
            let (second, within) = (since_ns / 1_000_000_000, since_ns % 1_000_000_000);
            let frame = (within * i64::from(RATE) / 1_000_000_000) as u64;
            let clicks = since_ns >= 0 && frame < CLICK_FRAMES;
            let tick = if clicks { loudness * click(frame, hz(second as u64)) } else { 0.0 };
            recording.samples.push(hiss + tick);
        }
        recording
    }

    fn delay_of(recording: &Recording) -> Result<i64, NotHeard> {
        delay(recording, 1, LISTEN_S, |second| second as i64 * 1_000_000_000)
    }

    #[test]
    fn a_delay_is_found_to_a_sample() {
        for (rate, delay_ns) in
            [(48_000, 0), (44_100, 180_000_000), (16_000, 7_300_000), (48_000, -3_000_000)]
        {
            let found = delay_of(&recorded(rate, delay_ns, 0.5)).expect("it is clear");
            let sample_ns = 1_000_000_000 / i64::from(rate);
            assert!((found - delay_ns).abs() <= 2 * sample_ns, "{rate}: {found} for {delay_ns}");
        }
    }

    #[test]
    fn what_is_not_heard_is_no_result() {
        assert!(matches!(
            delay_of(&recorded(48_000, 0, 0.0)),
            Err(NotHeard::TooFew(_) | NotHeard::Scattered(_))
        ));
        assert!(matches!(delay_of(&Recording::default()), Err(NotHeard::TooFew(0))));
    }
}
