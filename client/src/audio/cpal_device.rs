//! Real devices, through cpal.
//!
//! Its time stamps are on a clock that belongs to the stream. We learn what that is on
//! CLOCK_MONOTONIC by reading both, again and again, since some cards' is the raw clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, ErrorKind, FromSample, I24, SampleFormat, SizedSample, StreamConfig, StreamInstant,
};
use cpal::{SupportedBufferSize, SupportedStreamConfigRange};
use jam_world::Clock;

use super::clocks::ClockPair;
use super::link::{BLOCK_FRAMES, CHANNELS, Feed, Line, link};
use super::{AudioError, alsa, priority};

/// A running cpal stream. Stops when dropped.
pub struct CpalDevice {
    /// For people.
    pub name: String,
    /// As `jam outputs` has it.
    pub id: String,
    /// Frames a second.
    pub rate: u32,
    stream: cpal::Stream,
    machine: Arc<dyn Clock>,
    clock: ClockPair,
    updated_ns: i64,
    lost: Arc<AtomicU8>,
}

/// An output that `--output` can name.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OutputInfo {
    /// What `--output` takes.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whether it is the default.
    pub default: bool,
}

/// Two such buffers are in the device: 43 ms at up to 48 kHz, and as long at other rates. Half of it underruns on a loaded machine.
const BUFFER_FRAMES: u32 = 1024;
const BUFFER_RATE: u32 = 48_000;
const RATES: [u32; 2] = [48_000, 44_100];
const UPDATE_EVERY_NS: i64 = 200_000_000;

/// Why a stream is gone.
const UNPLUGGED: u8 = 1;
const INVALIDATED: u8 = 2;

/// The outputs of a host (`None`: the usual one) that somebody could hear.
pub fn list_outputs(host: Option<&str>) -> Result<Vec<OutputInfo>, AudioError> {
    alsa::without_its_prints(|| outputs_of(&open_host(host)?))
}

fn outputs_of(host: &cpal::Host) -> Result<Vec<OutputInfo>, AudioError> {
    let default = host.default_output_device().and_then(|device| device.id().ok());
    let devices = host.output_devices().map_err(AudioError::Devices)?;
    let info = |device: cpal::Device| {
        let id = device.id().ok().filter(|id| !is_silent(id))?;
        let name = device
            .description()
            .map_or_else(|_| id.id().to_owned(), |about| about.name().to_owned());
        Some(OutputInfo { default: default.as_ref() == Some(&id), id: id.to_string(), name })
    };
    Ok(devices.filter_map(info).collect())
}

fn is_silent(id: &cpal::DeviceId) -> bool {
    id.host().name().eq_ignore_ascii_case("alsa") && alsa::is_silent(id.id())
}

impl CpalDevice {
    /// Opens and starts a device: by id, by a part of its name, or the default one.
    pub fn open(
        machine: Arc<dyn Clock>,
        wanted: Option<&str>,
        host: Option<&str>,
        gain: f32,
    ) -> Result<(Self, Line), AudioError> {
        alsa::without_its_prints(|| Self::open_in(machine, wanted, &open_host(host)?, gain))
    }

    fn open_in(
        machine: Arc<dyn Clock>,
        wanted: Option<&str>,
        host: &cpal::Host,
        gain: f32,
    ) -> Result<(Self, Line), AudioError> {
        let device = find_in(host, wanted)?;
        let name = device
            .description()
            .map_or_else(|_| "sound card".to_owned(), |about| about.name().to_owned());
        let id = device.id().map_or_else(|_| String::new(), |id| id.to_string());
        let failed = |source| AudioError::Open { device: name.clone(), source };
        let (config, format) = choose(device.supported_output_configs().map_err(failed)?, &name)?;
        let (line, feed) = link(config.sample_rate, gain);
        let lost = Arc::new(AtomicU8::new(0));
        let stream = match format {
            SampleFormat::F32 => start::<f32>(&device, config, feed, &lost, f32::INFINITY),
            SampleFormat::I32 => start::<i32>(&device, config, feed, &lost, f32::INFINITY),
            SampleFormat::I24 => start::<I24>(&device, config, feed, &lost, I24_MAX),
            _ => start::<i16>(&device, config, feed, &lost, f32::INFINITY),
        };
        let stream = stream.map_err(failed)?;
        stream.play().map_err(failed)?;
        let clock = ClockPair::new(machine.as_ref(), || instant_ns(stream.now()));
        let (rate, updated_ns) = (config.sample_rate, machine.mono_ns());
        Ok((Self { name, id, rate, stream, machine, clock, updated_ns, lost }, line))
    }

    /// Reads the stream's clock now and then.
    pub fn update(&mut self) {
        if self.machine.mono_ns() - self.updated_ns >= UPDATE_EVERY_NS {
            self.clock.update(self.machine.as_ref(), || instant_ns(self.stream.now()));
            self.updated_ns = self.machine.mono_ns();
        }
    }

    /// An instant of the stream's clock on CLOCK_MONOTONIC.
    pub fn mono_ns(&self, stream_ns: i64) -> i64 {
        self.clock.mono(stream_ns)
    }

    /// Why the stream is gone.
    pub fn lost(&self) -> Option<&'static str> {
        match self.lost.load(Ordering::Relaxed) {
            UNPLUGGED => Some("the device was unplugged"),
            INVALIDATED => Some("the device has changed"),
            _ => None,
        }
    }
}

pub(crate) fn open_host(name: Option<&str>) -> Result<cpal::Host, AudioError> {
    let hosts = cpal::available_hosts();
    let Some(name) = name else {
        // cpal's own default is another host where more of them are built in.
        let alsa = hosts.iter().find(|host| host.name().eq_ignore_ascii_case("alsa"));
        return alsa.map_or_else(
            || Ok(cpal::default_host()),
            |host| cpal::host_from_id(*host).map_err(AudioError::Devices),
        );
    };
    match hosts.iter().find(|host| host.name().eq_ignore_ascii_case(name)) {
        Some(host) => cpal::host_from_id(*host).map_err(AudioError::Devices),
        None => Err(AudioError::NoHost {
            name: name.to_owned(),
            there: hosts
                .iter()
                .map(|host| host.name().to_ascii_lowercase())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// The output that `wanted` names by its id or by a part of its name; `None`: the default one.
pub(crate) fn find(host: &cpal::Host, wanted: Option<&str>) -> Result<cpal::Device, AudioError> {
    alsa::without_its_prints(|| find_in(host, wanted))
}

fn find_in(host: &cpal::Host, wanted: Option<&str>) -> Result<cpal::Device, AudioError> {
    let Some(wanted) = wanted else {
        let device = host.default_output_device().ok_or(AudioError::NoDevice)?;
        // ALSA has a default also where there is no card.
        let silent = device.id().is_ok_and(|id| is_silent(&id));
        if silent && outputs_of(host).is_ok_and(|outputs| outputs.is_empty()) {
            return Err(AudioError::NoDevice);
        }
        return Ok(device);
    };
    let devices: Vec<_> = host.output_devices().map_err(AudioError::Devices)?.collect();
    let has_id = |device: &&cpal::Device| {
        device.id().is_ok_and(|id| id.to_string() == wanted || id.id() == wanted)
    };
    let lower = wanted.to_lowercase();
    let has_name = |device: &&cpal::Device| {
        device.description().is_ok_and(|about| about.name().to_lowercase().contains(&lower))
    };
    let found = devices.iter().find(has_id).or_else(|| devices.iter().find(has_name));
    // ALSA's null device takes sound as fast as it is given, which keeps a processor busy.
    let found = found.filter(|device| !device.id().is_ok_and(|id| is_silent(&id)));
    found.cloned().ok_or_else(|| AudioError::UnknownDevice(wanted.to_owned()))
}

/// From the best on.
const FORMATS: [SampleFormat; 4] =
    [SampleFormat::F32, SampleFormat::I32, SampleFormat::I24, SampleFormat::I16];
/// The highest sample that fits: its conversion from floats wraps around above that, where those of the others saturate.
const I24_MAX: f32 = 1.0 - 1.0 / (1 << 23) as f32;

/// The best of what the device offers: our rates before others, floats before integers, stereo
/// before the rest.
fn choose(
    offered: impl Iterator<Item = SupportedStreamConfigRange>,
    name: &str,
) -> Result<(StreamConfig, SampleFormat), AudioError> {
    let rated = |range: SupportedStreamConfigRange| {
        let (least, most) = (range.min_sample_rate(), range.max_sample_rate());
        let usual = RATES.iter().position(|rate| (least..=most).contains(rate));
        let rate = usual.map_or_else(|| RATES[0].clamp(least, most), |index| RATES[index]);
        let format = FORMATS.iter().position(|format| *format == range.sample_format())?;
        let channels = range.channels();
        let odd_channels =
            if channels == CHANNELS as u16 { 0 } else { 1 + channels.abs_diff(CHANNELS as u16) };
        Some(((usual.unwrap_or(RATES.len()), odd_channels, format), rate, range))
    };
    let best = offered.filter_map(rated).min_by_key(|(rank, ..)| *rank);
    let (_, sample_rate, range) = best.ok_or_else(|| AudioError::NoFormat(name.to_owned()))?;
    let wanted = BUFFER_FRAMES * sample_rate.div_ceil(BUFFER_RATE);
    let frames = match range.buffer_size() {
        SupportedBufferSize::Range { min, max } => wanted.clamp(*min, (*max).max(*min)),
        SupportedBufferSize::Unknown => wanted,
    };
    let config = StreamConfig {
        channels: range.channels(),
        sample_rate,
        buffer_size: BufferSize::Fixed(frames),
    };
    Ok((config, range.sample_format()))
}

fn start<T: SizedSample + FromSample<f32>>(
    device: &cpal::Device,
    config: StreamConfig,
    mut feed: Feed,
    lost: &Arc<AtomicU8>,
    top: f32,
) -> Result<cpal::Stream, cpal::Error> {
    let channels = usize::from(config.channels);
    let (mishaps, lost) = (feed.mishaps(), Arc::clone(lost));
    let mut stereo = [0.0; BLOCK_FRAMES * CHANNELS];
    let mut raised = false;
    device.build_output_stream::<T, _, _>(
        config,
        move |out, info| {
            if !raised {
                // Where it is not allowed, the player's own thread has told.
                let _ = priority::raise();
                raised = true;
            }
            feed.stamp(out.len() / channels, instant_ns(info.timestamp().playback));
            for part in out.chunks_mut(BLOCK_FRAMES * channels) {
                let sound = &mut stereo[..part.len() / channels * CHANNELS];
                feed.fill(sound);
                spread(sound, part, channels, top);
            }
        },
        // This runs between callbacks: it does not log or lock either.
        move |error| match error.kind() {
            ErrorKind::Xrun => mishaps.ran_out(),
            ErrorKind::DeviceChanged => mishaps.moved(),
            ErrorKind::DeviceNotAvailable => lost.store(UNPLUGGED, Ordering::Relaxed),
            ErrorKind::StreamInvalidated => lost.store(INVALIDATED, Ordering::Relaxed),
            // If sound stops coming through, the player opens the device anew.
            _ => {}
        },
        None,
    )
}

/// Stereo to the device's channels: the mean for one, silence on more than two. No sample is further than `top` from 0.
fn spread<T: FromSample<f32> + Copy>(stereo: &[f32], out: &mut [T], channels: usize, top: f32) {
    let held = |sample: f32| sample.clamp(-top, top);
    for (from, to) in stereo.chunks_exact(CHANNELS).zip(out.chunks_exact_mut(channels)) {
        if let [mono] = to {
            *mono = T::from_sample_(held(0.5 * (from[0] + from[1])));
            continue;
        }
        for (n, sample) in to.iter_mut().enumerate() {
            *sample = T::from_sample_(held(from.get(n).copied().unwrap_or(0.0)));
        }
    }
}

fn instant_ns(instant: StreamInstant) -> i64 {
    instant.as_nanos() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stereo_fits_on_any_channels() {
        let (stereo, top) = ([0.5, -0.5, 1.0, 0.0], f32::INFINITY);
        let mut mono = [9.0f32; 2];
        spread(&stereo, &mut mono, 1, top);
        assert_eq!(mono, [0.0, 0.5]);
        for channels in [4, 6, 8] {
            let mut many = vec![9.0f32; 2 * channels];
            spread(&stereo, &mut many, channels, top);
            let (first, second) = many.split_at(channels);
            assert_eq!((&first[..2], &second[..2]), (&[0.5, -0.5][..], &[1.0, 0.0][..]));
            assert!(first[2..].iter().chain(&second[2..]).all(|sample| *sample == 0.0));
        }
    }

    #[test]
    fn every_format_holds_full_scale_and_what_is_above() {
        let stereo = [1.0, -1.0, 1.5, -1.5];
        let mut short = [9i16; 4];
        spread(&stereo, &mut short, 2, f32::INFINITY);
        assert_eq!(short, [i16::MAX, i16::MIN, i16::MAX, i16::MIN]);
        let mut long = [9i32; 4];
        spread(&stereo, &mut long, 2, f32::INFINITY);
        assert_eq!(long, [i32::MAX, i32::MIN, i32::MAX, i32::MIN]);
        let mut packed = [I24::new(9).expect("it is small"); 4];
        spread(&stereo, &mut packed, 2, I24_MAX);
        let most = (1 << 23) - 1;
        assert_eq!(packed.map(I24::inner), [most, -most, most, -most]);
    }

    #[test]
    fn at_any_rate_a_buffer_lasts_as_long() {
        for (rate, frames) in [(44_100, 1024), (96_000, 2048), (192_000, 4096)] {
            let sizes = SupportedBufferSize::Range { min: 64, max: 1 << 16 };
            let offered = SupportedStreamConfigRange::new(2, rate, rate, sizes, SampleFormat::I24);
            let (config, format) = choose([offered].into_iter(), "card").expect("it fits");
            assert_eq!((config.sample_rate, format), (rate, SampleFormat::I24));
            assert_eq!(config.buffer_size, BufferSize::Fixed(frames));
        }
    }

    #[test]
    fn the_usual_rate_in_floats_is_chosen() {
        let range = |channels, least, most, format| {
            let sizes = SupportedBufferSize::Range { min: 64, max: 512 };
            SupportedStreamConfigRange::new(channels, least, most, sizes, format)
        };
        let offered = [
            range(8, 8_000, 192_000, SampleFormat::F32),
            range(2, 44_100, 48_000, SampleFormat::I16),
            range(2, 44_100, 48_000, SampleFormat::F32),
            range(2, 44_100, 44_100, SampleFormat::F32),
            range(2, 8_000, 192_000, SampleFormat::U8),
        ];
        let (config, format) = choose(offered.into_iter(), "card").expect("something fits");
        assert_eq!((config.channels, config.sample_rate, format), (2, 48_000, SampleFormat::F32));
        assert_eq!(config.buffer_size, BufferSize::Fixed(512));
        assert!(choose(std::iter::empty(), "card").is_err());
    }
}
