//! Sub-agents of a program that works for a task: that they are sent out and come back, and what of the program's account is
//! theirs.
//!
//! A program without a terminal tells what it has used in one sum. Where it writes a transcript of each sub-agent, what
//! stands there is taken out of the sum: together it is what the program has told, to the last token. What cannot be told
//! apart stays with the agent.

use std::fs;
use std::path::PathBuf;

use fleet_core::fact::{Fact, Source, Used};
use fleet_core::money::Usd;
use fleet_core::spend::{self, Certainty};
use fleet_core::usage::{Basis, Tokens, Usage};

use super::Supervisor;
use super::reports::is_plain;
use super::transcripts::{Told, Transcript};
use crate::harness;
use crate::harness::stream::Event;
use crate::supervise::spec::Spec;

/// So many sub-agents are known that have not come back, or whose transcripts are read.
const MOST: usize = 256;

/// The sub-agents of this launch.
#[derive(Debug, Default)]
pub(super) struct Crews {
    all: Vec<Crew>,
    /// Where the program has a folder for each project, if it writes transcripts of sub-agents.
    projects: Option<PathBuf>,
    /// The folder of its project; none before it was found.
    project: Option<PathBuf>,
}

impl Crews {
    /// For a launch, of which nothing is known yet.
    pub(super) fn new(spec: &Spec) -> Crews {
        let var = |name: &str| {
            let found = spec.env.iter().rfind(|(each, _)| each == name);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        Crews {
            projects: harness::projects(&spec.harness, &var),
            ..Crews::default()
        }
    }
}

#[derive(Debug)]
struct Crew {
    /// The call that has sent it out.
    call: String,
    /// What the journal calls it.
    id: String,
    /// What the program calls it in the name of its transcript.
    name: Option<String>,
    transcript: Option<Transcript>,
    /// What its transcript tells that is in no account yet, by model.
    untold: Vec<(String, Tokens)>,
}

impl Crew {
    fn read(&mut self) {
        let Some(transcript) = &mut self.transcript else { return };
        let untold = &mut self.untold;
        let mut more = true;
        while more {
            more = transcript.read_piece(fleet_core::Time(0), &mut |told| {
                let Told::Used(usage, ..) = told else { return };
                let model = usage.model.unwrap_or_default();
                match untold.iter_mut().find(|(known, _)| *known == model) {
                    Some((_, tokens)) => *tokens += usage.tokens,
                    None => untold.push((model, usage.tokens)),
                }
            });
        }
    }

    /// What of `left` is its own, of this model.
    fn take(&mut self, model: &str, left: &mut Tokens) -> Tokens {
        let mut own = Tokens::default();
        for (_, untold) in self.untold.iter_mut().filter(|(known, _)| same_model(known, model)) {
            let part = least(*untold, *left);
            *untold = *untold - part;
            *left = *left - part;
            own += part;
        }
        own
    }
}

impl Supervisor {
    /// What the stream tells of sub-agents.
    pub(super) fn take_crew(&mut self, event: &Event) {
        match event {
            Event::SentOut {
                call,
                within,
                crew,
                about,
                task,
            } => {
                let id = format!("{}.{call}", self.spec.generation);
                let task = task.map(|task| task.to_string());
                let is_kept =
                    is_plain(call) && (self.spec.task.is_some() || task.is_some()) && self.crews.all.len() < MOST;
                let leaves_out = self.spec.stream.is_some_and(|cli| cli.leaves_out_sub_agents());
                let is_unseen = leaves_out && self.spec.metered.is_none();
                if !is_kept {
                    if is_unseen {
                        self.used_unseen(None);
                    }
                    return;
                }
                let within = within
                    .as_ref()
                    .and_then(|call| self.crew_of(call))
                    .map(|crew| crew.id.clone());
                let reads = match (self.spec.stream, crew) {
                    (Some(cli), Some(crew)) => cli.only_reads(crew),
                    _ => false,
                };
                self.crews.all.push(Crew {
                    call: call.clone(),
                    id: id.clone(),
                    name: None,
                    transcript: None,
                    untold: Vec::new(),
                });
                self.sub_agent_sent(Fact::SentOut {
                    id: id.clone(),
                    crew: crew.clone(),
                    reads,
                    about: about.clone(),
                    task,
                    part_of: self.spec.task.clone(),
                    within,
                });
                if is_unseen {
                    self.used_unseen(Some(id));
                }
            }
            Event::Called { call, name } => {
                if let Some(crew) = self.crew_of(call) {
                    crew.name = Some(name.clone());
                }
            }
            Event::CameBack { call, ok } => {
                if let Some(id) = self.crew_of(call).map(|crew| crew.id.clone()) {
                    self.sub_agent_back(id, *ok);
                }
            }
            _ => {}
        }
    }

    /// Records that a sub-agent was sent out, and has its task recorded.
    pub(super) fn sub_agent_sent(&mut self, fact: Fact) {
        self.record(Source::Program, fact);
        self.have_crew_recorded();
    }

    /// Records that a sub-agent has answered.
    pub(super) fn sub_agent_back(&mut self, id: String, ok: bool) {
        self.record(Source::Program, Fact::CameBack { id, ok });
        self.have_crew_recorded();
    }

    fn have_crew_recorded(&mut self) {
        if self.spec.task.is_some() {
            self.start_recorder();
        }
    }

    /// Records that something is used of which nobody will tell: it is not nothing.
    fn used_unseen(&mut self, crew: Option<String>) {
        let usage = Usage {
            model: None,
            tokens: Tokens::default(),
            cost_usd: None,
            source: "sub-agent".to_owned(),
            basis: Basis::Partial,
        };
        self.record_priced_as(usage, None, Certainty::Unknown, crew);
    }

    /// Records what the program says that it used, each sub-agent's part by itself.
    pub(super) fn record_shared(&mut self, mut usage: Usage) {
        self.read_crews();
        usage.model = usage.model.or_else(|| self.spec.model.clone());
        let model = usage.model.clone().unwrap_or_default();
        let mut left = usage.tokens;
        let mut parts: Vec<(String, Tokens)> = Vec::new();
        for crew in &mut self.crews.all {
            let own = crew.take(&model, &mut left);
            if own != Tokens::default() {
                parts.push((crew.id.clone(), own));
            }
        }
        if parts.is_empty() {
            return self.record_used(usage);
        }
        let is_incomplete = self.make_up_for_lost(&usage);
        let (whole, certainty) = self.priced(&usage, is_incomplete);
        // A sum that only the program knows cannot be divided.
        let Some(whole) = whole.filter(|_| certainty != Certainty::Reported) else {
            return self.record_priced_as(usage, whole, certainty, None);
        };
        let (mut rest, mut reported) = (whole, usage.cost_usd);
        for (id, tokens) in parts {
            let part = Usage {
                tokens,
                cost_usd: None,
                ..usage.clone()
            };
            let (cost, _) = spend::priced(self.prices(), &part, super::now());
            // What it costs by itself may be more, where long requests have a price of their own.
            let cost = cost.unwrap_or_default().min(rest);
            rest = rest.less(cost);
            let said = usage.cost_usd.map(|said| said * share(cost, whole));
            reported = reported.zip(said).map(|(all, part)| (all - part).max(0.0));
            let part = Usage { cost_usd: said, ..part };
            self.record_priced_as(part, Some(cost), certainty, Some(id));
        }
        let own = Usage {
            tokens: left,
            cost_usd: reported,
            ..usage
        };
        self.record_priced_as(own, Some(rest), certainty, None);
    }

    /// Records what was used and what that costs, for a sub-agent where one is named.
    pub(super) fn record_priced_as(
        &mut self,
        usage: Usage,
        cost: Option<Usd>,
        certainty: Certainty,
        crew: Option<String>,
    ) {
        self.record_priced(Used {
            cost,
            certainty: Some(certainty),
            task: self.spec.task.clone(),
            crew,
            ..Used::unpriced(usage)
        });
    }

    fn crew_of(&mut self, call: &str) -> Option<&mut Crew> {
        self.crews.all.iter_mut().rev().find(|crew| crew.call == call)
    }

    /// Reads on in the transcripts of all sub-agents. Nobody says when they are there; before the program gives its account
    /// they are.
    fn read_crews(&mut self) {
        for place in 0..self.crews.all.len() {
            let name = self.crews.all[place].name.take();
            if let Some(name) = name {
                match self.transcript_of(&name) {
                    Some(path) => {
                        self.crews.all[place].transcript = Some(Transcript::follow(&self.spec.harness, path));
                    }
                    None => self.crews.all[place].name = Some(name),
                }
            }
            self.crews.all[place].read();
        }
    }

    /// The transcript of a sub-agent that the program calls `name`.
    fn transcript_of(&mut self, name: &str) -> Option<PathBuf> {
        let conversation = self.standing().conversation.clone()?;
        let file = harness::transcript_of(&self.spec.harness, &conversation, name)?;
        if self.crews.project.is_none() {
            let projects = self.crews.projects.as_ref()?;
            let mut folders = fs::read_dir(projects).ok()?.flatten().map(|entry| entry.path());
            self.crews.project = folders.find(|folder| folder.join(&conversation).is_dir());
        }
        self.crews.project.as_ref().map(|project| project.join(file))
    }
}

/// Whether two names are of one model: a program adds to a name, in brackets, how it uses the model.
fn same_model(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.split('[').next().unwrap_or_default().to_owned();
    plain(one) == plain(other)
}

fn least(one: Tokens, other: Tokens) -> Tokens {
    Tokens {
        input: one.input.min(other.input),
        cached: one.cached.min(other.cached),
        cache_write: one.cache_write.min(other.cache_write),
        output: one.output.min(other.output),
        reasoning: one.reasoning.min(other.reasoning),
    }
}

fn share(part: Usd, whole: Usd) -> f64 {
    match whole.micros() {
        0 => 0.0,
        all => part.micros() as f64 / all as f64,
    }
}
