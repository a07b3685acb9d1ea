//! The proxy between agent programs and their services: it hands on, counts, and refuses the next request at a cap.
//!
//! An agent's program has `http://127.0.0.1:PORT/<agent>/<token>/<route>` for its base URL; a route is one of the
//! services that it is configured for. What follows goes there as it came, and the answer comes back as it is, piece by
//! piece; beside that the bytes are read for their account ([`fleet_core::meter`]). Nothing is refused in the middle
//! of a reply, and nothing of a body, key or token is written anywhere.
//!
//! Whose request it is, whether there may be one more, and where an account goes, a [`Ledger`] knows.
//!
//! **The order.** The account of a reply is settled before the piece that ends it is handed on, so a program that asks
//! again at once is judged by all that it has used. A program that goes away, or a service that breaks off, is settled
//! with what was seen until then.

mod count;
mod decode;
mod forward;
mod header;
mod known;
mod refusal;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fleet_core::meter::{Limited, Reading};
use fleet_core::usage::Tokens;
use fleet_core::{Error, Result, Time};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use self::forward::{Client, client};
pub use self::forward::{Trust, check_upstream};
use self::known::Known;

/// Whose requests are handed on, and what becomes of their accounts. Its functions may block.
pub trait Ledger: Send + Sync + 'static {
    /// Whether this request may go on, and where to.
    fn admit(&self, ask: &Ask<'_>) -> Admission;

    /// The request of this number is with the service, whole: what comes of it may cost. `model` is what was asked for,
    /// `expected` what it is taken to have read as long as nobody says. It may be told of after [`Ledger::ended`].
    fn sent(&self, agent: &str, number: u64, model: Option<&str>, expected: Tokens);

    /// The request of this number has ended; none: it has cost nothing.
    fn ended(&self, agent: &str, number: u64, used: Option<Used>);

    /// A request got no answer of its service: why, for people.
    fn unanswered(&self, agent: &str, why: &str);

    /// The service has refused because a limit of its own is used up.
    fn limited(&self, agent: &str, limited: Limited);

    /// The time.
    fn now(&self) -> Time;
}

/// A request that wants to be handed on.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The agent, as its address says.
    pub agent: &'a str,
    /// The secret of its address.
    pub token: &'a str,
    /// Which of its services is meant.
    pub route: &'a str,
    /// Whether it asks for a reply, which costs.
    pub costs: bool,
    /// The model that it asks for; none where it does not say.
    pub model: Option<&'a str>,
}

/// What a [`Ledger`] says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It goes on.
    Pass {
        /// The base URL of the service.
        upstream: String,
        /// The number of the request, where it costs.
        number: u64,
    },
    /// There is to be no other request: why, for people.
    Refused(String),
    /// There is no such agent, or the token is not its own.
    Stranger,
    /// Nobody can tell just now: why, for people. The program may try again.
    Unavailable(String),
}

/// What a request has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The model that was asked for.
    pub asked: Option<String>,
    /// What the reply said, and estimates of what it did not come to say.
    pub reading: Reading,
}

/// A running proxy. It ends with its process.
#[derive(Debug)]
pub struct Meter {
    port: u16,
    open: Arc<AtomicUsize>,
}

/// What all connections share.
struct Shared<L> {
    ledger: Arc<L>,
    client: Client,
    known: Arc<Known>,
    open: Arc<AtomicUsize>,
}

/// How long accepting rests when the process has no descriptor left.
const NO_DESCRIPTOR: Duration = Duration::from_millis(50);

impl Meter {
    /// Begins to serve `listener`, a socket of 127.0.0.1, for services that `trust` vouches for.
    ///
    /// # Errors
    /// `Unavailable`: the socket cannot be used.
    pub fn start<L: Ledger>(listener: TcpListener, trust: Trust, ledger: Arc<L>) -> Result<Meter> {
        let cannot = |error: std::io::Error| Error::unavailable(format!("the meter cannot serve its port: {error}"));
        let port = listener.local_addr().map_err(cannot)?.port();
        listener.set_nonblocking(true).map_err(cannot)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(cannot)?;
        let open = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            ledger,
            client: client(trust),
            known: Arc::default(),
            open: Arc::clone(&open),
        });
        let serve = move || {
            runtime.block_on(async move {
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    accept(listener, shared).await;
                }
            });
        };
        thread::Builder::new()
            .name("meter".into())
            .spawn(serve)
            .map_err(cannot)?;
        Ok(Meter { port, open })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it has with programs.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn accept<L: Ledger>(listener: tokio::net::TcpListener, shared: Arc<Shared<L>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&shared)))),
            // A program that is gone already, or no descriptor left: others may end meanwhile.
            Err(_) => tokio::time::sleep(NO_DESCRIPTOR).await,
        }
    }
}

async fn connection<L: Ledger>(stream: TcpStream, shared: Arc<Shared<L>>) {
    shared.open.fetch_add(1, Ordering::SeqCst);
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { forward::answer(request, &shared).await }
    });
    // It ends with an error when the program goes away or the service breaks off, and both know that.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    shared.open.fetch_sub(1, Ordering::SeqCst);
}
