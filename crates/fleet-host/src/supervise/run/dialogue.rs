//! Prompts to a program without a terminal that takes them while it runs, see [`Commands`].
//!
//! States: it has a prompt that it has not answered → it works → it rests, which its stream says. When it rests the
//! next prompt of the queue is written; without one its input is closed, and it exits. So prompts wait where those of
//! programs with a terminal wait, on disk and in order, and never in the memory of a program that may be killed.
//!
//! One prompt is on its way at a time, and nothing is done before the program has answered it. An interrupt ends the
//! run after its turn; what is queued stays there for the next run.

use std::time::{Duration, Instant};

use fleet_core::fact::{Fact, Receipt, Source};

use super::{Running, Supervisor};
use crate::harness::stream::{Cli, Commands, plain};
use crate::supervise::wire::{Outcome, Prompted};

/// How long those who wait for an answer to a prompt are kept waiting.
const ANSWERS_IN: Duration = Duration::from_secs(10);

/// Talking to one program.
pub(super) struct Dialogue {
    commands: Commands,
    /// Prompts that were written.
    count: u64,
    /// The last of them, while it has no answer.
    open: Option<Open>,
    /// It is given nothing more.
    over: bool,
}

/// A prompt that was written and has no answer.
struct Open {
    id: String,
    /// None when nobody waits for the answer: of the first prompt, and after too long.
    deadline: Option<Instant>,
    /// Whether it was recorded how it ended.
    ended: bool,
}

impl Dialogue {
    /// With the program of `cli`, if it can be talked to while it runs.
    pub(super) fn with(cli: Cli) -> Option<Dialogue> {
        cli.commands().map(|commands| Dialogue {
            commands,
            count: 0,
            open: None,
            over: false,
        })
    }

    /// When nobody waits for an answer any more.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.as_ref().and_then(|open| open.deadline)
    }

    fn next_line(&mut self, text: &str) -> String {
        self.count += 1;
        (self.commands.prompt)(self.count, text)
    }
}

impl Supervisor {
    fn dialogue(&mut self) -> Option<&mut Dialogue> {
        self.stream.as_mut()?.dialogue.as_mut()
    }

    /// Whether the program is talked to while it runs.
    pub(super) fn is_talked_to(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.dialogue.is_some())
    }

    /// Whether it will be given what is queued now.
    pub(super) fn takes_later_prompts(&self) -> bool {
        let dialogue = self.stream.as_ref().and_then(|stream| stream.dialogue.as_ref());
        dialogue.is_some_and(|dialogue| !dialogue.over)
    }

    /// Whether the prompt `id` was written to it and has no answer.
    pub(super) fn is_unanswered(&self, id: &str) -> bool {
        let dialogue = self.stream.as_ref().and_then(|stream| stream.dialogue.as_ref());
        dialogue
            .and_then(|dialogue| dialogue.open.as_ref())
            .is_some_and(|open| open.id == id && !open.ended)
    }

    /// What a program without a terminal is given first, and whether its input stays open behind it.
    pub(super) fn first_input(&mut self, prompt: String) -> (String, bool) {
        match self.dialogue() {
            Some(dialogue) => (dialogue.next_line(&prompt), true),
            None => (prompt, false),
        }
    }

    /// The first prompt `id` is part of the input of a program that will answer it.
    pub(super) fn awaits_answer(&mut self, id: String) {
        self.record(Source::Process, Fact::Busy { rule: None });
        if let Some(dialogue) = self.dialogue() {
            dialogue.open = Some(Open {
                id,
                deadline: None,
                ended: false,
            });
        }
    }

    /// Writes to the program while its input is open.
    pub(super) fn say(&mut self, lines: &str) {
        if let Some(input) = self.child_stdin.as_mut().filter(|input| input.stays_open) {
            input.rest.extend_from_slice(lines.as_bytes());
            self.feed_child();
        }
    }

    /// It has nothing left to do.
    pub(super) fn program_rests(&mut self) {
        let runs = matches!(self.running, Running::Child { .. }) && self.stop.is_none();
        let Some(dialogue) = self.dialogue() else { return };
        if dialogue.open.is_some() {
            return;
        }
        let ends = dialogue.over || !runs;
        let next = self.standing().queue.first().filter(|_| !ends).cloned();
        if next.is_some_and(|(id, text)| self.write_prompt(id, &text)) {
            return;
        }
        if let Some(dialogue) = self.dialogue() {
            dialogue.over = true;
        }
        if let Some(input) = &mut self.child_stdin {
            input.stays_open = false;
        }
        self.feed_child();
    }

    /// Writes a prompt of the queue. False, and nothing is written, if the journal cannot say so.
    fn write_prompt(&mut self, id: String, text: &str) -> bool {
        // From the first byte on the program may have it.
        let typed = Fact::PromptTyped { id: id.clone() };
        if !self.record(Source::Request, typed) || !self.record(Source::Request, Fact::Busy { rule: None }) {
            return false;
        }
        self.show_prompt(text);
        let Some(dialogue) = self.dialogue() else { return false };
        let line = dialogue.next_line(text);
        dialogue.open = Some(Open {
            id,
            deadline: Some(Instant::now() + ANSWERS_IN),
            ended: false,
        });
        self.say(&line);
        true
    }

    /// The answer to the prompt of this number.
    pub(super) fn prompt_answered(&mut self, number: u64, refused: Option<String>) {
        let Some(dialogue) = self.dialogue().filter(|dialogue| dialogue.count == number) else {
            return;
        };
        let Some(Open { id, ended: false, .. }) = dialogue.open.take() else {
            return;
        };
        let (fact, outcome, why) = match refused {
            None => {
                let by = Receipt::Program;
                let why = "the program has begun with it".to_owned();
                (Fact::PromptDelivered { id: id.clone(), by }, Outcome::Delivered, why)
            }
            Some(why) => {
                let why = plain(&why).replace('\n', " ");
                let fact = Fact::PromptRefused {
                    id: id.clone(),
                    why: why.clone(),
                };
                (fact, Outcome::Refused, why)
            }
        };
        self.record(Source::Program, fact);
        self.prompt_ended(id, Prompted { outcome, why });
    }

    /// Lets those go who have waited too long for an answer.
    pub(super) fn step_dialogue(&mut self, now: Instant) {
        let late = |dialogue: &&mut Dialogue| dialogue.deadline().is_some_and(|at| now >= at);
        if self.dialogue().filter(late).is_some() {
            self.unanswered("it was written, and the program has not answered");
        }
    }

    /// The program has ended: it answers nothing more.
    pub(super) fn dialogue_ended(&mut self) {
        self.unanswered("the program ended before it answered");
        if let Some(dialogue) = self.dialogue() {
            dialogue.over = true;
        }
    }

    fn unanswered(&mut self, why: &str) {
        let Some(open) = self.dialogue().and_then(|dialogue| dialogue.open.as_mut()) else {
            return;
        };
        open.deadline = None;
        if std::mem::replace(&mut open.ended, true) {
            return;
        }
        let (id, why) = (open.id.clone(), why.to_owned());
        let fact = Fact::PromptUnverified {
            id: id.clone(),
            why: why.clone(),
        };
        self.record(Source::Program, fact);
        let outcome = Outcome::Unverified;
        self.prompt_ended(id, Prompted { outcome, why });
    }

    /// Tells the program to end its turn. False if that is of no use: it is not talked to, was told so before, or reads
    /// the prompt yet.
    pub(super) fn abort_turn(&mut self) -> bool {
        let Some(dialogue) = self.dialogue() else { return false };
        if dialogue.over || dialogue.open.is_some() {
            return false;
        }
        dialogue.over = true;
        let line = (dialogue.commands.abort)();
        self.say(&line);
        true
    }
}
