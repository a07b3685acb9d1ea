//! Connections: requests, views and what is typed into them.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fleet_core::fact::{Fact, Source};
use fleet_core::{Error, Result};
use serde_json::{Value, json};

use super::{DEAF, Supervisor, Waiter, is_shown, to_json};
use crate::supervise::views::Connection;
use crate::supervise::wire::{self, Frame, Status};
use crate::sys;

impl Supervisor {
    pub(super) fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Ok(connection) = Connection::new(self.next_key, stream) {
                        self.connections.push(connection);
                        self.next_key += 1;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    // No descriptor is left. The caller stays in line, and the poll would tell of it without end.
                    _ => {
                        self.deaf_until = Some(Instant::now() + DEAF);
                        return;
                    }
                },
            }
        }
    }

    pub(super) fn hear(&mut self, key: u64) {
        let Some(index) = self.connections.iter().position(|each| each.key == key) else {
            return;
        };
        let screen = &self.screen;
        let connection = &mut self.connections[index];
        if connection.wants_to_write() {
            connection.catch_up(|| screen.snapshot());
        }
        for frame in connection.read() {
            self.take_frame(key, &frame);
        }
    }

    pub(super) fn take_frame(&mut self, key: u64, frame: &Frame) {
        match frame.kind {
            wire::kind::INPUT => self.typed(key, &frame.body),
            wire::kind::JSON => match serde_json::from_slice::<Value>(&frame.body) {
                Ok(body) if body["op"] == "report" => self.asked_to_report(key, &body, frame.body.len()),
                Ok(body) => self.take_request(key, &body),
                Err(error) => {
                    self.send(
                        key,
                        &json!({"error": {"kind": "usage", "message": format!("unreadable JSON: {error}")}}),
                    );
                }
            },
            other => {
                self.send(
                    key,
                    &json!({"error": {"kind": "usage", "message": format!("unknown frame kind {other}")}}),
                );
            }
        }
    }

    pub(super) fn take_request(&mut self, key: u64, body: &Value) {
        if body.get("hello").is_some() {
            if let Some(connection) = self.connections.iter_mut().find(|each| each.key == key) {
                connection.greeted = true;
            }
            let hello = json!({
                "hello": wire::VERSION, "agent": self.spec.agent, "generation": self.spec.generation,
                "version": env!("CARGO_PKG_VERSION"),
            });
            self.send(key, &hello);
            return;
        }
        let request = body["id"].clone();
        let result = match body["op"].as_str() {
            Some("status") => {
                let status = self.status();
                self.answer(key, &request, to_json(&status));
                Ok(())
            }
            Some("view") => self.asked_to_view(key, &request, body),
            Some("resize") => {
                if let Some(size) = size_of(body) {
                    self.resized(key, size);
                }
                self.answer(key, &request, json!({}));
                Ok(())
            }
            Some("watch") => {
                if let Some(connection) = self.connections.iter_mut().find(|each| each.key == key) {
                    connection.watches = true;
                }
                let (seq, state) = (self.standing().seq, self.state().to_string());
                self.answer(key, &request, json!({ "seq": seq, "state": state }));
                Ok(())
            }
            Some("look") => {
                let look = self.look();
                self.answer(key, &request, to_json(&look));
                Ok(())
            }
            Some("limit") => self
                .asked_to_limit(body)
                .map(|answer| self.answer(key, &request, answer)),
            Some("meter") => self
                .asked_by_meter(body)
                .map(|answer| self.answer(key, &request, answer)),
            Some("interrupt") => self.asked_to_interrupt(key, request.clone()),
            Some("prompt") => self.asked_to_prompt(key, request.clone(), body),
            Some("stop") => {
                let grace = body["grace_ms"].as_u64().unwrap_or(self.spec.grace_ms);
                self.waiters.push(Waiter {
                    connection: key,
                    request: request.clone(),
                    prompt: None,
                });
                self.begin_stop(body["force"].as_bool().unwrap_or(false), Duration::from_millis(grace));
                Ok(())
            }
            Some(other) => Err(Error::usage(format!("unknown operation `{other}`"))),
            None => Err(Error::usage("a request wants an `op`")),
        };
        if let Err(error) = result {
            self.send(key, &json!({ "id": request, "error": to_json(&error) }));
        }
    }

    pub(super) fn asked_to_view(&mut self, key: u64, request: &Value, body: &Value) -> Result<()> {
        let size = size_of(body).ok_or_else(|| Error::usage("`view` wants `rows` and `cols`"))?;
        let Some(index) = self.connections.iter().position(|each| each.key == key) else {
            return Ok(());
        };
        self.connections[index].view = Some(size);
        if self.active_view.is_none() {
            self.activate(key, size);
        }
        let (rows, cols) = self.screen.size();
        let answer = json!({ "rows": rows, "cols": cols, "title": self.screen.title() });
        self.answer(key, request, answer);
        let snapshot = self.screen.snapshot();
        self.connections[index].send_output(&snapshot);
        Ok(())
    }

    /// A view's terminal has another size. It is redrawn in any case: what it showed was cut or flowed anew.
    fn resized(&mut self, key: u64, size: (u16, u16)) {
        let Some(index) = self.connections.iter().position(|each| each.key == key) else {
            return;
        };
        self.connections[index].view = Some(size);
        if !self.activate(key, size) {
            let snapshot = self.screen.snapshot();
            self.connections[index].send_output(&snapshot);
        }
    }

    /// Makes the view `key` the one that decides the size. The most recently active one does. True if the size
    /// has changed, and so every view was redrawn.
    pub(super) fn activate(&mut self, key: u64, (rows, cols): (u16, u16)) -> bool {
        if !is_shown((rows, cols)) {
            return false;
        }
        self.active_view = Some(key);
        if self.screen.size() == (rows, cols) {
            return false;
        }
        let Some(terminal) = &self.terminal else { return false };
        if sys::set_window_size(terminal.master.as_fd(), rows, cols).is_err() {
            return false;
        }
        self.screen.resize(rows, cols);
        self.output.mark(rows, cols, super::now());
        let event = json!({ "size": { "rows": rows, "cols": cols } });
        for connection in self.connections.iter_mut().filter(|each| each.view.is_some()) {
            connection.send(&event);
            // A real terminal reflows in its own way: it is brought back to what this one shows.
            connection.send_output(&self.screen.snapshot());
        }
        self.dirty_since.get_or_insert_with(Instant::now);
        true
    }

    /// Keys from a view. While a prompt is on its way they wait, so that nothing comes between.
    pub(super) fn typed(&mut self, key: u64, bytes: &[u8]) {
        if self.terminal.is_none() || self.pipe.is_some() {
            return;
        }
        let size = self
            .connections
            .iter_mut()
            .find(|each| each.key == key)
            .and_then(|each| {
                each.types = true;
                each.view
            });
        if let Some(size) = size.filter(|_| self.active_view != Some(key)) {
            self.activate(key, size);
        }
        self.keys_at = Some(Instant::now());
        if bytes.iter().any(|byte| matches!(byte, 0x1b | 0x03)) {
            self.turn_may_be_over();
        }
        if self.delivery.is_some() {
            self.held_input.extend_from_slice(bytes);
            return;
        }
        if bytes.contains(&b'\r') && self.standing().at_prompt == Some(true) {
            self.entered_at = Some(Instant::now());
            self.record(Source::Request, Fact::Busy { rule: None });
            self.dirty_since.get_or_insert_with(Instant::now);
        }
        self.unsent.extend_from_slice(bytes);
        self.flush_input();
    }

    pub(super) fn status(&self) -> Status {
        let (state, rule) = self.standing().state(true);
        let (rows, cols) = self.screen.size();
        let modes = self.screen.modes();
        Status {
            state: state.to_string(),
            rule: rule.to_owned(),
            seq: self.standing().seq,
            rows,
            cols,
            views: self.connections.iter().filter(|each| each.view.is_some()).count(),
            queued: self.standing().queue.len(),
            title: self.screen.title().map(str::to_owned),
            cursor_line: self.screen.cursor_line(),
            bracketed_paste: modes.bracketed_paste,
            full_screen: modes.alt_screen,
        }
    }

    pub(super) fn answer(&mut self, key: u64, request: &Value, ok: Value) {
        self.send(key, &json!({ "id": request, "ok": ok }));
    }

    pub(super) fn send(&mut self, key: u64, value: &Value) {
        if let Some(connection) = self.connections.iter_mut().find(|each| each.key == key) {
            connection.send(value);
        }
    }
}

fn size_of(body: &Value) -> Option<(u16, u16)> {
    let number = |name: &str| {
        body[name]
            .as_u64()
            .and_then(|value| u16::try_from(value).ok())
            .filter(|value| *value > 0)
    };
    Some((number("rows")?, number("cols")?))
}
