//! An answer to a request for a reply: decided, noted, and given as decided.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use serde_json::Value;

use super::decide::Decision;
use super::incoming::{Whole, since_1970};
use super::log::{Answer, Outcome, Request};
use super::script::{ApiError, Fault};
use super::send::{Ending, HttpResponse, Sending, document, halves, pause, release, status_code};
use super::serve::Shared;
use super::wire::{Asked, Format, Reply, trouble};

/// Characters in a chunk when nobody says how many.
const CHUNK_CHARS: usize = 24;

/// Decides, notes, and answers as decided. An error closes the connection without an answer.
pub(crate) async fn reply(
    whole: Whole,
    body: Value,
    format: Format,
    asked: Asked,
    shared: Arc<Shared>,
) -> io::Result<HttpResponse> {
    let decision = shared.decide(&asked);
    // From here on a release counts: whoever sees the request in the log may release it.
    let mut released = shared.watch_releases();
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
        ..whole.note(n)
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
        id: format!("{}{n:04}", shared.id_prefix()),
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
    Ok(sending.start(content_type))
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
