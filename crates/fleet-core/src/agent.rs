//! One agent: what is recorded of it, and the state that follows from the facts of its journal.
//!
//! States: `starting · ready · working · waiting(reason) · idle · exited(code) · lost`.
//!
//! The rules, first match wins (see [`Standing::state`]):
//! 1. the child ended → `exited(code)`
//! 2. nobody holds the supervisor's lock → `lost`
//! 3. the child does not run yet → `starting`
//! 4. a person is being asked → `waiting(reason)`, whatever else is so
//! 5. it is at its prompt and has used what it may → `waiting(budget)`
//! 6. the harness has no rules → `working`, never a guessed `idle`
//! 7. no rule has told of a prompt or of work yet → `starting`
//! 8. it is at its prompt and a prompt is on its way → `working`
//! 9. it is at its prompt → `ready` before the first turn, `idle` after one
//! 10. otherwise → `working`
//!
//! Deliberately not decided here: whether the lock is held (an argument), and what a screen means (a fact).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::{Level, Rung};
use crate::fact::{Entry, Fact};
use crate::id::AgentId;
use crate::money::Usd;
use crate::outcome::Outcome;
use crate::task::TaskId;
use crate::usage::{Tokens, Usage};
use crate::{Error, Time};

/// Why an agent waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A tool wants permission.
    Permission,
    /// The agent asked a question.
    Question,
    /// A provider's quota is used up.
    Limit,
    /// The harness wants a login.
    Login,
    /// It has used what it may, and somebody has to raise the limit.
    Budget,
}

impl Reason {
    const ALL: [(Reason, &str); 5] = [
        (Reason::Permission, "permission"),
        (Reason::Question, "question"),
        (Reason::Limit, "limit"),
        (Reason::Login, "login"),
        (Reason::Budget, "budget"),
    ];
}

/// How an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It is being set up, or its program has not shown that it is up.
    Starting,
    /// It is up and has not been given a turn.
    Ready,
    /// It works, or its harness gives no way to tell.
    Working,
    /// It waits for a person.
    Waiting(Reason),
    /// It finished a turn.
    Idle,
    /// Its program ended with this code (128 + n for signal n).
    Exited(i32),
    /// Its supervisor is gone and no end was recorded.
    Lost,
}

impl State {
    /// Whether the agent's program may still run.
    pub fn is_live(self) -> bool {
        !matches!(self, State::Exited(_) | State::Lost)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Starting => f.write_str("starting"),
            State::Ready => f.write_str("ready"),
            State::Working => f.write_str("working"),
            State::Waiting(reason) => {
                let name = Reason::ALL
                    .iter()
                    .find(|(each, _)| each == reason)
                    .map_or("", |(_, name)| name);
                write!(f, "waiting({name})")
            }
            State::Idle => f.write_str("idle"),
            State::Exited(code) => write!(f, "exited({code})"),
            State::Lost => f.write_str("lost"),
        }
    }
}

impl std::str::FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, argument) = match text.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let state = match (name, argument) {
            ("starting", None) => Some(State::Starting),
            ("ready", None) => Some(State::Ready),
            ("working", None) => Some(State::Working),
            ("idle", None) => Some(State::Idle),
            ("lost", None) => Some(State::Lost),
            ("exited", Some(code)) => code.parse().ok().map(State::Exited),
            ("waiting", Some(reason)) => Reason::ALL
                .iter()
                .find(|(_, name)| *name == reason)
                .map(|(reason, _)| State::Waiting(*reason)),
            _ => None,
        };
        state.ok_or_else(|| Error::usage(format!("`{text}` is no state")))
    }
}

/// A set of states to wait for, as the user names it: `waiting` and `exited` mean any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Exactly this state.
    State(State),
    /// `waiting` for any reason.
    Waiting,
    /// `exited` with any code.
    Exited,
}

impl Until {
    /// The names a user may give, for hints.
    pub const NAMES: [&str; 7] = ["starting", "ready", "working", "waiting", "idle", "exited", "lost"];

    /// Whether `state` is in the set.
    pub fn holds(self, state: State) -> bool {
        match self {
            Until::State(wanted) => wanted == state,
            Until::Waiting => matches!(state, State::Waiting(_)),
            Until::Exited => matches!(state, State::Exited(_)),
        }
    }
}

impl std::str::FromStr for Until {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "waiting" => Ok(Until::Waiting),
            "exited" => Ok(Until::Exited),
            _ => text.parse().map(Until::State).map_err(|error| {
                let near = crate::nearest::nearest(text, Until::NAMES, 1);
                let hint = match near.first() {
                    Some(name) => format!("did you mean `{name}`? The states are {}", Until::NAMES.join(", ")),
                    None => format!("the states are {}", Until::NAMES.join(", ")),
                };
                error.hint(hint)
            }),
        }
    }
}

/// Which part of an agent's life the store has recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its names are taken; its workspace is being made.
    Reserved,
    /// It was started. Whether it lives is known from its lock and journal alone.
    Started,
    /// Its end was asked for and is being carried out.
    Ending,
    /// Its workspace is gone and its names are free.
    Ended,
}

/// Where an agent works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Workspace {
    /// A git worktree of its own, on its own branch; fleet made it and removes it.
    Worktree,
    /// A directory of the user's (`--here`); fleet never changes or removes it.
    Here,
}

/// What the store keeps of one agent. The key of a live agent is (`repo`, `branch`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Real path of the repository's common git directory.
    pub repo: PathBuf,
    /// Folder name of the repository's main checkout, for people.
    pub repo_name: String,
    /// Its branch, or its label with [`Workspace::Here`].
    pub branch: String,
    /// Whether it works in a worktree of its own.
    pub workspace: Workspace,
    /// Where it works, absolute.
    pub worktree: PathBuf,
    /// Whether other agents of the same run work there, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Name of its tmux session; the session may not exist yet (headless agents get it at the first attach).
    pub session: String,
    /// The batch it was made in.
    pub batch_id: String,
    /// The task that it works for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Name of its harness.
    pub harness: String,
    /// The model asked for.
    pub model: Option<String>,
    /// The commit its worktree started from.
    pub base: Option<String>,
    /// Whether fleet made the branch.
    pub made_branch: bool,
    /// Without a terminal: prompt on standard input, output by pipe.
    pub headless: bool,
    /// Process id of its program, once started.
    pub pid: Option<u32>,
    /// First port of its block.
    pub port_base: u16,
    /// Names (never values) of the variables that `--env` gave it.
    pub env_names: Vec<String>,
    /// The harness's conversation, where it has an id.
    pub conversation: Option<String>,
    /// How far its life has come.
    pub phase: Phase,
    /// How often it was launched.
    pub generation: u32,
    /// When its names were taken.
    pub created_at: Time,
    /// When its end was complete.
    pub ended_at: Option<Time>,
}

/// Everything the facts of one journal say, folded; ordered by sequence, not by clocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Sequence of the last fact.
    pub seq: u64,
    /// Launches so far.
    pub generation: u32,
    /// Whether the harness has a `ready` rule.
    pub ready_rule: bool,
    /// The running child: pid and start time.
    pub child: Option<(u32, u64)>,
    /// Whether the child of this generation was started, or may have been.
    pub may_have_run: bool,
    /// Exit code of the child of this generation.
    pub exited: Option<i32>,
    /// Why the child could not be started.
    pub start_failed: Option<String>,
    /// Whether the program is at its prompt; none before that was first known in this generation.
    pub at_prompt: Option<bool>,
    /// What a person is being asked for.
    pub asked: Option<Reason>,
    /// Prompts the program has taken, over all generations.
    pub turns: u32,
    /// Prompts that wait for the end of the turn, in order: id and text.
    pub queue: Vec<(String, String)>,
    /// The prompt that was written and has no receipt yet.
    pub typed: Option<String>,
    /// The text of [`Standing::typed`] while Enter was not pressed: if it waited in the queue, it waits again when
    /// the program ends, which cannot have taken it.
    pub typed_text: Option<String>,
    /// Files that were copied into the workspace: path and SHA-256.
    pub copied: Vec<(String, String)>,
    /// Whether the end was asked for.
    pub stopping: bool,
    /// The program's own id of its conversation, as it told it last.
    pub conversation: Option<String>,
    /// Whether there is a conversation to go on with: a prompt was given, or it has worked after it was ready.
    pub talked: bool,
    /// What was used over all generations: one account for each model, source and basis.
    pub used: Vec<Usage>,
    /// What was used since [`Standing::conversation`] was first told of.
    pub used_in_conversation: Tokens,
    /// What a limit said last: how near it is, which, and what was used of what.
    pub limit: Option<(Level, Rung, String)>,
    /// When the service's own limit is lifted, where it refused this launch and says so.
    pub quota: Option<Time>,
    /// What was spent over all generations by fleet's account, and how many entries have no known cost.
    pub spent: (Usd, u64),
    /// How this generation's run without a terminal ended, and what was said about it.
    pub outcome: Option<(Outcome, String)>,
}

impl Standing {
    /// The standing after all of `entries`.
    pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut standing = Self::default();
        for entry in entries {
            standing.apply(entry.seq, &entry.fact);
        }
        standing
    }

    /// Adds `usage` to the account of its model and source. What can be relied on less is an account of its own.
    fn account(&mut self, usage: &Usage) {
        let kind = |of: &Usage| (of.model.clone(), of.source.clone(), of.basis);
        let Some(account) = self.used.iter_mut().find(|each| kind(each) == kind(usage)) else {
            self.used.push(usage.clone());
            return;
        };
        account.tokens += usage.tokens;
        account.cost_usd = match (account.cost_usd, usage.cost_usd) {
            (Some(before), Some(more)) => Some(before + more),
            (known, None) | (None, known) => known,
        };
    }

    /// Takes in one fact. A sequence that was seen already changes nothing.
    pub fn apply(&mut self, seq: u64, fact: &Fact) {
        if seq <= self.seq {
            return;
        }
        self.seq = seq;
        match fact {
            Fact::Launched {
                generation,
                ready_rule,
                fresh,
                ..
            } => {
                self.take_back();
                if *fresh {
                    self.conversation = None;
                    self.talked = false;
                }
                self.generation = *generation;
                self.ready_rule = *ready_rule;
                self.child = None;
                self.may_have_run = false;
                self.exited = None;
                self.start_failed = None;
                self.at_prompt = None;
                self.asked = None;
                self.typed = None;
                self.stopping = false;
                self.limit = None;
                self.quota = None;
                self.outcome = None;
            }
            Fact::Copied { path, sha256 } => {
                self.copied.retain(|(each, _)| each != path);
                self.copied.push((path.clone(), sha256.clone()));
            }
            Fact::Starting => self.may_have_run = true,
            Fact::Started { pid, start } => {
                self.may_have_run = true;
                self.child = Some((*pid, *start));
            }
            Fact::StartFailed { why } => {
                self.may_have_run = false;
                self.start_failed = Some(why.clone());
                self.exited = Some(127);
            }
            Fact::Ready { .. } => {
                self.at_prompt = Some(true);
                self.asked = None;
            }
            Fact::Busy { rule } => {
                // A person may have typed it: nobody else knows of that turn.
                self.talked |= self.at_prompt == Some(true);
                // Without a rule it only says that Enter was pressed: the program may still be coming up.
                self.at_prompt = rule.as_ref().map(|_| false).or(self.at_prompt.map(|_| false));
                self.asked = None;
                self.typed_text = None;
            }
            Fact::Asked { reason, .. } => {
                self.at_prompt = Some(false);
                self.asked = Some(*reason);
            }
            Fact::PromptQueued { id, text } => self.queue.push((id.clone(), text.clone())),
            Fact::PromptTyped { id } => {
                let at = self.queue.iter().position(|(each, _)| each == id);
                self.typed_text = at.map(|at| self.queue.remove(at).1);
                self.typed = Some(id.clone());
            }
            Fact::PromptDelivered { .. } => {
                self.typed = None;
                self.typed_text = None;
                self.talked = true;
                self.turns += 1;
            }
            // It was given and nobody has seen how it was taken; the program's next prompt ends that turn as well.
            Fact::PromptUnverified { .. } => {
                self.typed = None;
                self.typed_text = None;
                self.talked = true;
                self.turns += 1;
            }
            Fact::PromptRefused { id, .. } => {
                self.queue.retain(|(each, _)| each != id);
                if self.typed.as_ref() == Some(id) {
                    self.typed = None;
                    self.typed_text = None;
                }
            }
            Fact::Conversation { id } => {
                if self.conversation.as_ref() != Some(id) {
                    self.used_in_conversation = Tokens::default();
                }
                self.conversation = Some(id.clone());
            }
            Fact::Used(used) => {
                if used.request.is_none() {
                    self.used_in_conversation += used.usage.tokens;
                }
                if !used.beside {
                    match used.cost {
                        Some(cost) => self.spent.0 = self.spent.0 + cost,
                        None => self.spent.1 += 1,
                    }
                }
                // What the proxy has counted is not told twice.
                if !used.beside || used.usage.tokens == Tokens::default() {
                    self.account(&used.usage);
                }
            }
            Fact::Budget { level, rung, about } => self.limit = Some((*level, *rung, about.clone())),
            Fact::Limited { .. } => self.limit = None,
            Fact::Ended { outcome, text } => self.outcome = Some((*outcome, text.clone())),
            Fact::Stopping { .. } => self.stopping = true,
            Fact::Quota { until } => self.quota = *until,
            Fact::Exited { code } => {
                self.take_back();
                self.exited = Some(*code);
            }
            Fact::Setup { .. }
            | Fact::Swept { .. }
            | Fact::Notified { .. }
            | Fact::Interrupted
            | Fact::SentOut { .. }
            | Fact::CameBack { .. }
            | Fact::Meter { .. }
            | Fact::Unknown => {}
        }
    }

    /// Whether the prompt `id` waits to be delivered, now or when the agent is resumed.
    pub fn waits(&self, id: &str) -> bool {
        self.queue.iter().any(|(each, _)| each == id)
            || (self.typed.as_deref() == Some(id) && self.typed_text.is_some())
    }

    /// The prompt that was given to the program, when it will not be given again: nobody has seen how it was taken.
    /// Without a supervisor nobody will any more.
    pub fn unseen(&self) -> Option<&str> {
        self.typed.as_deref().filter(|_| self.typed_text.is_none())
    }

    /// The program has ended: a queued prompt for which Enter was not pressed waits again, before all others.
    fn take_back(&mut self) {
        if let (Some(id), Some(text)) = (self.typed.take(), self.typed_text.take()) {
            self.queue.insert(0, (id, text));
        }
    }

    /// The state and the rule that won. `alive` says whether the supervisor's lock is held.
    pub fn state(&self, alive: bool) -> (State, &'static str) {
        if let Some(code) = self.exited {
            return (State::Exited(code), "the program ended");
        }
        if !alive {
            return (
                State::Lost,
                "nobody holds the supervisor's lock and no end was recorded",
            );
        }
        if self.child.is_none() {
            return (State::Starting, "the program does not run yet");
        }
        if let Some(reason) = self.asked {
            return (State::Waiting(reason), "a person is being asked");
        }
        let reached = self.limit.as_ref().is_some_and(|(level, ..)| *level == Level::Reached);
        if reached && self.at_prompt == Some(true) {
            return (
                State::Waiting(Reason::Budget),
                "a limit is reached: raise it with `fleet budget raise`",
            );
        }
        if !self.ready_rule {
            return (
                State::Working,
                "the harness has no `ready` rule, so nothing more is known",
            );
        }
        match self.at_prompt {
            None => (State::Starting, "the `ready` rule has not matched yet"),
            Some(true) if !self.queue.is_empty() || self.typed.is_some() => {
                (State::Working, "the `ready` rule matches, and a prompt is on its way")
            }
            Some(true) if self.turns == 0 => (State::Ready, "the `ready` rule matches and no turn was given"),
            Some(true) => (State::Idle, "the `ready` rule matches after a turn"),
            Some(false) => (State::Working, "the `ready` rule does not match"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Receipt, Used};
    use crate::usage::Basis;

    fn standing(facts: &[Fact]) -> Standing {
        let mut standing = Standing::default();
        for (index, fact) in facts.iter().enumerate() {
            standing.apply(index as u64 + 1, fact);
        }
        standing
    }

    fn launched(ready_rule: bool) -> Fact {
        Fact::Launched {
            generation: 1,
            supervisor: 1,
            boot: "b".into(),
            harness: "h".into(),
            ready_rule,
            fresh: false,
            sessions: None,
        }
    }

    #[test]
    fn there_is_a_conversation_to_go_on_with_once_something_was_said_and_none_after_a_fresh_start() {
        let busy = |rule: &str| Fact::Busy {
            rule: Some(rule.into()),
        };
        let again = |fresh| Fact::Launched {
            generation: 2,
            supervisor: 2,
            boot: "b".into(),
            harness: "h".into(),
            ready_rule: true,
            fresh,
            sessions: None,
        };
        let up = [launched(true), busy("it comes up"), Fact::Ready { rule: None }];
        assert!(!standing(&up).talked);
        let by_hand = [&up[..], &[busy("it works"), Fact::Conversation { id: "c".into() }]].concat();
        let talked = standing(&by_hand);
        assert!(talked.talked);
        let resumed = standing(&[&by_hand[..], &[again(false)]].concat());
        assert_eq!((resumed.talked, resumed.conversation.as_deref()), (true, Some("c")));
        let fresh = standing(&[&by_hand[..], &[again(true)]].concat());
        assert_eq!((fresh.talked, fresh.conversation), (false, None));
        let refused = Fact::PromptUnverified {
            id: "p".into(),
            why: "nothing was seen".into(),
        };
        assert!(standing(&[launched(true), refused]).talked);
    }

    #[test]
    fn a_prompt_that_was_written_and_refused_waits_nowhere() {
        let id = || "p".to_owned();
        let facts = [
            launched(false),
            Fact::PromptQueued {
                id: id(),
                text: "x".into(),
            },
            Fact::PromptTyped { id: id() },
            Fact::PromptRefused {
                id: id(),
                why: "no".into(),
            },
            Fact::Exited { code: 0 },
        ];
        let ended = standing(&facts);
        assert!(!ended.waits("p") && ended.queue.is_empty());
        assert_eq!(standing(&facts[..4]).unseen(), None);
    }

    #[test]
    fn a_life_passes_through_its_states() {
        let delivered = Fact::PromptDelivered {
            id: "p".into(),
            by: Receipt::Screen,
        };
        let mut facts = Vec::new();
        let steps = [
            (launched(true), State::Starting),
            (Fact::Started { pid: 7, start: 1 }, State::Starting),
            (Fact::Ready { rule: None }, State::Ready),
            (Fact::PromptTyped { id: "p".into() }, State::Working),
            (Fact::Busy { rule: None }, State::Working),
            (delivered, State::Working),
            (Fact::Ready { rule: None }, State::Idle),
            (Fact::Exited { code: 3 }, State::Exited(3)),
        ];
        for (fact, wanted) in steps {
            facts.push(fact);
            assert_eq!(standing(&facts).state(true).0, wanted, "after {facts:?}");
        }
    }

    #[test]
    fn without_a_ready_rule_nothing_is_guessed() {
        let facts = [launched(false), Fact::Started { pid: 7, start: 1 }];
        assert_eq!(standing(&facts).state(true).0, State::Working);
        assert_eq!(standing(&facts).state(false).0, State::Lost);
    }

    #[test]
    fn while_a_person_is_asked_it_is_neither_ready_nor_idle_nor_working() {
        let asked = Fact::Asked {
            reason: Reason::Permission,
            rule: "dialog".into(),
        };
        let waiting = State::Waiting(Reason::Permission);
        let works = Fact::Busy {
            rule: Some("spinner".into()),
        };
        let mut facts = vec![launched(true), Fact::Started { pid: 7, start: 1 }];
        let steps = [
            (asked.clone(), waiting),
            (Fact::Ready { rule: None }, State::Ready),
            (Fact::PromptTyped { id: "p".into() }, State::Working),
            (works.clone(), State::Working),
            (asked, waiting),
            (
                Fact::PromptQueued {
                    id: "q".into(),
                    text: "q".into(),
                },
                waiting,
            ),
            (works, State::Working),
        ];
        for (fact, wanted) in steps {
            facts.push(fact);
            assert_eq!(standing(&facts).state(true).0, wanted, "after {facts:?}");
        }
    }

    #[test]
    fn usage_is_added_up_by_model_source_and_how_far_it_can_be_relied_on() {
        let used = |model: &str, input, cost_usd, basis| {
            Fact::Used(Used::unpriced(Usage {
                model: Some(model.into()),
                tokens: Tokens {
                    input,
                    ..Tokens::default()
                },
                cost_usd,
                source: "result".into(),
                basis,
            }))
        };
        let standing = standing(&[
            used("a", 10, None, Basis::Reported),
            used("b", 1, None, Basis::Reported),
            launched(true),
            used("a", 5, Some(0.25), Basis::Partial),
            used("a", 5, Some(0.25), Basis::Reported),
            used("a", 7, Some(0.5), Basis::Estimated),
            used("a", 1, Some(0.5), Basis::Estimated),
        ]);
        let sums: Vec<(u64, Option<f64>, Basis)> = standing
            .used
            .iter()
            .map(|each| (each.tokens.input, each.cost_usd, each.basis))
            .collect();
        assert_eq!(
            sums,
            [
                (15, Some(0.25), Basis::Reported),
                (1, None, Basis::Reported),
                (5, Some(0.25), Basis::Partial),
                (8, Some(1.0), Basis::Estimated),
            ]
        );
    }

    #[test]
    fn another_conversation_has_used_nothing_yet_and_another_run_has_not_ended_yet() {
        let talks = |id: &str| Fact::Conversation { id: id.into() };
        let used = Fact::Used(Used::unpriced(Usage {
            model: None,
            tokens: Tokens {
                input: 5,
                ..Tokens::default()
            },
            cost_usd: None,
            source: "turn".into(),
            basis: Basis::Reported,
        }));
        let ended = Fact::Ended {
            outcome: Outcome::Success,
            text: String::new(),
        };
        let facts = [
            launched(false),
            talks("a"),
            used.clone(),
            ended,
            launched(false),
            talks("a"),
            used.clone(),
        ];
        let same = standing(&facts);
        assert_eq!((same.used_in_conversation.input, same.outcome), (10, None));
        let other = standing(&[facts.as_slice(), &[talks("b"), used]].concat());
        assert_eq!((other.used_in_conversation.input, other.used[0].tokens.input), (5, 15));
    }

    #[test]
    fn a_repeated_sequence_changes_nothing() {
        let mut once = standing(&[launched(true), Fact::Started { pid: 7, start: 1 }]);
        let before = once.clone();
        once.apply(2, &Fact::Exited { code: 0 });
        assert_eq!(once, before);
    }

    #[test]
    fn a_queued_prompt_survives_a_relaunch_and_one_that_enter_was_pressed_for_does_not_come_back() {
        let queue = |id: &str| Fact::PromptQueued {
            id: id.into(),
            text: id.into(),
        };
        let facts = [
            launched(true),
            queue("a"),
            queue("b"),
            Fact::PromptTyped { id: "a".into() },
            Fact::Busy { rule: None },
            launched(true),
            Fact::PromptTyped { id: "b".into() },
        ];
        let before_enter = standing(&facts);
        assert!(before_enter.queue.is_empty() && before_enter.waits("b") && !before_enter.waits("a"));
        for end in [launched(true), Fact::Exited { code: 1 }] {
            let standing = standing(&[facts.as_slice(), &[end]].concat());
            assert_eq!(standing.queue, [("b".to_owned(), "b".to_owned())]);
            assert_eq!(standing.typed, None);
        }
    }

    #[test]
    fn states_read_back_as_they_were_written() {
        for text in [
            "starting",
            "ready",
            "working",
            "waiting(limit)",
            "idle",
            "exited(137)",
            "lost",
        ] {
            assert_eq!(text.parse::<State>().expect(text).to_string(), text);
        }
        let error = "idel".parse::<Until>().expect_err("no state");
        assert!(error.hint.expect("a hint").contains("did you mean `idle`"));
    }
}
