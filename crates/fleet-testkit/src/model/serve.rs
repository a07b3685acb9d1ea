//! The endpoint's HTTP: routes, pace, faults as they show on the wire, and the control paths.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::decide::{Decision, Director};
use super::log::{Answer, End, Log, Outcome, Request};
use super::script::{ApiError, Fault, Script, Trouble};
use super::wire::{Asked, Format, Piece, Reply, trouble};

/// Headers that tests look at. Of keys only their presence is kept.
const KEPT_HEADERS: &[&str] = &[
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-encoding",
    "content-type",
    "conversation_id",
    "originator",
    "session_id",
    "user-agent",
    "x-app",
    "x-stainless-retry-count",
];
const KEY_HEADERS: &[&str] = &["authorization", "x-api-key", "x-goog-api-key"];
/// What stands for a key in the log.
const HIDDEN: &str = "given";

/// Characters in a chunk when nobody says how many.
const CHUNK_CHARS: usize = 24;
/// Bytes for which a token is counted, when a client asks for a count.
const BYTES_PER_TOKEN: usize = 4;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) log: Log,
    director: Mutex<Director>,
    /// Counts releases.
    releases: watch::Sender<u64>,
    /// What ids begin with; other endpoints have other beginnings, because a resumed conversation has ids of both.
    id_prefix: String,
}

type HttpResponse = hyper::Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Where a request goes.
enum Route {
    /// A reply is asked for; the path may say whether as a stream, and of which model.
    Reply(Format, Option<bool>, Option<String>),
    CountTokens(Format),
    Models,
    Alive,
    ReadLog,
    SetScript,
    Release,
    Unknown,
}

/// A request with its body read.
struct Whole {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
}

/// A request's way to its end in the log; a client that goes away drops it unfinished.
struct Ending {
    shared: Arc<Shared>,
    n: u64,
    at: Instant,
    first_byte: Option<Duration>,
    finished: bool,
}

/// The frames of a body, as they are sent to it.
struct Frames(mpsc::Receiver<io::Result<Frame<Bytes>>>);

/// The rest of a stream that is being sent.
struct Sending {
    pieces: Vec<Piece>,
    chunk_pause: Duration,
    fault: Option<Fault>,
    /// What is sent instead of the rest, where the fault is an error in the stream.
    error: Option<Piece>,
    released: watch::Receiver<u64>,
    ending: Ending,
}

/// Serves connections until the program or the runtime ends.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // What fails here is a client that is gone already.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&shared)));
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&shared)));
    // It ends with an error when a script closes or cuts it, and when a client goes away; the log says which.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Shared {
    pub(crate) fn new(script: Script, log: Log) -> Self {
        let now = since_1970();
        Self {
            log,
            director: Mutex::new(Director::new(script)),
            releases: watch::Sender::new(0),
            id_prefix: format!("{:x}{:05x}", now.as_secs(), now.subsec_micros()),
        }
    }

    /// Takes another script, and counts requests anew.
    pub(crate) fn set_script(&self, script: Script) {
        *self.director.lock().unwrap_or_else(PoisonError::into_inner) = Director::new(script);
    }

    /// Lets go on what hangs.
    pub(crate) fn release(&self) {
        self.releases.send_modify(|count| *count += 1);
    }

    fn decide(&self, asked: &Asked) -> Decision {
        let mut director = self.director.lock().unwrap_or_else(PoisonError::into_inner);
        director.decide(asked)
    }
}

/// Answers one request. An error closes the connection without an answer.
async fn answer(request: hyper::Request<Incoming>, shared: Arc<Shared>) -> io::Result<HttpResponse> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let whole = Whole {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
        at: Instant::now(),
    };
    match Route::of(&whole.method, &whole.path) {
        Route::ReadLog => Ok(document(StatusCode::OK, &json!(shared.log.requests()))),
        Route::Release => {
            shared.release();
            Ok(document(StatusCode::OK, &json!({"ok": true})))
        }
        Route::SetScript => Ok(match Script::from_json(&String::from_utf8_lossy(&whole.body)) {
            Ok(script) => {
                shared.set_script(script);
                document(StatusCode::OK, &json!({"ok": true}))
            }
            Err(error) => document(StatusCode::BAD_REQUEST, &json!({"error": error})),
        }),
        Route::Reply(format, stream, model) => match serde_json::from_slice::<Value>(&whole.body) {
            Ok(body) => {
                let mut asked = format.read(&body);
                asked.stream = stream.unwrap_or(asked.stream);
                asked.model = model.unwrap_or(asked.model);
                reply(whole, body, format, asked, shared).await
            }
            Err(error) => {
                let error = ApiError {
                    message: Some(format!("scripted: the body is no JSON: {error}")),
                    ..ApiError::of(Trouble::BadRequest)
                };
                Ok(plain(&whole, 400, &trouble::body(format, &error), &shared))
            }
        },
        Route::CountTokens(format) => {
            let tokens = whole.body.len() / BYTES_PER_TOKEN;
            let key = if format == Format::Gemini {
                "totalTokens"
            } else {
                "input_tokens"
            };
            Ok(plain(&whole, 200, &json!({key: tokens}), &shared))
        }
        Route::Models => Ok(plain(&whole, 200, &models(&whole.path), &shared)),
        Route::Alive => Ok(plain(&whole, 200, &json!({}), &shared)),
        Route::Unknown => {
            let message = format!("scripted: nothing is at {} {}", whole.method, whole.path);
            let body = json!({"type": "error", "error": {"type": "not_found_error", "message": message}});
            Ok(plain(&whole, 404, &body, &shared))
        }
    }
}

impl Route {
    /// By the end of the path, so that a base URL may have any beginning.
    fn of(method: &Method, path: &str) -> Self {
        let last = path.rsplit('/').next().unwrap_or_default();
        let is_post = method == Method::POST;
        match (last, last.rsplit_once(':')) {
            ("__log", _) => Self::ReadLog,
            ("__script", _) if is_post => Self::SetScript,
            ("__release", _) if is_post => Self::Release,
            (_, Some((model, "generateContent"))) if is_post => {
                Self::Reply(Format::Gemini, Some(false), Some(model.to_owned()))
            }
            (_, Some((model, "streamGenerateContent"))) if is_post => {
                Self::Reply(Format::Gemini, Some(true), Some(model.to_owned()))
            }
            (_, Some((_, "countTokens"))) if is_post => Self::CountTokens(Format::Gemini),
            ("messages", _) if is_post => Self::Reply(Format::Messages, None, None),
            ("responses", _) if is_post => Self::Reply(Format::Responses, None, None),
            ("completions", _) if is_post && path.ends_with("/chat/completions") => {
                Self::Reply(Format::Chat, None, None)
            }
            ("count_tokens", _) if is_post => Self::CountTokens(Format::Messages),
            _ if method == Method::GET && path.contains("/models") => Self::Models,
            _ if method == Method::HEAD || method == Method::GET && path == "/" => Self::Alive,
            _ => Self::Unknown,
        }
    }
}

/// Decides, notes, and answers as decided.
async fn reply(
    whole: Whole,
    body: Value,
    format: Format,
    asked: Asked,
    shared: Arc<Shared>,
) -> io::Result<HttpResponse> {
    let decision = shared.decide(&asked);
    // From here on a release counts: whoever sees the request in the log may release it.
    let mut released = shared.releases.subscribe();
    let answered = answer_for_log(format, asked.stream, &decision);
    let n = shared.log.begin(|n| Request {
        body,
        format: Some(format),
        model: asked.model.clone(),
        stream: asked.stream,
        side: decision.side.map(str::to_owned),
        prompts: asked.prompts(),
        turn: asked.replies_since_prompt(),
        tools: asked.tools.iter().map(|tool| tool.name.clone()).collect(),
        answer: answered,
        ..note(&whole, n)
    });
    let mut ending = Ending::new(&shared, n, whole.at);
    let Decision {
        turn,
        calls,
        fault,
        pace,
        ..
    } = decision;
    pause(Duration::from_millis(pace.first_byte_ms.unwrap_or(0))).await;
    match &fault {
        Some(Fault::Close) => {
            ending.finish(Outcome::Cut);
            return Err(io::Error::other("closed as scripted"));
        }
        Some(Fault::Error(error)) => return Ok(failure(format, error, ending)),
        Some(Fault::ErrorAfter { error, .. }) if !asked.stream => return Ok(failure(format, error, ending)),
        Some(Fault::Hang) => release(&mut released).await,
        Some(Fault::HangAfter(_)) if !asked.stream => release(&mut released).await,
        _ => {}
    }
    let reply = Reply {
        id: format!("{}{n:04}", shared.id_prefix),
        model: asked.model,
        created: since_1970().as_secs(),
        text: turn.text,
        reasoning: turn.reasoning,
        calls,
        usage: turn.usage,
        chunk_chars: pace.chunk_chars.unwrap_or(CHUNK_CHARS),
    };
    if !asked.stream && !matches!(fault, Some(Fault::CutAfter(_))) {
        ending.begin();
        ending.finish(Outcome::Sent);
        return Ok(document(StatusCode::OK, &format.whole(&reply)));
    }
    let (pieces, content_type) = if asked.stream {
        (format.stream(&reply), "text/event-stream")
    } else {
        (halves(&format.whole(&reply)), "application/json")
    };
    let error = match &fault {
        Some(Fault::ErrorAfter { error, .. }) => Some(format.error_event(&reply, error)),
        _ => None,
    };
    // A document is cut in the middle, however many chunks a stream would have had.
    let fault = if asked.stream { fault } else { Some(Fault::CutAfter(1)) };
    let sending = Sending {
        pieces,
        chunk_pause: Duration::from_millis(pace.chunk_ms.unwrap_or(0)),
        fault,
        error,
        released,
        ending,
    };
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(sending.run(sender));
    Ok(streamed(content_type, receiver))
}

impl Sending {
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

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context)
    }
}

impl Ending {
    fn new(shared: &Arc<Shared>, n: u64, at: Instant) -> Self {
        Self {
            shared: Arc::clone(shared),
            n,
            at,
            first_byte: None,
            finished: false,
        }
    }

    /// The first byte goes out now, unless it has before.
    fn begin(&mut self) {
        self.first_byte.get_or_insert_with(|| self.at.elapsed());
    }

    fn finish(&mut self, outcome: Outcome) {
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

/// Where a stream is after so many chunks; after the last chunk, if it has fewer. What ends a stream comes later.
fn place_after(pieces: &[Piece], chunks: usize) -> usize {
    let mut places = (0..pieces.len()).filter(|index| pieces[*index].is_chunk);
    let next = places.nth(chunks);
    let last = pieces.iter().rposition(|piece| piece.is_chunk);
    next.unwrap_or(last.map_or(0, |last| last + 1))
}

/// Waits for the next release.
async fn release(released: &mut watch::Receiver<u64>) {
    // The sender lives as long as the endpoint; without it nothing would be there to go on.
    if released.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Lets time pass. The timer cannot do less than a millisecond, not even for nothing.
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// An answer of the endpoint's own, noted.
fn plain(whole: &Whole, status: u16, body: &Value, shared: &Arc<Shared>) -> HttpResponse {
    let n = shared.log.begin(|n| Request {
        answer: Answer {
            from: "endpoint".into(),
            status,
            ..Answer::default()
        },
        ..note(whole, n)
    });
    let mut ending = Ending::new(shared, n, whole.at);
    ending.begin();
    ending.finish(Outcome::Sent);
    document(status_code(status), body)
}

fn failure(format: Format, error: &ApiError, mut ending: Ending) -> HttpResponse {
    let status = status_code(trouble::status(format, error));
    let mut response = document(status, &trouble::body(format, error));
    if let Some(seconds) = error.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    ending.begin();
    ending.finish(Outcome::Sent);
    response
}

fn document(status: StatusCode, body: &Value) -> HttpResponse {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    response(status, "application/json", body.boxed_unsync())
}

fn streamed(content_type: &'static str, receiver: mpsc::Receiver<io::Result<Frame<Bytes>>>) -> HttpResponse {
    let frames = Frames(receiver);
    response(StatusCode::OK, content_type, frames.boxed_unsync())
}

fn response(status: StatusCode, content_type: &'static str, body: UnsyncBoxBody<Bytes, io::Error>) -> HttpResponse {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What the log keeps of a request before anything is decided.
fn note(whole: &Whole, n: u64) -> Request {
    Request {
        n,
        at_ms: millis(since_1970()),
        method: whole.method.to_string(),
        path: whole.path.clone(),
        query: hide_keys(&whole.query),
        headers: kept(&whole.headers),
        body: body_for_log(&whole.body),
        format: None,
        model: String::new(),
        stream: false,
        side: None,
        prompts: Vec::new(),
        turn: 0,
        tools: Vec::new(),
        answer: Answer::default(),
        end: None,
    }
}

fn answer_for_log(format: Format, stream: bool, decision: &Decision) -> Answer {
    let Decision {
        from,
        turn,
        calls,
        fault,
        ..
    } = decision;
    let status = match fault {
        Some(Fault::Close) => 0,
        Some(Fault::Error(error)) => trouble::status(format, error),
        Some(Fault::ErrorAfter { error, .. }) if !stream => trouble::status(format, error),
        _ => 200,
    };
    let mut answer = Answer {
        from: from.clone(),
        status,
        fault: fault.clone(),
        ..Answer::default()
    };
    if status == 200 {
        answer.text = turn.text.clone();
        answer.calls = calls
            .iter()
            .map(|call| (call.name.clone(), call.input.clone()))
            .collect();
        answer.usage = Some(turn.usage);
    }
    answer
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let kept = KEPT_HEADERS.iter().filter_map(|name| {
        let value = headers.get(*name)?;
        Some((
            (*name).to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        ))
    });
    let keys = KEY_HEADERS.iter().filter(|name| headers.contains_key(**name));
    kept.chain(keys.map(|name| ((*name).to_owned(), HIDDEN.to_owned())))
        .collect()
}

fn hide_keys(query: &str) -> String {
    let hide = |pair: &str| match pair.split_once('=') {
        Some(("key", _)) => format!("key={HIDDEN}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(hide).collect::<Vec<_>>().join("&")
}

fn body_for_log(body: &Bytes) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into())
}

/// A model list that every client finds its own shape in.
fn models(path: &str) -> Value {
    const NAME: &str = "scripted";
    let model = json!({
        "id": NAME,
        "object": "model",
        "type": "model",
        "display_name": "Scripted",
        "created": 0,
        "created_at": "2026-01-01T00:00:00Z",
        "name": format!("models/{NAME}"),
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    });
    let is_list = path.ends_with("/models");
    match (is_list, path.contains("/v1beta/")) {
        (false, _) => model,
        (true, true) => json!({"models": [model]}),
        // One client reads `models` as its own kind of list; an empty one says nothing wrong.
        (true, false) => json!({"object": "list", "data": [model], "has_more": false, "models": []}),
    }
}

/// A document in two chunks, so that it can be cut in the middle.
fn halves(document: &Value) -> Vec<Piece> {
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

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the endpoint stands outside the product and has no clock to be given"
)]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
