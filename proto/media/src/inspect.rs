//! Decodes a song once, to know its exact length and that it can be played.

use std::collections::VecDeque;
use std::io::{ErrorKind, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::errors::Error;
use symphonia::core::formats::well_known::{
    FORMAT_ID_ADTS, FORMAT_ID_AIFF, FORMAT_ID_CAF, FORMAT_ID_FLAC, FORMAT_ID_ISOMP4, FORMAT_ID_MKV,
    FORMAT_ID_MP2, FORMAT_ID_MP3, FORMAT_ID_OGG, FORMAT_ID_WAVE,
};

use crate::demux::{Demux, Placed, unreadable};
use crate::elementary::{self, Kind};
use crate::ending::Ending;
use crate::loudness::Loudness;
use crate::measure::{self, Heard};
use crate::segments::is_pcm;
use crate::voice::{Outcome, Voice};
use crate::{Cover, Refusal, Source, Tags, sbr};

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds of a song.
    pub secs_max: u64,
}

/// What a song is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SongInfo {
    /// Exact length: frames decoded and trimmed.
    pub frames: u64,
    /// Frames per second.
    pub sample_rate: u32,
    /// Frames that are missing at the end: fewer than a second, or it would be refused.
    pub missing_frames: u64,
    /// Channels of the original.
    pub channels: u32,
    /// Short name of the codec: `mp3`, `flac`, `aac`, …
    pub codec: String,
    /// What the file says about itself.
    pub tags: Tags,
    /// How loud it is; none: it is silent, or very short.
    pub loudness: Option<Loudness>,
    /// What it looks like: at most 1,000 points, at least 500 if it has as many frames. Each is the peak of both
    /// channels over the same number of frames, a power of two: the smallest with which there are so many points.
    /// From 0, silence, to 255, full scale and above, rounded up. Linear, as sound is drawn everywhere: a picture in
    /// decibels can be made from it down to -48.
    pub waveform: Vec<u8>,
    /// Its front cover, or else the first picture that it has.
    pub cover: Option<Cover>,
}

/// Frames per second. Telephones have 8,000; the highest rate that converters have is 768 kHz.
const RATE_MIN: u32 = 1_000;
const RATE_MAX: u32 = 768_000;
/// A hole that the container admits to, in seconds. Longer ones are no scratch but a broken file.
const GAP_SECS_MAX: u64 = 10;
/// One packet in this many may fail to decode.
const FAILED_MAX: u64 = 20;
/// A file cut out of a longer one starts with frames that need what is not there.
const FIRST_PACKETS: u64 = 2;

/// Decodes all of a song and says what it is, or why it is refused. Takes seconds for an hour of
/// music.
pub fn inspect(source: Source, limits: Limits) -> Result<SongInfo, Refusal> {
    // The parsers below read what strangers send. A panic in one of them is a bug there, and the file
    // one that it can't read.
    catch_unwind(AssertUnwindSafe(|| inspect_all(source, limits)))
        .unwrap_or_else(|_| Err(Refusal::Damaged("its contents make no sense".to_owned())))
}

fn inspect_all(source: Source, limits: Limits) -> Result<SongInfo, Refusal> {
    let mut demux = Demux::open(source)?;
    let kind = match demux.format {
        FORMAT_ID_MP3 => Some(Kind::Mp3),
        FORMAT_ID_MP2 => Some(Kind::Mp2),
        FORMAT_ID_ADTS => Some(Kind::Adts),
        _ => None,
    };
    let mut facts = None;
    if let Some(kind) = kind
        && let Some(mut stream) = demux.take_stream()
    {
        let length = stream.seek(SeekFrom::End(0)).map_err(unreadable)?;
        facts = Some(elementary::walk(&mut stream, length, kind)?);
        demux = demux.reopen(stream)?;
    }
    check_headers(&demux, limits)?;
    if let Some(facts) = &facts {
        check_elementary(facts)?;
    }

    let mut voice = Voice::new(&demux.params)?;
    let (rate, delay) = (demux.sample_rate(), demux.delay);
    let (counted, measures) = measure::beside(rate, delay, |heard| {
        count(&mut demux, &mut voice, limits, facts.is_some(), heard)
    });
    let counted = counted?;
    let Some((sample_rate, channels)) = voice.spec() else {
        return Err(if counted.failed > 0 { not_decoding(&counted) } else { Refusal::NoSound });
    };
    check_rate(sample_rate)?;
    if sample_rate != demux.sample_rate() {
        let told = demux.sample_rate();
        return Err(Refusal::FormatChanges(format!(
            "{told} Hz by its headers, then {sample_rate} Hz"
        )));
    }
    if counted.failed * FAILED_MAX > counted.packets {
        return Err(not_decoding(&counted));
    }
    let missing_frames = ending(&demux, &counted, facts.as_ref()).missing()?;
    let frames = trimmed(&demux, counted.end, facts.as_ref());
    if frames == 0 {
        return Err(Refusal::NoSound);
    }
    Ok(SongInfo {
        frames,
        sample_rate,
        channels: u32::try_from(channels).unwrap_or(u32::MAX),
        missing_frames,
        codec: codec_name(voice.codec_info()),
        tags: std::mem::take(&mut demux.tags),
        loudness: measures.meter.loudness(),
        waveform: measures.waveform.points(frames),
        cover: std::mem::take(&mut demux.pictures).cover(),
    })
}

/// What the headers alone rule out, before time is spent on the rest.
fn check_headers(demux: &Demux, limits: Limits) -> Result<(), Refusal> {
    let config = demux.params.extra_data.as_deref().unwrap_or_default();
    if demux.params.codec == CODEC_ID_AAC && sbr::announced(config) {
        return Err(Refusal::HeAac);
    }
    // The decoders of AAC and Opus here have no more. Symphonia's of Vorbis undoes channel coupling from the first pair on;
    // the specification (Vorbis I, 4.3.5) says from the last.
    let channels = demux.params.channels.as_ref().map_or(0, |channels| channels.count());
    let stereo_only = match demux.params.codec {
        CODEC_ID_VORBIS => Some("Vorbis"),
        CODEC_ID_AAC => Some("AAC"),
        CODEC_ID_OPUS => Some("Opus"),
        // Which of them is which is guessed from their number.
        _ if demux.format == FORMAT_ID_CAF => Some("sound in a Core Audio file (CAF)"),
        _ => None,
    };
    if let Some(codec) = stereo_only.filter(|_| channels > 2) {
        return Err(Refusal::Channels { codec, channels });
    }
    if demux.mp4.as_ref().is_some_and(|facts| facts.edits_of(demux.track.id).len() > 1) {
        return Err(Refusal::EditList);
    }
    // Of the others a length is only guessed from the file's size.
    let told =
        matches!(demux.format, FORMAT_ID_WAVE | FORMAT_ID_AIFF | FORMAT_ID_FLAC | FORMAT_ID_ISOMP4);
    let claim =
        demux.track.duration.filter(|_| told).map_or(0, |duration| demux.in_frames(duration.get()));
    check_rate(demux.sample_rate())?;
    over_limit(claim, demux.sample_rate(), limits)
}

/// What no converter has is a lie, or made to trip us.
fn check_rate(rate: u32) -> Result<(), Refusal> {
    if !(RATE_MIN..=RATE_MAX).contains(&rate) {
        return Err(Refusal::OutOfBounds(format!("{rate} frames per second")));
    }
    Ok(())
}

fn over_limit(frames: u64, sample_rate: u32, limits: Limits) -> Result<(), Refusal> {
    if frames > limits.secs_max.saturating_mul(u64::from(sample_rate)) {
        return Err(Refusal::TooLong { limit_secs: limits.secs_max });
    }
    Ok(())
}

#[derive(Default)]
struct Counted {
    /// Where the raw line ends.
    end: u64,
    packets: u64,
    /// The most that one had.
    packet_frames: u64,
    failed: u64,
    /// Where the last packets begin, as many as a page of Ogg may have.
    last_starts: VecDeque<u64>,
}

/// Packets of a page of Ogg: one for each segment.
const PAGE_PACKETS_MAX: usize = 255;

impl Counted {
    fn count(&mut self, placed: &Placed) {
        self.packets += 1;
        self.packet_frames = self.packet_frames.max(placed.frames);
        self.end = self.end.max(placed.start + placed.frames);
        if self.last_starts.len() == PAGE_PACKETS_MAX {
            self.last_starts.pop_front();
        }
        self.last_starts.push_back(placed.start);
    }

    /// Where the raw line ends before the last packets.
    fn before_last(&self, packets: usize) -> u64 {
        let first = self.last_starts.len().checked_sub(packets);
        first.and_then(|first| self.last_starts.get(first)).copied().unwrap_or(self.end)
    }
}

/// `walked`: whether the sound is the same all the way is known.
fn count(
    demux: &mut Demux,
    voice: &mut Voice,
    limits: Limits,
    walked: bool,
    heard: &mut Heard,
) -> Result<Counted, Refusal> {
    let rate = demux.sample_rate();
    let mut counted = Counted::default();
    let mut watch = sbr::Watch::default();
    let mut sound = Vec::new();
    loop {
        let placed = match demux.next() {
            Ok(Some(placed)) => placed,
            Ok(None) => return Ok(counted),
            Err(error) => return Err(cut_short(error)),
        };
        if placed.start > counted.end + GAP_SECS_MAX * u64::from(rate) {
            return Err(Refusal::Damaged(format!(
                "more than {GAP_SECS_MAX} seconds of it are missing"
            )));
        }
        if demux.params.codec == CODEC_ID_AAC {
            watch.see(&placed.packet.data);
            if watch.found() {
                return Err(Refusal::HeAac);
            }
        }
        counted.count(&placed);
        over_limit(counted.end, rate, limits)?;
        sound.clear();
        match voice.decode(&placed, &mut sound) {
            Outcome::Whole => {}
            Outcome::Changed(how) if !walked => return Err(Refusal::FormatChanges(how)),
            // Junk between the frames looked like one.
            Outcome::Failed | Outcome::Changed(_) => {
                counted.failed += u64::from(counted.packets > FIRST_PACKETS);
            }
        }
        heard.hear(placed.start, &sound);
    }
}

pub(crate) fn cut_short(error: Error) -> Refusal {
    match error {
        Error::ResetRequired => Refusal::ChainedOgg,
        Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Refusal::Truncated("it ends before the song does".to_owned())
        }
        Error::IoError(error) => unreadable(error),
        Error::LimitError(what) => Refusal::OutOfBounds(what.to_owned()),
        error => Refusal::Damaged(error.to_string()),
    }
}

fn not_decoding(counted: &Counted) -> Refusal {
    Refusal::Damaged(format!("{} of its {} packets do not decode", counted.failed, counted.packets))
}

fn check_elementary(facts: &elementary::Facts) -> Result<(), Refusal> {
    // Among random bytes something looks like a frame now and then.
    if facts.covered * 2 < facts.bytes {
        return Err(Refusal::NotAudio);
    }
    if let Some(change) = &facts.change {
        return Err(Refusal::FormatChanges(change.clone()));
    }
    Ok(())
}

/// What is there of the song, and what its headers promise.
fn ending(demux: &Demux, counted: &Counted, facts: Option<&elementary::Facts>) -> Ending {
    let found = counted.end;
    let mut broken = if demux.broken_off { counted.packet_frames } else { 0 };
    let promised = match demux.format {
        FORMAT_ID_OGG => Some(counted.before_last(demux.cut_page.packets))
            .map(|before| before.saturating_add(demux.cut_page.frames))
            .filter(|_| demux.cut_page.frames > 0),
        FORMAT_ID_WAVE | FORMAT_ID_AIFF => {
            Some(found.saturating_add(demux.missing_frames)).filter(|_| demux.missing_frames > 0)
        }
        FORMAT_ID_FLAC => demux.track.num_frames.filter(|claim| *claim > 0),
        FORMAT_ID_ISOMP4 => mp4_promise(demux, counted.packet_frames),
        FORMAT_ID_CAF => {
            let told = demux.track.num_frames.map(|frames| demux.in_line(frames));
            // Encoders fill up the last packet there, so less than one is none.
            let fill = if is_pcm(demux.params.codec) { 1 } else { counted.packet_frames };
            told.filter(|told| told.saturating_sub(found) >= fill)
        }
        FORMAT_ID_MKV => {
            // The longest of its tracks, so it counts only where something is missing.
            let is_cut = demux.matroska.as_ref().is_some_and(|facts| facts.is_cut);
            broken = if is_cut { broken } else { 0 };
            demux.duration.filter(|_| is_cut)
        }
        _ => facts.and_then(|facts| {
            broken = if facts.broken_off { counted.packet_frames } else { 0 };
            promised_by_tag(facts).map(|packets| packets * counted.packet_frames)
        }),
    };
    Ending { found, promised, broken, rate: demux.sample_rate() }
}

/// Packets that a Xing tag promises. Some encoders count the tag's own frame. Where there is junk instead of frames, they are not
/// missing at the end.
fn promised_by_tag(facts: &elementary::Facts) -> Option<u64> {
    let junk = (facts.bytes - facts.covered) * facts.frames / facts.covered.max(1);
    let lost = facts.promised?.saturating_sub(facts.frames + 1);
    Some(if lost > junk + junk / 4 { facts.frames + 1 + lost } else { facts.frames })
}

/// What an MP4's own track promises. In a fragmented file that is a part of it at most, and its fragments promise packets.
fn mp4_promise(demux: &Demux, packet_frames: u64) -> Option<u64> {
    let (facts, track) = (demux.mp4.as_ref()?, demux.track.id);
    match facts.is_fragmented() {
        true if facts.is_cut() => Some(facts.fragment_packets(track).saturating_mul(packet_frames)),
        true => None,
        false => facts.duration_of(track).map(|duration| demux.in_frames(duration)),
    }
}

/// The song's own frames on a raw line of `end` frames.
fn trimmed(demux: &Demux, end: u64, facts: Option<&elementary::Facts>) -> u64 {
    let heard = end.saturating_sub(demux.delay);
    let told = match demux.format {
        FORMAT_ID_MKV => demux.matroska.as_ref().map(|facts| {
            let ns = u128::from(facts.discarded_ns(demux.track.id));
            let frames = ns * u128::from(demux.sample_rate()) / 1_000_000_000;
            heard.saturating_sub(u64::try_from(frames).unwrap_or(u64::MAX))
        }),
        FORMAT_ID_CAF => demux.track.num_frames.map(|frames| demux.in_line(frames)),
        FORMAT_ID_MP3 => match demux.track.padding {
            // A tag that counts other frames than there are does not know where the padding is.
            Some(padding)
                if facts.is_none_or(|facts| facts.promised.is_none_or(|n| n == facts.frames)) =>
            {
                Some(heard.saturating_sub(u64::from(padding)))
            }
            Some(_) => None,
            None => demux.tags.gapless.map(|gapless| gapless.frames),
        },
        FORMAT_ID_ISOMP4 => match demux.tags.gapless {
            Some(gapless) => Some(gapless.frames),
            None => mp4_frames(demux),
        },
        _ => None,
    };
    told.map_or(heard, |told| told.min(heard))
}

/// What an MP4's edit list and sample durations leave of it. The movie's own units are often
/// milliseconds, so where both agree but for rounding, the sample durations are taken.
fn mp4_frames(demux: &Demux) -> Option<u64> {
    // A fragmented file has no durations up front, and an index of one fragment is not of all.
    let facts = demux.mp4.as_ref().filter(|facts| !facts.is_fragmented())?;
    let stated = demux.track.duration.filter(|duration| duration.get() > 0)?;
    let durations = demux.in_frames(stated.get()).saturating_sub(demux.delay);
    let timescale = u64::from(facts.movie_timescale());
    let edit = facts.edit_of(demux.track.id).map_or(0, |edit| edit.duration);
    if edit == 0 || timescale == 0 {
        return Some(durations);
    }
    let rate = u64::from(demux.sample_rate());
    let edited = u64::try_from(u128::from(edit) * u128::from(rate) / u128::from(timescale)).ok()?;
    let unit = rate / timescale + 1;
    Some(if edited.abs_diff(durations) <= unit { durations } else { edited })
}

fn codec_name(info: &CodecInfo) -> String {
    match info.short_name {
        name if name.starts_with("pcm") => "pcm".to_owned(),
        name => name.to_owned(),
    }
}
