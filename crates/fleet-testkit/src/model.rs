//! A scripted model endpoint: it answers coding agents as their vendors' services do, without a model.
//!
//! [`ModelServer`] listens on 127.0.0.1 and speaks Anthropic Messages, OpenAI Responses, Chat Completions and Gemini,
//! streaming or not. A [`Script`] says what it answers, how fast, and what goes wrong; its log of [`Request`]s is a
//! test's evidence of what really arrived. The program `fleet-model` is the same for other processes. Scripts, the
//! log and the control paths are described in `docs/model-endpoint.md`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

mod decide;
mod directive;
mod incoming;
mod log;
mod prompts;
mod reply;
mod schema;
mod script;
mod send;
mod serve;
mod side;
mod tools;
mod wire;

pub use log::{Answer, End, Outcome, Request, read_model_log};
pub use script::{
    ApiError, Fault, FaultRule, Pace, Pattern, Rule, Script, ToolCall, Trouble, Turn, Usage, When, WithoutTools,
};
pub use wire::Format;

use log::Log;
use serve::Shared;

/// A running endpoint; it ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct ModelServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How to start an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// What it answers.
    pub script: Script,
    /// The port on 127.0.0.1; 0 for a free one.
    pub port: u16,
    /// A file to append the log to.
    pub log: Option<&'a Path>,
}

impl ModelServer {
    /// An endpoint on a free port, with its log in memory.
    ///
    /// # Panics
    /// When no port can be had.
    #[track_caller]
    pub fn start(script: Script) -> Self {
        let options = Options {
            script,
            ..Options::default()
        };
        Self::open(options).expect("a free port can be had on 127.0.0.1")
    }

    /// An endpoint as asked for. It fails when the port is taken or the log cannot be opened.
    pub fn open(options: Options<'_>) -> io::Result<Self> {
        let log = match options.log {
            Some(path) => Log::to_file(path)?,
            None => Log::default(),
        };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared::new(options.script, log));
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("model-endpoint".into()).spawn(move || {
            runtime.block_on(async move {
                let listener =
                    tokio::net::TcpListener::from_std(listener).expect("a runtime with its network takes it");
                tokio::select! {
                    () = serve::serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self {
            shared,
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The base URL, `http://127.0.0.1:PORT`. OpenAI's clients want `/v1` after it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes another script; requests are counted anew, the log stays.
    pub fn set_script(&self, script: Script) {
        self.shared.set_script(script);
    }

    /// Lets everything go on that hangs and is in the log.
    pub fn release(&self) {
        self.shared.release();
    }

    /// All requests so far, side requests and those of no format too.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests()
    }

    /// The requests of conversations so far.
    pub fn conversation(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(Request::is_conversation);
        requests
    }

    /// The first request, from the beginning of the log, for which `wanted` is true; waits for it.
    ///
    /// # Panics
    /// When there is none at the deadline, with `what` and a line for each request that there is.
    #[track_caller]
    pub fn wait_for_request(&self, deadline: Duration, what: &str, wanted: impl Fn(&Request) -> bool) -> Request {
        match self.find_request(deadline, wanted) {
            Some(request) => request,
            None => panic!("waited {deadline:?} in vain: {what}; there is\n{}", self.overview()),
        }
    }

    /// The same, and none at the deadline.
    pub fn find_request(&self, deadline: Duration, wanted: impl Fn(&Request) -> bool) -> Option<Request> {
        self.shared.log.wait_for(deadline, wanted)
    }

    /// A line for each request, for people.
    pub fn overview(&self) -> String {
        let line = |request: Request| {
            let Request {
                n,
                method,
                path,
                turn,
                answer,
                end,
                ..
            } = &request;
            let outcome = end.map(|end| end.outcome);
            let prompt: String = request.prompt().chars().take(40).collect();
            format!(
                "{n} {method} {path} {prompt:?} turn {turn}, {} {}, {outcome:?}\n",
                answer.from, answer.status
            )
        };
        self.requests().into_iter().map(line).collect()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
