//! A program without a terminal whose output is a stream of events: what is shown of it, what is recorded, and how its
//! run ended. The events are read by [`crate::harness::stream`].
//!
//! The lines as they came are kept beside the output. The run's end is recorded before the program's, so whoever sees
//! that it has exited knows what came of it.

use std::io;
use std::time::Instant;

use fleet_core::Time;
use fleet_core::agent::Standing;
use fleet_core::fact::{Fact, Source};
use fleet_core::usage::Tokens;
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::dialogue::Dialogue;
use super::{Supervisor, now};
use crate::harness::stream::{
    self, Cli, Errors, Event, Exit, Outcome, Reader, Seen, Turns, view, view_error, view_prompt,
};
use crate::supervise::output::{Kept, Output};
use crate::supervise::spec::Spec;
use crate::{process, sys};

/// After a line longer than this the heap is given back: such lines are rare.
const LONG_LINE: usize = 256 * 1024;
/// The most bytes of a conversation's id.
const LONGEST_ID: usize = 128;

/// One run.
pub(super) struct Stream {
    cli: Cli,
    pub(super) dialogue: Option<Dialogue>,
    /// None when the run is over.
    reader: Option<Reader>,
    seen: Seen,
    turns: Turns,
    errors: Errors,
    raw: Output,
    /// Bytes since the last end of a line.
    unbroken: usize,
    /// The last signal that fleet sent to the program.
    sent: Option<i32>,
}

impl Stream {
    /// The stream that `spec` speaks of, if it does.
    pub(super) fn open(spec: &Spec, standing: &Standing) -> io::Result<Option<Stream>> {
        let Some(cli) = spec.stream else { return Ok(None) };
        let earlier = match spec.goes_on {
            false => Some(Tokens::default()),
            true => standing.conversation.as_ref().map(|_| standing.used_in_conversation),
        };
        Ok(Some(Stream {
            cli,
            dialogue: Dialogue::with(cli),
            reader: Some(Reader::going_on(cli, earlier)),
            seen: Seen::default(),
            turns: Turns::default(),
            errors: Errors::default(),
            raw: Output::open(&spec.agent_dir, Kept::Stream, spec.output_limit, 0, 0)?,
            unbroken: 0,
            sent: None,
        }))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.dialogue.as_ref().and_then(Dialogue::deadline)
    }

    /// Nothing more is kept.
    pub(super) fn close(&mut self) {
        self.raw.finish((0, 0), Vec::new);
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.raw.write(bytes, (0, 0), now(), Vec::new);
        let events = self.reader.as_mut().map_or_else(Vec::new, |reader| reader.feed(bytes));
        let before = self.unbroken;
        self.unbroken = match bytes.iter().rposition(|&byte| byte == b'\n') {
            Some(at) => bytes.len() - at - 1,
            None => before + bytes.len(),
        };
        if before > LONG_LINE && self.unbroken < before {
            sys::trim_heap();
        }
        events
    }

    /// How the run ended, and what was said about it.
    fn end(&self, exit: Exit) -> (Outcome, String) {
        let outcome = stream::outcome(self.cli, &self.seen, exit, self.sent);
        let text = match outcome {
            Outcome::Success | Outcome::Interrupted | Outcome::Killed { .. } => String::new(),
            _ if self.seen.said().is_empty() => self.errors.last(),
            _ => self.seen.said().to_owned(),
        };
        (outcome, text)
    }
}

impl Supervisor {
    /// Bytes of the stream.
    pub(super) fn take_stream(&mut self, bytes: &[u8]) {
        let events = self.stream.as_mut().map_or_else(Vec::new, |stream| stream.feed(bytes));
        self.take_events(events);
        let reader = self.stream.as_mut().and_then(|stream| stream.reader.as_mut());
        let replies = reader.map(Reader::take_replies).unwrap_or_default();
        self.say(&replies);
    }

    /// Bytes of the program's standard error.
    pub(super) fn read_errors(&mut self) {
        let mut chunk = vec![0; 32 * 1024];
        // As with the output: a program that floods must not keep requests waiting.
        for _ in 0..8 {
            let Some(pipe) = &self.errors else { return };
            match nix::unistd::read(pipe, &mut chunk) {
                Ok(0) => self.errors = None,
                Ok(count) => {
                    let Some(stream) = &mut self.stream else { return };
                    let lines = stream.errors.feed(&chunk[..count]);
                    self.show(lines.iter().flat_map(|line| view_error(line)));
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Shows what the run is asked, where its stream does not.
    pub(super) fn show_prompt(&mut self, prompt: &str) {
        if self.stream.is_some() {
            self.show(view_prompt(prompt));
        }
    }

    /// The program has ended: the rest of its stream, and how the run ended.
    pub(super) fn stream_ended(&mut self, exit: Exit) {
        self.read_errors();
        let Some(stream) = &mut self.stream else { return };
        let rest = stream.reader.take().map_or_else(Vec::new, Reader::finish);
        let complaint = stream.errors.finish();
        self.show(complaint.iter().flat_map(|line| view_error(line)));
        self.take_events(rest);
        let Some(stream) = &self.stream else { return };
        let (outcome, text) = match self.ended_by_limit() {
            Some(about) if !stream.seen.is_done() => (Outcome::Budget, about.to_owned()),
            _ => stream.end(exit),
        };
        self.show(view(&Event::End {
            outcome,
            text: text.clone(),
        }));
        self.record(Source::Program, Fact::Ended { outcome, text });
        sys::trim_heap();
    }

    fn take_events(&mut self, events: Vec<Event>) {
        let mut lines = Vec::new();
        let mut rests = false;
        // What it used comes before the end that says that something of it is missing.
        let cut = |event: &Event| {
            matches!(
                event,
                Event::End {
                    outcome: Outcome::Cut,
                    ..
                } | Event::Error {
                    outcome: Outcome::Cut,
                    ..
                }
            )
        };
        if events.iter().any(cut) {
            self.reply_broke_off();
        }
        for event in events {
            if let Some(stream) = &mut self.stream {
                stream.seen.note(&event);
                if stream.turns.begins(&event) {
                    self.model_turned();
                }
            }
            match &event {
                // What it comes to is shown when the program has ended.
                Event::End { .. } => continue,
                Event::Conversation { id } if is_id(id) && self.standing().conversation.as_ref() != Some(id) => {
                    self.record(Source::Program, Fact::Conversation { id: id.clone() });
                }
                Event::Usage(usage) => self.record_shared(usage.clone()),
                Event::SentOut { .. } | Event::Called { .. } | Event::CameBack { .. } => self.take_crew(&event),
                Event::Call { tool, .. } => {
                    let is_dispatch = self.stream.as_ref().is_some_and(|stream| stream.cli.dispatches(tool));
                    self.tool_called(is_dispatch);
                }
                Event::Limit {
                    resets_at: Some(at),
                    refused: true,
                    ..
                } => {
                    let until = Some(Time(at.saturating_mul(1000)));
                    self.record(Source::Program, Fact::Quota { until });
                }
                Event::Retry { why, .. } => self.asks_again(why),
                Event::Answered { number, refused } => self.prompt_answered(*number, refused.clone()),
                Event::Rest => rests = true,
                _ => {}
            }
            lines.extend(view(&event));
        }
        self.show(lines);
        if rests {
            self.program_rests();
        }
    }

    fn show(&mut self, lines: impl IntoIterator<Item = String>) {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line);
            text.push_str("\r\n");
        }
        if !text.is_empty() {
            self.keep(text.as_bytes());
        }
    }

    /// Ctrl-C for a program without a terminal: SIGINT to its group.
    pub(super) fn interrupt_headless(&mut self, pid: u32) {
        self.note_sent(Some(Signal::SIGINT));
        process::interrupt_group(pid);
    }

    /// Notes a signal that was sent to the program: some catch it, and then exit like after an error.
    pub(super) fn note_sent(&mut self, signal: Option<Signal>) {
        if let (Some(stream), Some(signal)) = (&mut self.stream, signal) {
            stream.sent = Some(signal as i32);
        }
    }
}

/// Whether this can be given to the program again as an argument, and is no flag there.
fn is_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !id.is_empty() && id.len() <= LONGEST_ID && !id.starts_with('-') && id.bytes().all(fits)
}
