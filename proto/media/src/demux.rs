//! Opens a container and lays its packets on the raw line: each packet's first frame and number of
//! frames are known before anything is decoded.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS};
use symphonia::core::errors::Error;
use symphonia::core::formats::well_known::{
    FORMAT_ID_AIFF, FORMAT_ID_CAF, FORMAT_ID_FLAC, FORMAT_ID_ISOMP4, FORMAT_ID_MKV, FORMAT_ID_MP2,
    FORMAT_ID_MP3, FORMAT_ID_OGG, FORMAT_ID_WAVE,
};
use symphonia::core::formats::{FormatId, FormatReader, SeekMode, SeekTo, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataRevision;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use crate::allowance::Allowance;
use crate::cover::Pictures;
use crate::probe::{probe_within, promises_more};
use crate::tags::{self, Tags};
use crate::unwrap::{Unwrapped, unwrap};
use crate::{Refusal, Source, caf, codec, foreign, length, matroska, mp4, ogg, sbr};

/// Frames of a packet: twice what the longest of FLAC and ALAC have. An MP4 may claim any number.
const PACKET_FRAMES_MAX: u64 = 1 << 17;

/// Frames per second of Opus, whatever it was encoded from.
const OPUS_RATE: u32 = 48_000;

/// A container, opened at its first packet.
pub(crate) struct Demux {
    /// `None` only while it is opened anew.
    reader: Option<Box<dyn FormatReader>>,
    allowance: Allowance,
    pub(crate) format: FormatId,
    pub(crate) params: AudioCodecParameters,
    pub(crate) track: Track,
    /// Frames before the song's first one: what the encoder added.
    pub(crate) delay: u64,
    pub(crate) tags: Tags,
    pub(crate) pictures: Pictures,
    pub(crate) mp4: Option<mp4::Facts>,
    pub(crate) matroska: Option<matroska::Facts>,
    /// How long the whole is by its headers, in frames, where a container with several tracks says so.
    pub(crate) duration: Option<u64>,
    /// Frames that sizes promise and that are not there.
    pub(crate) missing_frames: u64,
    /// The last page of an Ogg file, if it is cut.
    pub(crate) cut_page: ogg::Cut,
    /// The file ends within a packet.
    pub(crate) broken_off: bool,
    /// Tags that stand around the container.
    around: Vec<MetadataRevision>,
    next_frame: u64,
    /// The first packet, read ahead since it may tell of more delay.
    ahead: Option<Placed>,
}

/// A packet on the raw line.
pub(crate) struct Placed {
    pub(crate) packet: Packet,
    /// Where its first frame is.
    pub(crate) start: u64,
    /// How many it has, whether it decodes or not.
    pub(crate) frames: u64,
    /// Frames that the decoder puts out before the first of these.
    pub(crate) skip: u64,
    /// All that the decoder should put out.
    pub(crate) decoded: u64,
}

impl Demux {
    /// Finds out what the bytes are, and reads the headers.
    pub(crate) fn open(source: Source) -> Result<Self, Refusal> {
        let unwrapped = unwrap(source).map_err(unreadable)?;
        let Unwrapped { source, tags, missing_frames, foreign, cut_page, matroska } = unwrapped;
        if let Some(what) = foreign {
            return Err(Refusal::Foreign(what));
        }
        // An MP4's edit list decides what is heard, and symphonia does not read it.
        let (source, mp4) = mp4::open(source)?;
        let (source, allowance) = Allowance::over(source);
        let stream = MediaSourceStream::new(source, MediaSourceStreamOptions::default());
        let mut demux = Self::open_stream(stream, allowance, tags, mp4)?;
        demux.tags.add_title(matroska.as_ref().and_then(|facts| facts.title()));
        Ok(Self { missing_frames, matroska, cut_page, ..demux })
    }

    /// As `open`, from a stream that was looked at before.
    pub(crate) fn open_stream(
        mut stream: MediaSourceStream<'static>,
        allowance: Allowance,
        around: Vec<MetadataRevision>,
        mp4: Option<mp4::Facts>,
    ) -> Result<Self, Refusal> {
        let mut head = [0; 12];
        let length = stream.seek(SeekFrom::End(0)).map_err(unreadable)?;
        if length == 0 {
            return Err(Refusal::EmptyFile);
        }
        stream.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let held = head.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        stream.read_exact(&mut head[..held]).map_err(unreadable)?;
        stream.seek(SeekFrom::Start(0)).map_err(unreadable)?;

        let mut reader = match probe_within(&allowance, stream) {
            Err(Refusal::NotAudio) if promises_more(&head, length) => {
                return Err(Refusal::Truncated(
                    "it is shorter than its first bytes say".to_owned(),
                ));
            }
            Err(Refusal::NotAudio) => {
                return Err(foreign::name(&head).map_or(Refusal::NotAudio, Refusal::Foreign));
            }
            probed => probed?,
        };
        let (tags, pictures) = tags::read(reader.as_mut(), &around);
        let track = match reader.default_track(TrackType::Audio) {
            Some(track) => track.clone(),
            None if reader.tracks().is_empty() => return Err(Refusal::NotAudio),
            None => return Err(Refusal::NoAudioTrack),
        };
        let mut params = track
            .codec_params
            .as_ref()
            .and_then(|params| params.audio())
            .ok_or(Refusal::NoAudioTrack)?
            .clone();
        let format = reader.format_info().format;
        check_codec(format, &params)?;
        if params.codec == CODEC_ID_OPUS && matches!(format, FORMAT_ID_MKV | FORMAT_ID_CAF) {
            // What they say is the rate before it was encoded, if anything.
            params.sample_rate = Some(OPUS_RATE);
        }
        let media = reader.media_info();
        let duration = media.duration.zip(media.time_base);
        let mut demux = Self {
            format,
            duration: duration.map(|(time, base)| scale(time.get(), base, OPUS_RATE)),
            matroska: None,
            reader: Some(reader),
            allowance,
            params,
            track,
            delay: 0,
            tags,
            pictures,
            mp4,
            missing_frames: 0,
            cut_page: ogg::Cut::default(),
            broken_off: false,
            around,
            next_frame: 0,
            ahead: None,
        };
        demux.delay = demux.encoder_delay();
        demux.read_ahead();
        Ok(demux)
    }

    fn encoder_delay(&self) -> u64 {
        let told = u64::from(self.track.delay.unwrap_or(0));
        let gapless = self.tags.gapless.map(|gapless| gapless.delay);
        match self.format {
            FORMAT_ID_MP3 if told > 0 => told,
            FORMAT_ID_MP3 => gapless.unwrap_or(0),
            FORMAT_ID_ISOMP4 => gapless.unwrap_or_else(|| {
                let edit = self.mp4.as_ref().and_then(|facts| facts.edit_of(self.track.id));
                edit.map_or(0, |edit| self.in_frames(edit.media_time))
            }),
            // Pre-skip. Vorbis has none: its decoder drops the first half block by itself.
            FORMAT_ID_OGG if self.params.codec == CODEC_ID_OPUS => told,
            FORMAT_ID_MKV => codec::pre_skip(&self.params),
            FORMAT_ID_CAF if told > 0 => self.in_line(told),
            FORMAT_ID_CAF => codec::pre_skip(&self.params),
            _ => 0,
        }
    }

    /// A time in the track's own units as frames, to the nearest.
    pub(crate) fn in_frames(&self, time: u64) -> u64 {
        let rate = self.sample_rate();
        match self.track.time_base {
            Some(base) => scale(time, base, rate),
            None => time,
        }
    }

    /// Frames per second as the headers have it. What the decoder puts out is the truth.
    pub(crate) fn sample_rate(&self) -> u32 {
        let told = sbr::rate_of(&self.params).or(self.params.sample_rate);
        told.filter(|rate| *rate > 0).unwrap_or(44_100)
    }

    /// The next packet on the line; `None` at its end.
    pub(crate) fn next(&mut self) -> Result<Option<Placed>, Error> {
        match self.ahead.take() {
            Some(placed) => Ok(Some(placed)),
            None => self.read(),
        }
    }

    /// Whatever goes wrong here goes wrong again, and is reported, when the next packet is asked for.
    fn read_ahead(&mut self) {
        let Ok(Some(placed)) = self.read() else { return };
        if self.format == FORMAT_ID_OGG {
            // A granule position that starts below zero: so much of the sound comes before the song.
            let early = -placed.packet.pts.get() - placed.skip as i64;
            self.delay += u64::try_from(early).unwrap_or(0);
        }
        self.ahead = Some(placed);
    }

    fn read(&mut self) -> Result<Option<Placed>, Error> {
        let Some(reader) = self.reader.as_mut() else { return Ok(None) };
        let packet = loop {
            let next = self.allowance.within(|| reader.next_packet());
            let next = match next.ok_or(Error::LimitError("a packet of more than 64 MiB"))? {
                // Half a packet is none.
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.broken_off = true;
                    return Ok(None);
                }
                next => next?,
            };
            match next {
                Some(packet) if packet.track_id == self.track.id => break packet,
                Some(_) => {}
                None => return Ok(None),
            }
        };
        let placed = self.place(packet);
        if placed.decoded.max(placed.frames) > PACKET_FRAMES_MAX {
            return Err(Error::LimitError("a packet of more than 131,072 frames"));
        }
        Ok(Some(placed))
    }

    fn place(&mut self, mut packet: Packet) -> Placed {
        let (start, frames, skip, decoded) = match self.format {
            // These count their frames themselves, so a hole in them is known as such.
            FORMAT_ID_FLAC | FORMAT_ID_WAVE | FORMAT_ID_AIFF => {
                let start = u64::try_from(packet.pts.get()).unwrap_or(0);
                (start, packet.dur.get(), 0, packet.dur.get())
            }
            FORMAT_ID_OGG => {
                let skip = packet.trim_start.get();
                (self.next_frame, packet.dur.get(), skip, packet.block_dur().get())
            }
            FORMAT_ID_ISOMP4 => {
                let frames = self.mp4_frames(&packet);
                (self.next_frame, frames, 0, frames)
            }
            FORMAT_ID_MP3 | FORMAT_ID_MP2 => {
                let frames = length::mpeg(&packet.data);
                (self.next_frame, frames, 0, frames)
            }
            FORMAT_ID_MKV => {
                let frames = length::opus(&packet.data);
                (self.next_frame, frames, 0, frames)
            }
            FORMAT_ID_CAF => {
                let frames = caf::frames(&self.params, &packet);
                (self.next_frame, frames, 0, frames)
            }
            _ => (self.next_frame, packet.dur.get(), 0, packet.dur.get()),
        };
        self.next_frame = start + frames;
        packet.trim_start = Duration::ZERO;
        packet.trim_end = Duration::ZERO;
        Placed { packet, start, frames, skip, decoded }
    }

    /// The frames of an MP4 sample. Its stated duration is in the track's own units, and of the last
    /// sample often less than it decodes to.
    fn mp4_frames(&self, packet: &Packet) -> u64 {
        if self.params.codec == CODEC_ID_AAC {
            return length::AAC;
        }
        let from = u64::try_from(packet.pts.get()).unwrap_or(0);
        self.in_frames(from + packet.dur.get()) - self.in_frames(from)
    }

    /// A number of frames, as CAF counts them, on the line.
    pub(crate) fn in_line(&self, frames: u64) -> u64 {
        let told = self.track.codec_params.as_ref().and_then(|params| params.audio());
        match told.and_then(|params| params.sample_rate).map(u64::from) {
            Some(rate) if rate > 0 && rate != u64::from(self.sample_rate()) => {
                frames.saturating_mul(u64::from(self.sample_rate())) / rate
            }
            _ => frames,
        }
    }

    /// Goes back to the first packet.
    pub(crate) fn rewind(&mut self) -> Result<(), Refusal> {
        if let Some(reader) = self.reader.take() {
            let mut stream = reader.into_inner();
            stream.seek(SeekFrom::Start(0)).map_err(unreadable)?;
            self.reader = Some(probe_within(&self.allowance, stream)?);
        }
        self.delay = self.encoder_delay();
        self.next_frame = 0;
        self.ahead = None;
        self.read_ahead();
        Ok(())
    }

    /// Where the next packet starts.
    pub(crate) fn next_frame(&self) -> u64 {
        self.ahead.as_ref().map_or(self.next_frame, |placed| placed.start)
    }

    /// Jumps to the packet that holds `frame`, or one before it, where the container counts its frames
    /// itself and a jump is exact. Elsewhere the packets from the start on have to be counted.
    pub(crate) fn jump(&mut self, frame: u64) -> bool {
        let exact = matches!(self.format, FORMAT_ID_FLAC | FORMAT_ID_WAVE | FORMAT_ID_AIFF);
        let (true, Ok(ts), Some(reader)) = (exact, i64::try_from(frame), self.reader.as_mut())
        else {
            return false;
        };
        let to = SeekTo::Timestamp { ts: Timestamp::new(ts), track_id: self.track.id };
        match reader.seek(SeekMode::Accurate, to) {
            Ok(seeked) if seeked.actual_ts.get() <= ts => {
                self.next_frame = u64::try_from(seeked.actual_ts.get()).unwrap_or(0);
                self.ahead = None;
                true
            }
            _ => false,
        }
    }

    /// Gives the bytes back, for a closer look at them.
    pub(crate) fn take_stream(&mut self) -> Option<MediaSourceStream<'static>> {
        self.reader.take().map(|reader| reader.into_inner())
    }

    /// Begins anew with the bytes that were taken.
    pub(crate) fn reopen(self, stream: MediaSourceStream<'static>) -> Result<Self, Refusal> {
        Self::open_stream(stream, self.allowance, self.around, None)
    }
}

/// Whether what these containers hold is played.
fn check_codec(format: FormatId, params: &AudioCodecParameters) -> Result<(), Refusal> {
    let foreign = match format {
        FORMAT_ID_MKV => matroska::foreign(params.codec),
        FORMAT_ID_CAF => caf::foreign(params.codec),
        _ => None,
    };
    foreign.map_or(Ok(()), |what| Err(Refusal::Foreign(what)))
}

fn scale(time: u64, base: TimeBase, rate: u32) -> u64 {
    let numer = u128::from(time) * u128::from(base.numer.get()) * u128::from(rate);
    let denom = u128::from(base.denom.get());
    u64::try_from((numer + denom / 2) / denom).unwrap_or(u64::MAX)
}

pub(crate) fn unreadable(error: std::io::Error) -> Refusal {
    Refusal::Unreadable(error.to_string())
}
