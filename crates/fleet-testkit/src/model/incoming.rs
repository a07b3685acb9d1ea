//! A request as it came in, and what the log keeps of it before anything is decided.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method};
use serde_json::Value;

use super::log::{Answer, Request};

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

/// A request with its body read.
pub(crate) struct Whole {
    pub(crate) method: Method,
    pub(crate) path: String,
    query: String,
    headers: HeaderMap,
    pub(crate) body: Bytes,
    /// When it was there whole.
    pub(crate) at: Instant,
}

impl Whole {
    /// Reads the body to its end.
    pub(crate) async fn read(request: hyper::Request<Incoming>) -> io::Result<Self> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Self {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body,
            at: Instant::now(),
        })
    }

    /// Its entry in the log, with nothing decided yet.
    pub(crate) fn note(&self, n: u64) -> Request {
        Request {
            n,
            at_ms: millis(since_1970()),
            method: self.method.to_string(),
            path: self.path.clone(),
            query: hide_keys(&self.query),
            headers: kept(&self.headers),
            body: body_for_log(&self.body),
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

/// The time since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the endpoint stands outside the product and has no clock to be given"
)]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
