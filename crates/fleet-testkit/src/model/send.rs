//! How an answer goes out: at its pace, with its faults, to an end that is noted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::incoming::millis;
use super::log::{End, Outcome};
use super::script::Fault;
use super::serve::Shared;
use super::wire::Piece;

/// An answer on its way to the connection.
pub(crate) type HttpResponse = hyper::Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A request's way to its end in the log; a client that goes away drops it unfinished.
pub(crate) struct Ending {
    shared: Arc<Shared>,
    n: u64,
    at: Instant,
    first_byte: Option<Duration>,
    finished: bool,
}

/// The rest of a stream that is being sent.
pub(crate) struct Sending {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) chunk_pause: Duration,
    pub(crate) fault: Option<Fault>,
    /// What is sent instead of the rest, where the fault is an error in the stream.
    pub(crate) error: Option<Piece>,
    pub(crate) released: watch::Receiver<u64>,
    pub(crate) ending: Ending,
}

/// The frames of a body, as they are sent to it.
struct Frames(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl Sending {
    /// Begins to send; the answer's body takes what comes.
    pub(crate) fn start(self, content_type: &'static str) -> HttpResponse {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.run(sender));
        response(StatusCode::OK, content_type, Frames(receiver).boxed_unsync())
    }

    /// Sends the pieces to the connection, at their pace and with their fault.
    async fn run(mut self, to: mpsc::Sender<io::Result<Frame<Bytes>>>) {
        let pieces = std::mem::take(&mut self.pieces);
        let chunks = match self.fault {
            Some(Fault::CutAfter(chunks) | Fault::HangAfter(chunks) | Fault::ErrorAfter { chunks, .. }) => Some(chunks),
            _ => None,
        };
        let place = chunks.map(|chunks| place_after(&pieces, chunks));
        for (index, piece) in pieces.into_iter().enumerate() {
            if place == Some(index) {
                match self.fault {
                    Some(Fault::HangAfter(_)) => tokio::select! {
                        () = release(&mut self.released) => {}
                        () = to.closed() => return self.ending.finish(Outcome::ClientGone),
                    },
                    Some(Fault::ErrorAfter { .. }) => break,
                    _ => {
                        let _ = to.send(Err(io::Error::other("cut as scripted"))).await;
                        return self.ending.finish(Outcome::Cut);
                    }
                }
            }
            self.ending.begin();
            let rest = if piece.is_chunk {
                self.chunk_pause
            } else {
                Duration::ZERO
            };
            if to.send(Ok(Frame::data(piece.bytes.into()))).await.is_err() {
                return self.ending.finish(Outcome::ClientGone);
            }
            pause(rest).await;
        }
        if let Some(error) = self.error {
            let _ = to.send(Ok(Frame::data(error.bytes.into()))).await;
        }
        self.ending.finish(Outcome::Sent);
    }
}

impl Ending {
    /// The way of the request of this number.
    pub(crate) fn new(shared: &Arc<Shared>, n: u64, at: Instant) -> Self {
        Self {
            shared: Arc::clone(shared),
            n,
            at,
            first_byte: None,
            finished: false,
        }
    }

    /// The first byte goes out now, unless it has before.
    pub(crate) fn begin(&mut self) {
        self.first_byte.get_or_insert_with(|| self.at.elapsed());
    }

    /// Notes the end.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        self.finished = true;
        let end = End {
            outcome,
            first_byte_ms: self.first_byte.map(millis),
            took_ms: millis(self.at.elapsed()),
        };
        self.shared.log.end(self.n, end);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(Outcome::ClientGone);
        }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context)
    }
}

/// A JSON document as an answer.
pub(crate) fn document(status: StatusCode, body: &Value) -> HttpResponse {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    response(status, "application/json", body.boxed_unsync())
}

/// A document in two chunks, so that it can be cut in the middle.
pub(crate) fn halves(document: &Value) -> Vec<Piece> {
    let text = document.to_string();
    let mut middle = text.len() / 2;
    while !text.is_char_boundary(middle) {
        middle -= 1;
    }
    let chunk = |bytes: &str| Piece {
        bytes: bytes.to_owned(),
        is_chunk: true,
    };
    vec![chunk(&text[..middle]), chunk(&text[middle..])]
}

/// Waits for the next release.
pub(crate) async fn release(released: &mut watch::Receiver<u64>) {
    // The sender lives as long as the endpoint; without it nothing would be there to go on.
    if released.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Lets time pass. The timer cannot do less than a millisecond, not even for nothing.
pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Where a stream is after so many chunks; after the last chunk, if it has fewer. What ends a stream comes later.
fn place_after(pieces: &[Piece], chunks: usize) -> usize {
    let mut places = (0..pieces.len()).filter(|index| pieces[*index].is_chunk);
    let next = places.nth(chunks);
    let last = pieces.iter().rposition(|piece| piece.is_chunk);
    next.unwrap_or(last.map_or(0, |last| last + 1))
}

fn response(status: StatusCode, content_type: &'static str, body: UnsyncBoxBody<Bytes, io::Error>) -> HttpResponse {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A status; a script may have one that is none.
pub(crate) fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
