//! The connections of a supervisor: requests, watchers and views.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::wire::{self, Decoder, Frame};

/// Output that a view has not taken is kept up to this; then the view gets a fresh redraw instead.
const MOST_UNSENT: usize = 1024 * 1024;

/// At most this many pieces are read at a time: a peer that never pauses must not keep the others waiting.
const PIECES: usize = 8;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) key: u64,
    pub(crate) stream: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
    pub(crate) closed: bool,
    pub(crate) greeted: bool,
    pub(crate) watches: bool,
    /// Whether it has sent input for the program.
    pub(crate) types: bool,
    /// Rows and columns of the view's terminal, once it is a view.
    pub(crate) view: Option<(u16, u16)>,
    behind: bool,
}

impl Connection {
    pub(crate) fn new(key: u64, stream: UnixStream) -> std::io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection {
            key,
            stream,
            decoder: Decoder::default(),
            unsent: Vec::new(),
            closed: false,
            greeted: false,
            watches: false,
            types: false,
            view: None,
            behind: false,
        })
    }

    /// Whole frames that have arrived, as far as one turn goes. A broken stream closes the connection.
    pub(crate) fn read(&mut self) -> Vec<Frame> {
        let mut chunk = [0; 16 * 1024];
        let mut frames = Vec::new();
        for _ in 0..PIECES {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(count) => self.decoder.push(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.closed = true,
            }
            loop {
                match self.decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(wire::BadFrame) => {
                        self.send(&json!({"error": {"kind": "usage", "message": "the frame is too long"}}));
                        self.closed = true;
                        break;
                    }
                }
            }
            if self.closed {
                break;
            }
        }
        frames
    }

    pub(crate) fn send(&mut self, value: &Value) {
        self.push(&wire::encode_json(value));
    }

    /// Output for a view. One that is far behind loses the rest and is redrawn by [`Connection::catch_up`].
    pub(crate) fn send_output(&mut self, bytes: &[u8]) {
        if self.behind || self.unsent.len() > MOST_UNSENT {
            self.behind = true;
            return;
        }
        self.push(&wire::encode(wire::kind::OUTPUT, bytes));
    }

    /// Sends what waits; then, if output was left out, what `redraw` gives.
    pub(crate) fn catch_up(&mut self, redraw: impl FnOnce() -> Vec<u8>) {
        self.flush();
        if self.behind && self.unsent.is_empty() {
            self.behind = false;
            self.push(&wire::encode(wire::kind::OUTPUT, &redraw()));
        }
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        !self.unsent.is_empty() || self.behind
    }

    fn push(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        let mut written = 0;
        while written < self.unsent.len() {
            match self.stream.write(&self.unsent[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.closed = true;
                    written = self.unsent.len();
                }
            }
        }
        self.unsent.drain(..written);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
    }
}
