//! What symphonia does not tell of an MP4: its edit lists, and whether all of it is there.
//!
//! Edit lists say which part of a track is heard (ISO 14496-12, 8.6.6); encoders use them to mark
//! their own delay. Only the boxes on the way to `elst` are read.

use std::io::{Read, Seek, SeekFrom};

use crate::demux::unreadable;
use crate::patch::Patch;
use crate::{Refusal, Source};

/// Boxes within boxes that are looked into. Real files need four.
const DEPTH_MAX: usize = 8;
/// Boxes in a file. A long fragmented film has tens of thousands.
const BOXES_MAX: usize = 1_000_000;
/// Fragments, of which symphonia keeps each that it passed, a kilobyte for the smallest; and the bytes of their tables.
/// Encoders make one every second or ten; six hours have some 10 MB of tables.
const FRAGMENTS_MAX: u64 = 1 << 16;
const FRAGMENT_TABLES_MIB_MAX: u64 = 32;
/// Durations in a track's table, times its packets: symphonia looks for each packet from the table's start. That is 70 minutes of
/// AAC with a duration for each packet, and about a minute of work; nearly all files have two or three durations.
const LOOKUPS_MAX: u64 = 1 << 35;
/// Bytes of a header box that is read whole: the ones here are small.
const HEADER_BYTES_MAX: u64 = 1 << 16;

/// What a file's boxes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    movie_timescale: u32,
    is_fragmented: bool,
    /// It ends within the box of its packets, and what tells of them stands before it.
    cut: Option<Patch>,
    tracks: Vec<TrackFacts>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TrackFacts {
    id: u32,
    /// In its own units, as its `mdhd` says.
    duration: Option<u64>,
    edits: Vec<Edit>,
    /// Entries of its table of durations, and of its table of sizes.
    durations: u32,
    packets: u32,
    /// Packets that its fragments promise.
    fragment_packets: u64,
}

/// A part of a track that is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// How long, in the movie's units; 0: to the end.
    pub(crate) duration: u64,
    /// Where it starts, in the track's units.
    pub(crate) media_time: u64,
}

impl Facts {
    /// The one part of the track that is heard; `None`: all of it.
    pub(crate) fn edit_of(&self, track: u32) -> Option<Edit> {
        self.edits_of(track).first().copied()
    }

    /// All of them. An empty edit at the start, which shifts sound against a picture, is left out.
    pub(crate) fn edits_of(&self, track: u32) -> &[Edit] {
        self.tracks.iter().find(|facts| facts.id == track).map_or(&[], |facts| &facts.edits)
    }

    /// Its packets lie in fragments, of each of which only the fragment itself tells.
    pub(crate) fn is_fragmented(&self) -> bool {
        self.is_fragmented
    }

    /// Whether its last packets are missing.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// How many packets of a track its fragments promise.
    pub(crate) fn fragment_packets(&self, track: u32) -> u64 {
        let found = self.tracks.iter().find(|facts| facts.id == track);
        found.map_or(0, |facts| facts.fragment_packets)
    }

    /// How long a track says it is, in its own units.
    pub(crate) fn duration_of(&self, track: u32) -> Option<u64> {
        self.tracks.iter().find(|facts| facts.id == track)?.duration
    }

    /// The movie's units per second; 0 if it does not say.
    pub(crate) fn movie_timescale(&self) -> u32 {
        self.movie_timescale
    }
}

/// What the boxes of a file say, if it is an MP4. One that is cut is given back as if it were meant to end there: symphonia reads
/// no box that is larger than its file.
pub(crate) fn open(mut source: Source) -> Result<(Source, Option<Facts>), Refusal> {
    let length = source.seek(SeekFrom::End(0)).map_err(unreadable)?;
    source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut head = [0; 8];
    if length >= 8 {
        source.read_exact(&mut head).map_err(unreadable)?;
    }
    let facts = if &head[4..] == b"ftyp" { Some(read(&mut source, length)?) } else { None };
    source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    match facts.as_ref().and_then(|facts| facts.cut.clone()) {
        Some(patch) => Ok((patch.over(source), facts)),
        None => Ok((source, facts)),
    }
}

/// Makes a box at `at`, with a header of so many bytes, end after `size`.
fn patch(at: u64, header: u64, size: u64) -> Patch {
    match header {
        16 => Patch { at: at + 8, bytes: size.to_be_bytes().to_vec() },
        _ => Patch { at, bytes: u32::try_from(size).unwrap_or(0).to_be_bytes().to_vec() },
    }
}

/// Walks the boxes of a file of `length` bytes.
fn read(file: &mut (impl Read + Seek), length: u64) -> Result<Facts, Refusal> {
    let mut walk = Walk {
        file,
        facts: Facts::default(),
        boxes: 0,
        fragments: 0,
        table_bytes: 0,
        track: 0,
        has_sound: false,
    };
    walk.boxes_within(0, length, 0)?;
    let no = |what: String| Err(Refusal::OutOfBounds(what));
    if walk.boxes >= BOXES_MAX {
        return no(format!("more than {BOXES_MAX} boxes"));
    }
    if walk.fragments > FRAGMENTS_MAX || walk.table_bytes > FRAGMENT_TABLES_MIB_MAX << 20 {
        let Walk { fragments, table_bytes, .. } = walk;
        return no(format!("{fragments} fragments, and {table_bytes} bytes of their tables"));
    }
    for track in &walk.facts.tracks {
        let TrackFacts { durations, packets, .. } = track;
        if u64::from(*durations) * u64::from(*packets) > LOOKUPS_MAX {
            return no(format!("{durations} durations of {packets} packets"));
        }
    }
    Ok(walk.facts)
}

struct Walk<'a, F> {
    file: &'a mut F,
    facts: Facts,
    boxes: usize,
    fragments: u64,
    table_bytes: u64,
    /// Of the part of a fragment at hand.
    track: u32,
    /// There was a box of packets.
    has_sound: bool,
}

impl<F: Read + Seek> Walk<'_, F> {
    fn boxes_within(&mut self, from: u64, to: u64, depth: usize) -> Result<(), Refusal> {
        let mut at = from;
        while at + 8 <= to && depth < DEPTH_MAX && self.boxes < BOXES_MAX {
            self.boxes += 1;
            let head = self.bytes::<16>(at, to)?;
            let kind = [head[4], head[5], head[6], head[7]];
            let (header, size) = match u64::from(be32(&head, 0)) {
                0 => (8, to - at),
                1 => (16, be64(&head, 8)),
                size => (8, size),
            };
            // What lies behind a whole file is no box.
            let is_whole = depth == 0 && self.has_sound && !self.facts.tracks.is_empty();
            let fits = size >= header && at.checked_add(size).is_some_and(|end| end <= to);
            if !fits && is_whole {
                return Ok(());
            }
            let Some(end) = at.checked_add(size).filter(|_| size >= header) else {
                return Err(Refusal::Damaged("it has a box of an impossible size".to_owned()));
            };
            self.has_sound |= depth == 0 && &kind == b"mdat";
            // What is there of it is played, as far as its packets are whole.
            if end > to && depth == 0 && &kind == b"mdat" && !self.facts.tracks.is_empty() {
                self.facts.cut = Some(patch(at, header, to - at));
                return Ok(());
            }
            if end > to {
                return Err(match depth {
                    0 => Refusal::Truncated(format!("{} bytes are missing at its end", end - to)),
                    _ => Refusal::Damaged(
                        "it has a box that is larger than the one around it".to_owned(),
                    ),
                });
            }
            self.one_box(kind, at + header, end, depth)?;
            at = end;
        }
        Ok(())
    }

    fn one_box(&mut self, kind: [u8; 4], from: u64, end: u64, depth: usize) -> Result<(), Refusal> {
        match &kind {
            b"moov" | b"edts" | b"mdia" | b"minf" | b"stbl" => {
                self.boxes_within(from, end, depth + 1)?
            }
            b"moof" => {
                self.fragments += 1;
                self.facts.is_fragmented = true;
                self.table_bytes += end - from;
                self.boxes_within(from, end, depth + 1)?;
            }
            b"traf" => self.boxes_within(from, end, depth + 1)?,
            b"tfhd" => self.track = self.count_at(from + 4, end)?,
            b"trun" => {
                let count = self.count_at(from + 4, end)?;
                let track = self.track;
                let facts = self.facts.tracks.iter_mut().find(|facts| facts.id == track);
                if let Some(facts) = facts {
                    facts.fragment_packets += u64::from(count);
                }
            }
            b"trak" => {
                self.facts.tracks.push(TrackFacts::default());
                self.boxes_within(from, end, depth + 1)?;
            }
            b"mvhd" => {
                let body = self.body(from, end)?;
                let at = if body.first() == Some(&1) { 20 } else { 12 };
                self.facts.movie_timescale = body.get(at..at + 4).map_or(0, |field| be32(field, 0));
            }
            b"tkhd" => {
                let body = self.body(from, end)?;
                let at = if body.first() == Some(&1) { 20 } else { 12 };
                let id = body.get(at..at + 4).map_or(0, |field| be32(field, 0));
                if let Some(track) = self.facts.tracks.last_mut() {
                    track.id = id;
                }
            }
            b"mdhd" => {
                let body = self.body(from, end)?;
                let duration = match body.first() {
                    Some(&1) => body.get(24..32).map(|field| be64(field, 0)),
                    _ => body.get(16..20).map(|field| u64::from(be32(field, 0))),
                };
                let unknown = [0, u64::from(u32::MAX), u64::MAX];
                if let Some(track) = self.facts.tracks.last_mut() {
                    track.duration = duration.filter(|duration| !unknown.contains(duration));
                }
            }
            b"stts" => {
                let count = self.count_at(from + 4, end)?;
                if let Some(track) = self.facts.tracks.last_mut() {
                    track.durations = count;
                }
            }
            b"stsz" => {
                let count = self.count_at(from + 8, end)?;
                if let Some(track) = self.facts.tracks.last_mut() {
                    track.packets = count;
                }
            }
            b"elst" => {
                let body = self.body(from, end)?;
                if let Some(track) = self.facts.tracks.last_mut() {
                    track.edits = edits(&body);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn count_at(&mut self, at: u64, end: u64) -> Result<u32, Refusal> {
        if at + 4 > end {
            return Ok(0);
        }
        self.bytes::<4>(at, end).map(|bytes| be32(&bytes, 0))
    }

    fn body(&mut self, from: u64, end: u64) -> Result<Vec<u8>, Refusal> {
        let length = (end - from).min(HEADER_BYTES_MAX);
        let mut body = vec![0; usize::try_from(length).expect("64 KiB fit")];
        self.file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
        self.file.read_exact(&mut body).map_err(unreadable)?;
        Ok(body)
    }

    /// Bytes at a place, zeros past the end.
    fn bytes<const N: usize>(&mut self, at: u64, to: u64) -> Result<[u8; N], Refusal> {
        let mut bytes = [0; N];
        let held = usize::try_from(to - at).unwrap_or(usize::MAX).min(N);
        self.file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        self.file.read_exact(&mut bytes[..held]).map_err(unreadable)?;
        Ok(bytes)
    }
}

fn edits(body: &[u8]) -> Vec<Edit> {
    let (Some(&version), Some(count)) = (body.first(), body.get(4..8)) else { return Vec::new() };
    let size = if version == 1 { 20 } else { 12 };
    let rows = body[8..].chunks_exact(size).take(be32(count, 0) as usize);
    rows.filter_map(|row| {
        let (duration, media_time) = match version {
            1 => (be64(row, 0), be64(row, 8) as i64),
            _ => (u64::from(be32(row, 0)), i64::from(be32(row, 4) as i32)),
        };
        u64::try_from(media_time).ok().map(|media_time| Edit { duration, media_time })
    })
    .collect()
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}
