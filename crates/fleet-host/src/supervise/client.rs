//! The other end of a supervisor's socket. Every call has a deadline.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_core::budget::Limits;
use fleet_core::fact::Entry;
use fleet_core::{Error, Kind, Result};
use nix::poll::{PollFd, PollFlags, poll};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::meter;
use super::wire::{self, Decoder, Frame, Prompted, Status, Stopped};
use crate::exec;
use crate::harness::sign::Look;

/// How long a supervisor may take for an answer that it can give at once.
pub const PROMPTLY: Duration = Duration::from_secs(10);

/// What a supervisor said, other than an answer.
#[derive(Debug)]
pub enum Event {
    /// A fact was recorded.
    Entry(Box<Entry>),
    /// Output for a view.
    Output(Vec<u8>),
    /// The terminal has another size.
    Size(u16, u16),
    /// The agent has ended, in this state.
    Ended(String),
}

/// A connection to one supervisor.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    decoder: Decoder,
    next_id: u64,
    events: std::collections::VecDeque<Event>,
}

impl Client {
    /// Connects and exchanges hellos. Error [`Kind::Unavailable`]: nobody listens.
    pub fn connect(socket: &Path) -> Result<Client> {
        let stream = UnixStream::connect(socket)
            .map_err(|error| Error::unavailable(format!("the agent's supervisor does not answer: {error}")))?;
        stream
            .set_nonblocking(true)
            .map_err(|error| Error::internal(format!("socket: {error}")))?;
        let mut client = Client {
            stream,
            decoder: Decoder::default(),
            next_id: 1,
            events: std::collections::VecDeque::new(),
        };
        let deadline = Some(Instant::now() + PROMPTLY);
        client.write(&wire::encode_json(&json!({ "hello": wire::VERSION })), deadline)?;
        loop {
            let frame = client.read_frame(deadline)?.ok_or_else(gone)?;
            if frame.kind == wire::kind::JSON
                && serde_json::from_slice::<Value>(&frame.body).is_ok_and(|body| body.get("hello").is_some())
            {
                return Ok(client);
            }
        }
    }

    /// How the agent stands.
    pub fn status(&mut self) -> Result<Status> {
        self.request("status", json!({}), Some(PROMPTLY))
    }

    /// What is on its terminal.
    pub fn look(&mut self) -> Result<Look> {
        self.request("look", json!({}), Some(PROMPTLY))
    }

    /// Interrupts the turn; answers when the program is back at its prompt, with the state it is in then.
    pub fn interrupt(&mut self) -> Result<String> {
        let answer: Value = self.request("interrupt", json!({}), Some(2 * PROMPTLY))?;
        Ok(answer["state"].as_str().unwrap_or_default().to_owned())
    }

    /// Changes what the agent may use; answers whether it goes on with what a limit held back.
    ///
    /// # Errors
    /// `Usage`: its supervisor is older than limits are.
    pub fn limit(&mut self, limits: &Limits) -> Result<bool> {
        let answer: Value = self.request("limit", json!({ "limits": limits }), Some(PROMPTLY))?;
        Ok(answer["goes_on"].as_bool().unwrap_or_default())
    }

    /// Asks or tells what the meter has to.
    ///
    /// # Errors
    /// `Unavailable`: the supervisor does not answer.
    pub fn meter(&mut self, request: &meter::Request) -> Result<meter::Answer> {
        let body = serde_json::to_value(request).unwrap_or_default();
        self.request("meter", body, Some(PROMPTLY))
    }

    /// Sends a prompt. With `past_queue` the answer comes when it has left the queue, at `timeout` the latest.
    pub fn prompt(&mut self, id: &str, text: &str, past_queue: bool, timeout: Option<Duration>) -> Result<Prompted> {
        self.request(
            "prompt",
            json!({ "prompt": id, "text": text, "past_queue": past_queue }),
            timeout,
        )
    }

    /// Hands on an `event` that the program of the harness `name` told of itself.
    pub fn report(&mut self, name: &str, event: Value, timeout: Duration) -> Result<()> {
        let body = json!({ "harness": name, "event": event });
        self.request::<Value>("report", body, Some(timeout)).map(|_| ())
    }

    /// Ends the agent; answers when nothing of it runs any more.
    pub fn stop(&mut self, force: bool, grace: Duration) -> Result<Stopped> {
        let millis = grace.as_millis() as u64;
        self.request(
            "stop",
            json!({ "force": force, "grace_ms": millis }),
            Some(grace + Duration::from_secs(30)),
        )
    }

    /// Asks for the facts that come; the sequence and state so far.
    pub fn watch(&mut self) -> Result<(u64, String)> {
        let answer: Value = self.request("watch", json!({}), Some(PROMPTLY))?;
        Ok((
            answer["seq"].as_u64().unwrap_or(0),
            answer["state"].as_str().unwrap_or_default().to_owned(),
        ))
    }

    /// Becomes a view with a terminal of this size; gives the size of the agent's terminal.
    pub fn view(&mut self, rows: u16, cols: u16) -> Result<(u16, u16)> {
        let answer: Value = self.request("view", json!({ "rows": rows, "cols": cols }), Some(PROMPTLY))?;
        let number = |name: &str, own: u16| {
            answer[name]
                .as_u64()
                .and_then(|value| u16::try_from(value).ok())
                .unwrap_or(own)
        };
        Ok((number("rows", rows), number("cols", cols)))
    }

    /// Tells the size of the view's terminal. The answer is not waited for.
    pub fn resize(&mut self, rows: u16, cols: u16) -> Result<()> {
        self.next_id += 1;
        let body = json!({ "id": self.next_id, "op": "resize", "rows": rows, "cols": cols });
        self.write(&wire::encode_json(&body), Some(Instant::now() + PROMPTLY))
    }

    /// Sends what was typed into the view.
    pub fn input(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(&wire::encode(wire::kind::INPUT, bytes), Some(Instant::now() + PROMPTLY))
    }

    /// The next event; none when the supervisor has closed. Error [`Kind::Timeout`] at the deadline.
    pub fn event(&mut self, deadline: Option<Instant>) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.read_frame(deadline)? else {
                return Ok(None);
            };
            self.sort(frame);
        }
    }

    /// Events that have arrived, without waiting, and whether the supervisor has closed.
    pub fn arrived(&mut self) -> Result<(Vec<Event>, bool)> {
        let closed = self.fill()?;
        while let Some(frame) = self.decoder.next_frame().map_err(|_| broken())? {
            self.sort(frame);
        }
        Ok((self.events.drain(..).collect(), closed))
    }

    /// The descriptor to poll for [`Client::arrived`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Sends any request and waits for its answer. Without a time-out it waits for ever.
    pub fn request<T: DeserializeOwned>(&mut self, op: &str, mut body: Value, timeout: Option<Duration>) -> Result<T> {
        self.next_id += 1;
        let id = self.next_id;
        body["id"] = json!(id);
        body["op"] = json!(op);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.write(&wire::encode_json(&body), deadline)?;
        loop {
            let frame = self.read_frame(deadline)?.ok_or_else(gone)?;
            if frame.kind == wire::kind::JSON {
                let answer: Value = serde_json::from_slice(&frame.body).unwrap_or(Value::Null);
                if answer["id"] == json!(id) {
                    return read_answer(answer);
                }
            }
            self.sort(frame);
        }
    }

    fn sort(&mut self, frame: Frame) {
        if frame.kind == wire::kind::OUTPUT {
            self.events.push_back(Event::Output(frame.body));
            return;
        }
        // What is no object, or none that is known, is a newer supervisor's and skipped.
        let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(&frame.body) else {
            return;
        };
        if let Ok(entry) = serde_json::from_value(body["entry"].clone()) {
            self.events.push_back(Event::Entry(entry));
        } else if let (Some(rows), Some(cols)) = (body["size"]["rows"].as_u64(), body["size"]["cols"].as_u64()) {
            self.events.push_back(Event::Size(rows as u16, cols as u16));
        } else if let Some(state) = body["ended"]["state"].as_str() {
            self.events.push_back(Event::Ended(state.to_owned()));
        }
    }

    fn read_frame(&mut self, deadline: Option<Instant>) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|_| broken())? {
                return Ok(Some(frame));
            }
            self.wait(PollFlags::POLLIN, deadline)?;
            if self.fill()? {
                return self.decoder.next_frame().map_err(|_| broken());
            }
        }
    }

    /// Reads what is there; true when the supervisor has closed.
    fn fill(&mut self) -> Result<bool> {
        let mut chunk = [0; 32 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(true),
                Ok(count) => self.decoder.push(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Ok(true),
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8], deadline: Option<Instant>) -> Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT, deadline)?,
                Err(_) => return Err(gone()),
            }
        }
        Ok(())
    }

    fn wait(&self, flags: PollFlags, deadline: Option<Instant>) -> Result<()> {
        let mut fds = [PollFd::new(self.stream.as_fd(), flags)];
        match poll(&mut fds, exec::until(deadline)) {
            Ok(0) => Err(Error::new(
                Kind::Timeout,
                "the agent's supervisor did not answer in time",
            )),
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(Error::internal(format!("poll: {error}"))),
        }
    }
}

/// Waits until one of `clients` has something to say or has closed, at `deadline` the latest.
pub fn wait_any(clients: &[Client], deadline: Instant) -> Result<()> {
    let mut fds: Vec<PollFd<'_>> = clients
        .iter()
        .map(|each| PollFd::new(each.fd(), PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, exec::until(Some(deadline))) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(Error::internal(format!("poll: {error}"))),
    }
}

fn read_answer<T: DeserializeOwned>(mut answer: Value) -> Result<T> {
    if answer["error"].is_object() {
        let error = serde_json::from_value(answer["error"].take());
        return Err(error.unwrap_or_else(|_| Error::failed("the supervisor answered with an error of a newer version")));
    }
    serde_json::from_value(answer["ok"].take())
        .map_err(|error| Error::internal(format!("the supervisor's answer: {error}")))
}

fn gone() -> Error {
    Error::unavailable("the agent's supervisor has ended")
}

fn broken() -> Error {
    Error::internal("the supervisor's stream is broken")
}
