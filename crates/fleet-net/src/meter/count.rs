//! One request that costs: its body and its answer are read while they pass, and its account is settled once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use fleet_core::meter::{Format, Reader, RequestReader, Shape, limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use tokio::task::{JoinHandle, spawn_blocking};

use super::decode::Decoder;
use super::known::Known;
use super::{Ledger, Shared, Used};

/// What both directions know of a request. When the last of them lets go of it the account is settled, so that it is
/// settled whatever happens to the connections.
pub(super) struct Count<L: Ledger>(Arc<Account<L>>);

/// What is asked for, as the path says it.
pub(super) struct Kind {
    pub(super) format: Format,
    /// The model, where it is in the path.
    pub(super) model: Option<String>,
}

/// What is known of a request, apart from who still works on it: a thread may settle it.
struct Account<L: Ledger> {
    ledger: Arc<L>,
    agent: String,
    number: u64,
    format: Format,
    /// The model in the path.
    model: Option<String>,
    known: Arc<Known>,
    asked: Mutex<RequestReader>,
    is_sent: AtomicBool,
    answer: Mutex<Option<Answer>>,
    settled: AtomicBool,
}

/// What has come of the answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    decoder: Decoder,
}

impl<L: Ledger> Count<L> {
    /// `asked` is what was read of the request already.
    pub(super) fn new(shared: &Shared<L>, agent: &str, number: u64, kind: Kind, asked: RequestReader) -> Arc<Self> {
        Arc::new(Self(Arc::new(Account {
            ledger: Arc::clone(&shared.ledger),
            agent: agent.to_owned(),
            number,
            format: kind.format,
            model: kind.model,
            known: Arc::clone(&shared.known),
            asked: Mutex::new(asked),
            is_sent: AtomicBool::new(false),
            answer: Mutex::new(None),
            settled: AtomicBool::new(false),
        })))
    }

    /// The service has begun to answer.
    pub(super) fn answered(&self, status: u16, headers: &HeaderMap) {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let shape = Shape::of(text(CONTENT_TYPE));
        let decoder = Decoder::new(text(CONTENT_ENCODING), Reader::new(self.0.format, shape));
        *self.0.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Answer {
            status,
            headers: headers.clone(),
            decoder,
        });
        // Some services answer before they have read all of the request.
        self.0.is_sent.store(true, Ordering::SeqCst);
    }

    /// The service was not reached: nothing can have come of the request.
    pub(super) fn not_reached(&self) {
        self.0.is_sent.store(false, Ordering::SeqCst);
    }

    /// Whether nothing that counts comes any more, with `bytes`.
    fn read(&self, bytes: &[u8]) -> bool {
        let mut answer = self.0.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(answer) = answer.as_mut() else { return false };
        answer.decoder.push(bytes);
        answer.decoder.reader().is_over()
    }

    fn all_sent(&self) {
        if !self.0.is_sent.swap(true, Ordering::SeqCst) {
            let account = Arc::clone(&self.0);
            spawn_blocking(move || {
                let (model, text) = account.asked();
                let expected = account.known.expected(&account.agent, model.as_deref(), text);
                let ledger = &account.ledger;
                ledger.sent(&account.agent, account.number, model.as_deref(), expected);
            });
        }
    }

    fn is_settled(&self) -> bool {
        self.0.settled.load(Ordering::SeqCst)
    }

    fn settle(&self) -> JoinHandle<()> {
        let account = Arc::clone(&self.0);
        spawn_blocking(move || account.settle())
    }
}

impl<L: Ledger> Drop for Count<L> {
    fn drop(&mut self) {
        // The program or the service has gone away. Where the runtime is gone too, so is the process.
        if !self.is_settled() && tokio::runtime::Handle::try_current().is_ok() {
            drop(self.settle());
        }
    }
}

impl<L: Ledger> Account<L> {
    /// Settles the account, once. It blocks.
    fn settle(&self) {
        if self.settled.swap(true, Ordering::SeqCst) {
            return;
        }
        let (asked, text) = self.asked();
        let expected = self.known.expected(&self.agent, asked.as_deref(), text);
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let used = match answer.as_ref() {
            // Nobody knows what a service does with a request that it has and does not answer.
            None => self
                .is_sent
                .load(Ordering::SeqCst)
                .then(|| Reader::new(self.format, Shape::Document).reading(expected)),
            Some(answer) => {
                let reading = answer.decoder.reader().reading(expected);
                if reading.whole {
                    self.known.told(&self.agent, asked.as_deref(), text, reading.tokens);
                }
                // A refusal costs nothing, unless it says so.
                let costs = reading.told || (200..300).contains(&answer.status);
                costs.then_some(reading)
            }
        };
        let used = used.map(|reading| Used { asked, reading });
        self.ledger.ended(&self.agent, self.number, used);
        if let Some(answer) = answer.as_ref() {
            let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
            let now = self.ledger.now();
            let wait = answer.decoder.reader().wait(now);
            if let Some(limited) = limited(answer.status, &header, wait, now) {
                self.ledger.limited(&self.agent, limited);
            }
        }
    }

    fn asked(&self) -> (Option<String>, u64) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let model = self.model.clone().or_else(|| asked.model().map(str::to_owned));
        (model, asked.text())
    }
}

/// The body of a request, on its way to the service.
pub(super) struct Sent<L: Ledger> {
    /// What has come of it already, and is counted.
    ahead: VecDeque<Bytes>,
    body: Incoming,
    count: Arc<Count<L>>,
}

impl<L: Ledger> Sent<L> {
    pub(super) fn new(ahead: VecDeque<Bytes>, body: Incoming, count: Arc<Count<L>>) -> Self {
        if ahead.is_empty() && body.is_end_stream() {
            count.all_sent();
        }
        Self { ahead, body, count }
    }
}

impl<L: Ledger> Body for Sent<L> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(bytes) = self.ahead.pop_front() {
            if self.is_end_stream() {
                self.count.all_sent();
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            let mut asked = self.count.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push(bytes);
        }
        let failed = matches!(frame, Some(Err(_)));
        if !failed && (frame.is_none() || self.body.is_end_stream()) {
            self.count.all_sent();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.ahead.iter().map(|bytes| bytes.len() as u64).sum();
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(rest.lower() + ahead);
        hint
    }
}

/// A piece of a body; none at its end.
type Piece = Option<Result<Frame<Bytes>, hyper::Error>>;

/// The body of an answer, on its way to the program.
pub(super) struct Received<L: Ledger> {
    body: Incoming,
    count: Arc<Count<L>>,
    /// What waits until the account is settled.
    held: Option<(JoinHandle<()>, Piece)>,
}

impl<L: Ledger> Received<L> {
    pub(super) fn new(body: Incoming, count: Arc<Count<L>>) -> Self {
        Self {
            body,
            count,
            held: None,
        }
    }
}

impl<L: Ledger> Body for Received<L> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            if let Some((settling, _)) = &mut self.held {
                // A ledger that panics has not settled; dropping the count is the second try.
                let _ = ready!(Pin::new(settling).poll(context));
                return Poll::Ready(self.held.take().and_then(|(_, frame)| frame));
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            let is_last = match &frame {
                Some(Ok(frame)) => {
                    let over = frame.data_ref().is_some_and(|bytes| self.count.read(bytes));
                    over || self.body.is_end_stream()
                }
                Some(Err(_)) | None => true,
            };
            if !is_last || self.count.is_settled() {
                return Poll::Ready(frame);
            }
            let settling = self.count.settle();
            self.held = Some((settling, frame));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
