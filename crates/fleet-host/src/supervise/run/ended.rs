//! Processes that ended: notifiers, setup commands, the child.

use std::time::Duration;

use fleet_core::Error;
use fleet_core::fact::{Fact, Source};
use fleet_core::outcome::Outcome as Ended;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Running, Supervisor};
use crate::harness::stream::Exit;
use crate::supervise::wire::Outcome;

impl Supervisor {
    pub(super) fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if info.ssi_signo == Signal::SIGTERM as u32 {
                self.begin_stop(false, Duration::from_millis(self.spec.grace_ms));
            }
        }
        loop {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => self.reaped(pid.as_raw() as u32, Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.reaped(pid.as_raw() as u32, Exit::Signal(signal as i32))
                }
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }

    fn reaped(&mut self, pid: u32, exit: Exit) {
        let code = exit.code();
        if let Some(index) = self.notifiers.iter().position(|each| each.pid == pid) {
            let notifier = self.notifiers.swap_remove(index);
            let code = (code != 128 + Signal::SIGKILL as i32).then_some(code);
            self.record(
                Source::Process,
                Fact::Notified {
                    hook: notifier.hook.to_owned(),
                    code,
                },
            );
            return;
        }
        match self.running {
            Running::Setup { index, pid: own } if own == pid => {
                self.read_output();
                let command = self.spec.setup[index].clone();
                self.record(
                    Source::Process,
                    Fact::Setup {
                        command: command.clone(),
                        code,
                    },
                );
                self.running = Running::Nothing;
                if self.stop.is_some() {
                    self.record(Source::Process, Fact::Exited { code });
                } else if code != 0 && !self.spec.keep_going {
                    let why = format!("the setup command `{command}` ended with exit code {code}");
                    let hint = "correct it: `fleet config edit`; or start all the same: add `--keep-going`";
                    self.fail(Error::failed(why).hint(hint));
                } else {
                    self.next_program(index + 1);
                }
            }
            Running::Child { pid: own } if own == pid => {
                self.running = Running::Nothing;
                self.read_output();
                self.stream_ended(exit);
                self.child_ended(code);
            }
            _ => {}
        }
    }

    fn child_ended(&mut self, code: i32) {
        self.read_all_transcripts();
        self.dialogue_ended();
        if let Some(delivery) = self.delivery.take() {
            if delivery.entered() {
                let why = "the program ended before a receipt was seen";
                self.finish_prompt(&delivery.id, Outcome::Unverified, why);
            } else if !self.standing().waits(&delivery.id) {
                let why = "the program ended before Enter was pressed, so it has not taken the text";
                self.finish_prompt(&delivery.id, Outcome::Refused, why);
            }
        }
        if self.stream.is_none()
            && let Some(about) = self.ended_by_limit()
        {
            let text = about.to_owned();
            self.record(
                Source::Supervisor,
                Fact::Ended {
                    outcome: Ended::Budget,
                    text,
                },
            );
        }
        self.record(Source::Process, Fact::Exited { code });
        if self.stop.is_none() {
            self.begin_sweep();
        }
    }
}
