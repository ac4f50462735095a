//! Answers of gRPC calls that are made piece by piece, as the connection takes them.
//!
//! Tonic encodes each message whole, into a buffer of the call's own. For a room with ten thousand entries these are 7 MB for
//! each who asks, all made at once, and kept for as long as nobody takes them. So a call with a large answer attaches that to an
//! empty one ([`attach`]), and a layer puts it in its place ([`put_in_place`]). On the wire nothing is different.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response as HttpResponse;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Response, Status};

use crate::lines::{Line, Share};

/// What a piece that is made on demand may have, about.
pub const PIECE_BYTES: usize = 16 << 10;
/// In front of each message: whether it is compressed, and its length.
const HEADER_BYTES: usize = 5;

/// One message.
pub struct Message {
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
    piece_bytes: usize,
    /// What it needs as long as not all of it is made.
    _source: Option<Share>,
}

impl Message {
    /// One that is ready, as [`framed`] makes it.
    pub fn ready(framed: Bytes) -> Self {
        let piece_bytes = framed.len();
        Self { pieces: Box::new(std::iter::once(framed)), piece_bytes, _source: None }
    }

    /// One of `length` bytes in pieces of about [`PIECE_BYTES`]. Each is made when it is asked for.
    pub fn in_pieces(
        length: usize,
        pieces: impl Iterator<Item = Bytes> + Send + 'static,
        source: Share,
    ) -> Self {
        let mut header = BytesMut::with_capacity(HEADER_BYTES);
        put_header(&mut header, length);
        let pieces = Box::new(std::iter::once(header.freeze()).chain(pieces));
        Self { pieces, piece_bytes: PIECE_BYTES, _source: Some(source) }
    }

    /// The same, of which each piece that is asked for is told.
    #[must_use]
    pub fn telling(self, tell: impl Fn() + Send + 'static) -> Self {
        Self { pieces: Box::new(self.pieces.inspect(move |_| tell())), ..self }
    }

    /// One that is encoded already: it is there until the last of it is taken.
    pub fn encoded(bytes: Bytes, source: Share) -> Self {
        Self::in_pieces(bytes.len(), cut(bytes), source)
    }
}

/// A message as it goes over the line, header and all. Clones share the bytes.
pub fn framed(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(HEADER_BYTES + length);
    put_header(&mut framed, length);
    message.encode(&mut framed).expect("a buffer grows");
    framed.freeze()
}

fn put_header(buffer: &mut BytesMut, length: usize) {
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).expect("no message has 4 GiB"));
}

/// Bytes in pieces.
pub fn cut(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = bytes.len().min(PIECE_BYTES);
        (length > 0).then(|| bytes.split_to(length))
    })
}

type Messages = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

/// An answer beside the one that tonic would encode.
#[derive(Clone)]
struct Attached(Arc<Mutex<Option<axum::body::Body>>>);

/// Attaches what is really to be answered, on its way over `line`.
pub fn attach<T>(
    empty: T,
    line: Arc<Line>,
    messages: impl Stream<Item = Result<Message, Status>> + Send + 'static,
) -> Response<T> {
    let sending = Sending { line, messages: Box::pin(messages), message: None };
    let frames = stream::unfold(Some(sending), |sending| async {
        let mut sending = sending?;
        match sending.next().await {
            Ok(piece) => Some((Ok::<_, Status>(Frame::data(piece)), Some(sending))),
            Err(trailers) => Some((Ok(Frame::trailers(trailers)), None)),
        }
    });
    let body = axum::body::Body::new(StreamBody::new(frames));
    let mut response = Response::new(empty);
    response.extensions_mut().insert(Attached(Arc::new(Mutex::new(Some(body)))));
    response
}

/// The layer that answers with what is attached.
pub async fn put_in_place(mut response: HttpResponse) -> HttpResponse {
    let attached = response.extensions_mut().remove::<Attached>();
    let body = attached
        .and_then(|attached| attached.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    if let Some(body) = body {
        *response.body_mut() = body;
    }
    response
}

struct Sending {
    line: Arc<Line>,
    messages: Messages,
    message: Option<Message>,
}

impl Sending {
    /// The next piece, or else the trailers.
    async fn next(&mut self) -> Result<Bytes, HeaderMap> {
        loop {
            let message = match &mut self.message {
                Some(message) => message,
                None => match self.messages.next().await {
                    Some(Ok(message)) => self.message.insert(message),
                    Some(Err(status)) => return Err(trailers(&status)),
                    None => return Err(trailers(&Status::ok(""))),
                },
            };
            let room = self.line.piece(message.piece_bytes).await;
            match message.pieces.next() {
                Some(piece) => return Ok(self.line.give(piece, room)),
                None => self.message = None,
            }
        }
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", HeaderValue::from(tonic::Code::Internal as i32));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use jam_proto::wire::v1::{ListRoomsReply, RoomSummary};
    use tokio::task::unconstrained;

    use super::*;
    use crate::lines::Lines;

    fn list(rooms: usize) -> ListRoomsReply {
        let room = |n| RoomSummary { code: format!("room {n}"), ..Default::default() };
        ListRoomsReply { rooms: (0..rooms).map(room).collect() }
    }

    async fn body_of(line: &Arc<Line>, messages: Vec<Result<Message, Status>>) -> axum::body::Body {
        let attached = attach((), line.clone(), stream::iter(messages));
        let mut response = HttpResponse::default();
        *response.extensions_mut() = attached.extensions().clone();
        put_in_place(response).await.into_body()
    }

    #[tokio::test]
    async fn pieces_are_the_same_on_the_wire() {
        let line = Lines::default().of(None);
        let (small, large) = (list(1), list(20_000));
        let source = line.source(1).await;
        let encoded = prost::Message::encode_to_vec(&large).into();
        let messages =
            vec![Ok(Message::ready(framed(&small))), Ok(Message::encoded(encoded, source))];
        let collected = body_of(&line, messages).await.collect().await.expect("a body");
        assert_eq!(collected.trailers().expect("trailers")["grpc-status"], "0");
        let wanted = [framed(&small), framed(&large)].concat();
        assert!(collected.to_bytes() == wanted);
    }

    #[tokio::test]
    async fn an_error_comes_behind_what_was_said_before() {
        let line = Lines::default().of(None);
        let ended = Status::from(crate::refusal::Refusal::SlowWatcher);
        let messages = vec![Ok(Message::ready(framed(&list(1)))), Err(ended)];
        let collected = body_of(&line, messages).await.collect().await.expect("a body");
        let trailers = collected.trailers().expect("trailers");
        assert_eq!(
            (&trailers["grpc-status"], &trailers["jam-error"]),
            (&"8".parse().expect("a value"), &"slow_watcher".parse().expect("a value"))
        );
    }

    #[tokio::test]
    async fn no_piece_is_made_before_there_is_room_for_it() {
        let line = Lines::default().of(None);
        let source = line.source(1).await;
        let (made, pieces) = (Arc::new(Mutex::new(0)), 1000);
        let counted = made.clone();
        let make = move |_| {
            *counted.lock().expect("no panic") += 1;
            Bytes::from(vec![1; PIECE_BYTES])
        };
        let message = Message::in_pieces(pieces * PIECE_BYTES, (0..pieces).map(make), source);
        let mut body = body_of(&line, vec![Ok(message)]).await;
        // A reader whose connection takes none of it.
        let mut untaken = Vec::new();
        while let Some(frame) = unconstrained(body.frame()).now_or_never() {
            untaken.push(frame.expect("goes on").expect("no error"));
        }
        let stopped_at = *made.lock().expect("no panic");
        assert!(stopped_at < 65, "{stopped_at} pieces of 16 KiB were made");
        untaken.clear();
        assert!(unconstrained(body.frame()).now_or_never().is_some(), "there is room again");
    }
}
