//! The endpoint's HTTP: routes, control paths, and questions beside the replies.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::decide::{Decision, Director};
use super::incoming::{Whole, since_1970};
use super::log::{Answer, Log, Outcome, Request};
use super::reply::reply;
use super::script::{ApiError, Script, Trouble};
use super::send::{Ending, HttpResponse, document, status_code};
use super::wire::{Asked, Format, trouble};

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

    pub(crate) fn decide(&self, asked: &Asked) -> Decision {
        let mut director = self.director.lock().unwrap_or_else(PoisonError::into_inner);
        director.decide(asked)
    }

    /// Tells of releases from now on.
    pub(crate) fn watch_releases(&self) -> watch::Receiver<u64> {
        self.releases.subscribe()
    }

    pub(crate) fn id_prefix(&self) -> &str {
        &self.id_prefix
    }
}

/// Answers one request. An error closes the connection without an answer.
async fn answer(request: hyper::Request<Incoming>, shared: Arc<Shared>) -> io::Result<HttpResponse> {
    let whole = Whole::read(request).await?;
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

/// An answer of the endpoint's own, noted.
fn plain(whole: &Whole, status: u16, body: &Value, shared: &Arc<Shared>) -> HttpResponse {
    let n = shared.log.begin(|n| Request {
        answer: Answer {
            from: "endpoint".into(),
            status,
            ..Answer::default()
        },
        ..whole.note(n)
    });
    let mut ending = Ending::new(shared, n, whole.at);
    ending.begin();
    ending.finish(Outcome::Sent);
    document(status_code(status), body)
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
