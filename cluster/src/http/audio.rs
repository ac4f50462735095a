//! Audio over plain HTTP: originals and segments, under names that say what they hold. So they never change, and
//! whatever caches HTTP may stand in front. `private`, since a token may be asked for: a cache that is meant to share says so itself.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use jam_media::{picture_type, song_type};
use jam_proto::ids::TrackId;

use super::{Pages, answer, insert};
use crate::blobs::{Blobs, SongError};
use crate::segments::Rendition;

/// The media type of what only Jam reads.
const UNNAMED: &str = "application/octet-stream";

/// A song's original bytes, whole or from a range. They never change under their name.
pub(super) async fn original(
    State(pages): State<Pages>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(track) = parse_track(&name) else {
        return answer(
            StatusCode::BAD_REQUEST,
            "a song's name is its BLAKE3 hash, 64 hex digits\n".to_owned(),
        );
    };
    let committed = pages
        .group
        .read(|shard| shard.track(&track).map(|track| (track.bytes, track.codec.clone())));
    let lacking =
        || answer(StatusCode::NOT_FOUND, "this node does not have this song\n".to_owned());
    let Some((total, codec)) = committed else { return lacking() };
    let part = match Part::of(&headers, total) {
        Ok(part) => part,
        Err(refusal) => return *refusal,
    };
    let Some(song) = pages.blobs.song(&track).await else { return lacking() };
    let kind = song_type(&song.head().await, &codec);
    let body = Body::from_stream(song.bytes(part.first, part.end - part.first));
    part.respond(body, kind, &track.to_string())
}

/// A song's manifest at a quality, in its wire form. A rendition that was lost and made again has another one, so it is
/// asked for again after a while.
pub(super) async fn manifest(
    State(pages): State<Pages>,
    Path((name, quality)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(of) = parse_rendition(&name, &quality) else { return no_rendition() };
    let pack = match pages.segments.pack(of).await {
        Ok(pack) => pack,
        Err(error) => return refused(error),
    };
    let (wire, name) = (pack.wire(), blake3::Hash::from(*pack.hash()).to_string());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let mut response = match known {
        Some(known) if known.contains(&name) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            insert(&mut response, header::ETAG, &format!("\"{name}\""));
            response
        }
        _ => Part::whole(wire.len() as u64).respond(Body::from(wire), UNNAMED, &name),
    };
    insert(&mut response, header::CACHE_CONTROL, "private, max-age=60");
    response
}

/// A segment's bytes, whole or from a range.
pub(super) async fn segment(
    State(pages): State<Pages>,
    Path((name, quality, index, hash)): Path<(String, String, usize, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(of) = parse_rendition(&name, &quality) else { return no_rendition() };
    let Some(wanted) = parse_hash(&hash) else { return no_rendition() };
    let bytes = match pages.segments.segment(of, index, &wanted).await {
        Ok(bytes) => bytes,
        Err(error) => return refused(error),
    };
    match Part::of(&headers, bytes.len() as u64) {
        Ok(part) => {
            let span = part.first as usize..part.end as usize;
            part.respond(Body::from(bytes.slice(span)), UNNAMED, &hash)
        }
        Err(refusal) => *refusal,
    }
}

/// A song's cover: a JPEG, PNG, WebP or GIF, by its first bytes. Nothing else is called a picture.
pub(super) async fn cover(pages: State<Pages>, name: Path<String>) -> Response {
    derived(pages, name, "cover", |head| picture_type(head).unwrap_or(UNNAMED)).await
}

/// A song's waveform: a byte for each point, at most 1,000 of equal length. Peaks, from 0, silence, to 255, full scale.
pub(super) async fn waveform(pages: State<Pages>, name: Path<String>) -> Response {
    derived(pages, name, "waveform", |_| UNNAMED).await
}

/// `kind`: the media type, by the first bytes.
async fn derived(
    State(pages): State<Pages>,
    Path(name): Path<String>,
    what: &str,
    kind: impl FnOnce(&[u8]) -> &'static str,
) -> Response {
    let lacking = || answer(StatusCode::NOT_FOUND, format!("this song has no {what} here\n"));
    let track =
        parse_track(&name).and_then(|id| pages.group.read(|shard| shard.track(&id).cloned()));
    let found = track.as_ref().and_then(|track| Blobs::derived(track, what));
    let Some(id) = found else { return lacking() };
    let Some(total) = pages.group.read(|shard| shard.blob(&id)) else { return lacking() };
    let Some(song) = pages.blobs.song(&id).await else { return lacking() };
    let kind = kind(&song.head().await);
    Part::whole(total).respond(Body::from_stream(song.bytes(0, total)), kind, &id.to_string())
}

fn no_rendition() -> Response {
    let text = "write /audio/TRACK/original/… or /audio/TRACK/KBPS/…: manifest, or INDEX/HASH, where TRACK and HASH are BLAKE3 hashes, 64 hex digits\n";
    answer(StatusCode::BAD_REQUEST, text.to_owned())
}

fn refused(error: SongError) -> Response {
    let status = match error {
        SongError::Gone(_) | SongError::ManifestChanged | SongError::Invalid(_) => {
            StatusCode::NOT_FOUND
        }
        // What is kept here can't be cut, and won't be.
        SongError::Unsupported(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer(status, format!("{error}\n"))
}

/// What of something immutable is answered.
struct Part {
    first: u64,
    end: u64,
    total: u64,
    /// It was asked for by its bytes, even if they are all.
    is_range: bool,
}

impl Part {
    fn whole(total: u64) -> Self {
        Self { first: 0, end: total, total, is_range: false }
    }

    /// As the headers ask for, or the refusal.
    fn of(headers: &HeaderMap, total: u64) -> Result<Self, Box<Response>> {
        let wanted = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        match wanted.map(|range| parse_range(range, total)) {
            None | Some(Range::Whole) => Ok(Self::whole(total)),
            Some(Range::Part { first, end }) => Ok(Self { first, end, total, is_range: true }),
            Some(Range::Unsatisfiable) => {
                let mut response = answer(StatusCode::RANGE_NOT_SATISFIABLE, String::new());
                insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{total}"));
                Err(Box::new(response))
            }
        }
    }

    /// It never changes under its name.
    fn respond(&self, body: Body, kind: &str, name: &str) -> Response {
        let Self { first, end, total, is_range } = *self;
        let mut response = Response::new(body);
        insert(&mut response, header::CONTENT_LENGTH, &(end - first).to_string());
        insert(&mut response, header::CONTENT_TYPE, kind);
        // A browser that guessed could take what strangers have sent for a page of this node.
        insert(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        insert(&mut response, header::ACCEPT_RANGES, "bytes");
        insert(&mut response, header::ETAG, &format!("\"{name}\""));
        insert(&mut response, header::CACHE_CONTROL, "private, max-age=31536000, immutable");
        if is_range {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {first}-{}/{total}", end - 1);
            insert(&mut response, header::CONTENT_RANGE, &range);
        }
        response
    }
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Range {
    /// All of it: also when the header is of a kind that we may ignore (RFC 9110, 14.2).
    Whole,
    /// The bytes from `first` to before `end`: at least one.
    Part {
        /// The first byte.
        first: u64,
        /// Behind the last one.
        end: u64,
    },
    /// None of it.
    Unsatisfiable,
}

/// Reads a `Range` header for a song of `total` bytes.
pub fn parse_range(range: &str, total: u64) -> Range {
    let part = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let parsed = part.map(|(first, last)| (first.trim().parse::<u64>().ok(), last.trim(), first));
    let (first, end) = match parsed {
        Some((Some(first), "", _)) => (first, total),
        Some((Some(first), last, _)) => match last.parse::<u64>() {
            Ok(last) if last >= first => (first, last.saturating_add(1).min(total)),
            _ => return Range::Whole,
        },
        Some((None, last, "")) => match last.parse::<u64>() {
            Ok(0) => return Range::Unsatisfiable,
            Ok(suffix) => (total.saturating_sub(suffix), total),
            Err(_) => return Range::Whole,
        },
        _ => return Range::Whole,
    };
    if first >= total { Range::Unsatisfiable } else { Range::Part { first, end } }
}

/// Reads a song's name: its BLAKE3 hash, 64 hex digits.
pub fn parse_track(name: &str) -> Option<TrackId> {
    parse_hash(name).map(TrackId)
}

fn parse_hash(name: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(name).ok().map(Into::into)
}

fn parse_rendition(name: &str, quality: &str) -> Option<Rendition> {
    let kbps = match quality {
        "original" => 0,
        kbps => kbps.parse().ok().filter(|kbps| *kbps > 0)?,
    };
    Some(Rendition { track: parse_track(name)?, kbps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |first, end| Range::Part { first, end };
        for (range, meant) in [
            ("bytes=0-", part(0, 100)),
            ("bytes=10-19", part(10, 20)),
            ("bytes=90-500", part(90, 100)),
            ("bytes=-10", part(90, 100)),
            ("bytes=-500", part(0, 100)),
            ("bytes=100-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-4", Range::Whole),
            ("bytes=0-1,5-6", Range::Whole),
            ("lines=0-1", Range::Whole),
            ("bytes=+1-2", part(1, 3)),
        ] {
            assert_eq!(parse_range(range, 100), meant, "{range}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Range::Unsatisfiable);
    }

    #[test]
    fn tracks_are_named_by_their_hash() {
        let track = TrackId([0xab; 32]);
        assert_eq!(parse_track(&track.to_string()), Some(track));
        assert_eq!(parse_track("zz"), None);
        assert_eq!(parse_track(&"+1".repeat(32)), None);
    }
}
