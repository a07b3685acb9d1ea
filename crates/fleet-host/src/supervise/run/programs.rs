//! Starting: copied files, setup commands, the child.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use fleet_core::fact::{Fact, Receipt, Source};
use fleet_core::{Error, Result};

use super::{Running, Supervisor, report};
use crate::supervise::child::{self, Input, Terminal};
use crate::supervise::program::Program;
use crate::supervise::spec::Report;
use crate::sys;

impl Supervisor {
    /// Copies files, opens the terminal, and starts the first setup command or the child.
    pub(super) fn prepare(&mut self) -> Result<()> {
        for path in std::mem::take(&mut self.spec.copy) {
            let (from, to) = (self.spec.copy_from.join(&path), self.spec.cwd.join(&path));
            if to.exists() {
                continue;
            }
            let digest = crate::files::copy_file("supervisor.copy", &from, &to)?;
            self.record(Source::Supervisor, Fact::Copied { path, sha256: digest });
        }
        if !self.spec.headless || !self.spec.setup.is_empty() {
            let terminal = Terminal::open(self.spec.rows, self.spec.cols)
                .map_err(|error| Error::unavailable(format!("cannot open a terminal: {error}")))?;
            self.terminal = Some(terminal);
        }
        if let Some((id, text)) = self.spec.prompt_to_paste.take() {
            let known = self.standing().queue.iter().any(|(each, _)| *each == id);
            if !known {
                self.record(Source::Request, Fact::PromptQueued { id, text });
            }
        }
        self.join_meter()?;
        self.next_program(0);
        Ok(())
    }

    /// Starts setup command `index`, or the child when there is none.
    pub(super) fn next_program(&mut self, index: usize) {
        let started = match self.spec.setup.get(index).cloned() {
            Some(line) => {
                report(&Report::Setup(line.clone()));
                self.keep(format!("\x1b[2m$ {line}\x1b[0m\r\n").as_bytes());
                // The user's own shell line from the config; nothing is interpolated into it.
                let argv = ["/bin/sh".to_owned(), "-c".to_owned(), line];
                self.spawn("supervisor.setup", &argv, false)
                    .map(|(pid, _)| Running::Setup { index, pid })
            }
            None => self.start_child(),
        };
        match started {
            Ok(running) => self.running = running,
            Err(error) => self.fail(Error::failed(error.to_string())),
        }
    }

    pub(super) fn start_child(&mut self) -> io::Result<Running> {
        let argv = self.spec.argv.clone();
        // Before it starts: what replaces it from now on is an update.
        // A worker of a run is gone before anybody could ask whether its program was updated.
        let lasts = self.spec.driver.is_none();
        if let Some(program) = argv
            .first()
            .filter(|_| lasts)
            .and_then(|path| Program::look(Path::new(path)))
        {
            program.keep(&self.spec.agent_dir);
        }
        if !lasts {
            self.record(Source::Supervisor, Fact::Starting);
        }
        for (name, value) in std::mem::take(&mut self.spec.program_env) {
            self.spec.env.retain(|(each, _)| *each != name);
            self.spec.env.push((name, value));
        }
        let (pid, start) = self.spawn("supervisor.child", &argv, self.spec.headless)?;
        self.started_at = Instant::now();
        self.record(Source::Process, Fact::Started { pid, start });
        if let Some(id) = self.spec.prompt_in_argv.take() {
            self.first_turn_unseen = true;
            self.record(Source::Process, Fact::PromptTyped { id: id.clone() });
            if self.is_talked_to() {
                self.awaits_answer(id);
            } else {
                let by = if self.spec.headless {
                    Receipt::Stdin
                } else {
                    Receipt::Argv
                };
                self.record(Source::Process, Fact::PromptDelivered { id, by });
            }
        }
        report(&Report::Started(pid));
        self.close_report();
        // What it was started with is not needed any more, and some of it is secret.
        self.spec.env = Vec::new();
        self.spec.argv = Vec::new();
        self.spec.stdin = None;
        sys::trim_heap();
        Ok(Running::Child { pid })
    }

    pub(super) fn spawn(&mut self, site: &'static str, argv: &[String], on_pipes: bool) -> io::Result<(u32, u64)> {
        if on_pipes {
            let apart = self.stream.is_some();
            let (started, pipes) = child::on_pipes(site, argv, &self.spec.cwd, &self.spec.env, apart)?;
            let prompt = self.spec.stdin.take().unwrap_or_default();
            self.pipe = Some(pipes.output);
            self.errors = pipes.errors;
            self.show_prompt(&prompt);
            let (input, stays_open) = self.first_input(prompt);
            self.child_stdin = Some(Input {
                pipe: pipes.stdin,
                rest: input.into_bytes(),
                stays_open,
            });
            self.feed_child();
            return Ok(started);
        }
        let terminal = self.terminal.as_ref().ok_or_else(|| io::Error::other("no terminal"))?;
        child::on_terminal(site, argv, &self.spec.cwd, &self.spec.env, terminal)
    }

    /// Writes the input of a headless child, and closes it at its end if no more will come.
    pub(super) fn feed_child(&mut self) {
        let Some(Input { pipe, rest, stays_open }) = &mut self.child_stdin else {
            return;
        };
        while !rest.is_empty() {
            match pipe.write(rest) {
                Ok(count) => drop(rest.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => rest.clear(),
            }
        }
        if !*stays_open {
            self.child_stdin = None;
        }
    }

    /// The child could not be started.
    pub(super) fn fail(&mut self, error: Error) {
        self.running = Running::Nothing;
        self.record(
            Source::Process,
            Fact::StartFailed {
                why: error.message.clone(),
            },
        );
        let output = self.screen.text().join("\n").trim_end().to_owned();
        report(&Report::Failed(error.detail(output)));
        self.close_report();
        self.begin_sweep();
    }

    pub(super) fn close_report(&self) {
        if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
            for fd in [0, 1] {
                let _ = sys::replace_fd(null.as_fd(), fd);
            }
        }
    }
}
