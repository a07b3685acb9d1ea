//! A pretended world for [`decide`]: workers that do what a script says, at the moments it says.

use std::collections::BTreeMap;

use fleet_core::Time;
use fleet_core::budget::{Cap, Scope};
use fleet_core::money::Usd;
use fleet_core::plan::word::OnDepFailure;
use fleet_core::plan::{self, Plan};
use fleet_core::run::verdict::Said;
use fleet_core::run::{
    Action, Control, Ended, Finish, How, Key, Part, Pause, Round, Seen, Step, Tick, Why, Window, decide,
};
use serde_json::{Value, json};

/// What comes of one try.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) how: String,
    /// Milliseconds.
    pub(crate) took: u64,
    /// Millionths of a dollar; none where nobody knows.
    pub(crate) cost: Option<u64>,
    pub(crate) says: Option<String>,
    pub(crate) metric: Option<f64>,
}

/// A plan, what its workers do, and what people do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    plan: Value,
    came: BTreeMap<String, Vec<Came>>,
    people: Vec<(Tick, String)>,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) seen: Seen,
    pub(crate) now: Tick,
    pub(crate) finish: Option<Finish>,
    pub(crate) most_at_once: usize,
    pub(crate) most_committed: Usd,
    /// After so many actions of a decision the driver is killed, and the next one begins.
    pub(crate) cuts: Vec<usize>,
    script: Script,
    /// When which step ends.
    ends: Vec<(Tick, Key)>,
    said: BTreeMap<(u32, bool), Said>,
    lines: Vec<String>,
    pause: Option<Pause>,
}

impl Script {
    pub(crate) fn read(text: &str) -> Script {
        let mut script = Script::default();
        let mut plan = json!({"fleet_name": "script", "config": {}, "workers": []});
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "type" => plan["type"] = json!(rest),
                "stop" => plan["stop_when"] = serde_json::from_str(rest).expect("JSON"),
                "search" => plan["search"] = serde_json::from_str(rest).expect("JSON"),
                "worker" | "reviewer" => script.worker(&mut plan, word, rest),
                "research:" | "measure:" => {
                    drop(script.came.insert(word.trim_end_matches(':').to_owned(), tries(rest)))
                }
                "at" => {
                    let (at, what) = rest.split_once(' ').expect("a time and a deed");
                    script.people.push((millis(at), what.to_owned()));
                }
                _ if line.starts_with('{') => plan["config"] = serde_json::from_str(line).expect("JSON"),
                _ => panic!("`{line}` is no line of a script"),
            }
        }
        if plan["type"] == "autoresearch" {
            plan.as_object_mut().expect("an object").remove("workers");
            plan["problem"] = json!({"eval_command": "measure", "metric_regex": "(.*)"});
        }
        script.plan = plan;
        script
    }

    fn worker(&mut self, plan: &mut Value, word: &str, rest: &str) {
        let (head, came) = rest.split_once(':').unwrap_or((rest, ""));
        let mut words = head.split_whitespace();
        let id = words.next().expect("an id");
        let kind = if word == "reviewer" { "reviewer" } else { "code-run" };
        let mut worker = json!({"id": id, "type": kind, "depends_on": []});
        let mut key = "";
        for word in words {
            match (key, word) {
                (_, "after" | "budget" | "on" | "minutes") => key = word,
                ("after", id) => worker["depends_on"].as_array_mut().expect("a list").push(json!(id)),
                ("budget", amount) => {
                    let name = if plan["type"] == "iterative" {
                        "max_budget_per_iter"
                    } else {
                        "max_budget_usd"
                    };
                    worker[name] = json!(amount.parse::<f64>().expect("an amount"));
                }
                ("on", policy) => worker["on_dep_failure"] = json!(policy),
                ("minutes", limit) => worker["timeout_minutes"] = json!(limit.parse::<f64>().expect("minutes")),
                (_, other) => panic!("`{other}` of `{rest}`"),
            }
        }
        if plan["type"] == "worktree" {
            worker["branch"] = json!(format!("b/{id}"));
            worker["target_files"] = json!([format!("{id}/**")]);
            worker.as_object_mut().expect("an object").remove("depends_on");
        }
        plan["workers"].as_array_mut().expect("a list").push(worker);
        self.came.insert(id.to_owned(), tries(came));
    }

    /// A random graph: for each worker the earlier ones that it waits for, its policy, its tries and its budget in cents.
    pub(crate) fn graph(
        workers: &[(Vec<proptest::sample::Index>, OnDepFailure, Vec<Came>, u32)],
        at_once: u32,
        retries: u32,
        cap: Option<u32>,
    ) -> Script {
        let mut script = Script::default();
        let mut rows = Vec::new();
        for (place, (after, policy, came, cents)) in workers.iter().enumerate() {
            let before: Vec<String> = match place {
                0 => Vec::new(),
                _ => after.iter().map(|index| format!("w{}", index.index(place))).collect(),
            };
            let mut before = before;
            before.sort_unstable();
            before.dedup();
            rows.push(json!({
                "id": format!("w{place}"), "type": "code-run", "depends_on": before,
                "on_dep_failure": policy.as_str(), "max_budget_usd": f64::from(*cents) / 100.0,
            }));
            script.came.insert(format!("w{place}"), came.clone());
        }
        rows.reverse();
        let mut config = json!({"max_concurrent": at_once, "max_retries": retries, "timeout_minutes": 5});
        if let Some(cap) = cap {
            config["max_budget_fleet"] = json!(cap);
        }
        script.plan = json!({"fleet_name": "random", "type": "dag", "config": config, "workers": rows});
        script
    }
}

impl World {
    pub(crate) fn new(script: Script) -> World {
        let text = script.plan.to_string();
        let plan = plan::read(&text).plan().unwrap_or_else(|| panic!("no plan: {text}"));
        World {
            plan,
            seen: Seen::default(),
            now: 0,
            finish: None,
            most_at_once: 0,
            most_committed: Usd::default(),
            cuts: Vec::new(),
            script,
            ends: Vec::new(),
            said: BTreeMap::new(),
            lines: Vec::new(),
            pause: None,
        }
    }

    pub(crate) fn transcript(mut self) -> String {
        self.run();
        let counts: Vec<String> = fleet_core::run::standing::lines(&self.plan, &self.seen, self.finish, self.now)
            .iter()
            .map(|line| format!("{} {}", self.plan.worker_id(line.worker), line.word.as_str()))
            .collect();
        self.lines
            .push(format!("        {}; {}", counts.join(", "), self.seen.committed()));
        self.lines.join("\n") + "\n"
    }

    /// How every worker ended.
    pub(crate) fn ends(&self) -> Vec<(String, Option<How>)> {
        let end = |worker: usize| {
            let last = self.seen.attempts(worker, 1, Part::Work).last();
            last.and_then(|step| step.ended.as_ref()).map(|ended| ended.how)
        };
        (0..self.plan.places())
            .map(|worker| (self.plan.worker_id(worker).to_owned(), end(worker)))
            .collect()
    }

    fn say(&mut self, line: impl AsRef<str>) {
        let seconds = self.now as f64 / 1000.0;
        self.lines.push(format!("{seconds:>6}s {}", line.as_ref()));
    }

    /// Decides, does, and waits, until the run is over or waits for a person for ever.
    pub(crate) fn run(&mut self) {
        for _ in 0..20_000 {
            self.people();
            if self.finish.is_some() && self.script.people.is_empty() {
                return;
            }
            let decision = match self.finish {
                Some(_) => Default::default(),
                None => decide(&self.plan, &self.seen, self.now),
            };
            let cut = self.cuts.pop().unwrap_or(usize::MAX);
            let mut did = false;
            for action in decision.actions.into_iter().take(cut.max(1)) {
                did |= self.act(action);
            }
            self.most_at_once = self.most_at_once.max(self.seen.running().count());
            self.most_committed = self.most_committed.max(self.seen.committed());
            if did {
                continue;
            }
            let next_end = self.ends.iter().map(|(at, _)| *at).min();
            let next_deed = self.script.people.first().map(|(at, _)| *at);
            let wake = [next_end, next_deed, decision.wake].into_iter().flatten().min();
            let Some(wake) = wake else {
                self.say("waits for a person");
                return;
            };
            self.now = self.now.max(wake);
            self.end_due();
        }
        panic!("the run does not end:\n{}", self.lines.join("\n"));
    }

    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::OpenRound(round) => {
                self.say(format!("round {round}"));
                self.seen.rounds.insert(round, Round::default());
            }
            Action::Start { key, hold, goes_on } => self.start(key, hold, goes_on),
            Action::End { key, why } => return self.end(key, why),
            Action::ReadVerdict { round, asked } => {
                let said = self.said.get(&(round, asked)).copied().unwrap_or(Said::Missing);
                self.say(format!(
                    "verdict {}{}",
                    said.as_str(),
                    if asked { ", asked again" } else { "" }
                ));
                let known = self.seen.rounds.entry(round).or_default();
                match asked {
                    true => known.asked = Some(said),
                    false => known.verdict = Some(said),
                }
            }
            Action::Settle { round, keep } => {
                self.say(format!("{} round {round}", if keep { "keep" } else { "discard" }));
                self.seen.rounds.entry(round).or_default().kept = Some(keep);
            }
            Action::Pause(why) => {
                let shown = match why {
                    Pause::Escalated { round } => format!("pause: round {round} asks for a person"),
                    Pause::Blocked { worker } => format!("pause: {} is blocked", self.plan.worker_id(worker)),
                    Pause::Room { until } => format!("pause until {} s", until.0 / 1000),
                    Pause::Budget => "pause: the budget does not reach".to_owned(),
                    Pause::Stuck => "pause: stuck".to_owned(),
                    Pause::RootGone => "pause: the root is gone".to_owned(),
                };
                self.say(shown);
                self.seen.control = Control::Paused;
                self.pause = Some(why);
                if let Pause::Room { until } = why {
                    self.seen.again = u64::try_from(until.0).ok();
                }
            }
            Action::GoOn => {
                self.say("goes on");
                self.seen.control = Control::Going;
                (self.pause, self.seen.again) = (None, None);
            }
            Action::Finish(finish) => {
                self.say(format!("finish: {}", finish.as_str()));
                self.finish = Some(finish);
            }
        }
        true
    }

    fn name(&self, key: Key) -> String {
        let id = self.plan.worker_id(key.worker);
        let part = match key.part {
            Part::Work => "",
            Part::Ask => " (asked)",
            Part::Measure => " (measured)",
        };
        let again = if key.attempt > 1 {
            format!(", try {}", key.attempt)
        } else {
            String::new()
        };
        format!("{id}{part}{again}")
    }

    fn came(&self, key: Key) -> Came {
        let id = match key.part {
            Part::Measure => "measure",
            _ => self.plan.worker_id(key.worker),
        };
        let tries = self.script.came.get(id).cloned().unwrap_or_default();
        // In plans of rounds each round takes the next one; otherwise each try does.
        let at = match (self.seen.rounds.is_empty(), key.part) {
            (_, Part::Measure) => key.round,
            (true, _) => key.attempt - 1,
            (false, _) => key.round - 1 + (key.attempt - 1),
        };
        let last = tries.last().cloned().unwrap_or(Came {
            how: "done".to_owned(),
            took: 10_000,
            cost: Some(100_000),
            says: None,
            metric: None,
        });
        let mut came = tries.get(at as usize).cloned().unwrap_or(last);
        if key.part == Part::Ask {
            came.took = 1000;
            came.cost = Some(1000);
        }
        came
    }

    fn start(&mut self, key: Key, hold: Usd, goes_on: bool) {
        let goes = if goes_on { ", goes on" } else { "" };
        self.say(format!("start {} ({hold}{goes})", self.name(key)));
        let came = self.came(key);
        if came.how != "hangs" {
            self.ends.push((self.now + came.took, key));
        }
        self.seen.put(Step {
            key,
            hold,
            began: self.now,
            alive: self.now,
            ending: None,
            ended: None,
            forgiven: false,
        });
    }

    fn end(&mut self, key: Key, why: Why) -> bool {
        let Some(step) = self.seen.step_mut(key).filter(|step| step.ending.is_none()) else {
            return false;
        };
        step.ending = Some(why);
        let shown = match why {
            Why::Timeout => "it takes too long",
            Why::Stall => "no sign of life",
            Why::Stop => "stop",
            Why::Relaunch => "start over",
        };
        self.say(format!("end {}: {shown}", self.name(key)));
        self.ends.retain(|(_, other)| *other != key);
        self.ends.push((self.now + 100, key));
        true
    }

    fn end_due(&mut self) {
        let now = self.now;
        let mut due: Vec<(Tick, Key)> = self.ends.iter().copied().filter(|(at, _)| *at <= now).collect();
        due.sort_unstable();
        self.ends.retain(|(at, _)| *at > now);
        for (_, key) in due {
            self.end_one(key);
        }
    }

    fn end_one(&mut self, key: Key) {
        let came = self.came(key);
        let Some(step) = self.seen.step_mut(key) else { return };
        let how = match (step.ending, came.how.as_str()) {
            (Some(Why::Timeout), _) => How::TimedOut,
            (Some(Why::Stall), _) => How::Stalled,
            (Some(_), _) => How::Stopped,
            (_, "done") => How::Done,
            (_, "denied") => How::DoneDenied,
            (_, "failed") => How::Failed,
            (_, "trouble") => How::Trouble,
            (_, "limited") => How::Limited,
            (_, "blocked") => How::Blocked,
            (_, "budget") => How::OverBudget,
            (_, "lost") => How::Lost,
            (_, "not-started") => How::NotStarted,
            (_, other) => panic!("`{other}` is no end"),
        };
        let hold = step.hold;
        step.ended = Some(Ended {
            at: self.now,
            how,
            text: String::new(),
            // No program spends more than it may, or it could not be promised that the cap holds.
            cost: came.cost.map(|cost| Usd::from_micros(cost).min(hold)),
            resumable: key.part == Part::Work && how != How::NotStarted,
            metric: came.metric.filter(|_| key.part == Part::Measure),
            until: None,
        });
        let cost = match (came.cost, key.part) {
            (_, Part::Measure) => came.metric.map_or_else(String::new, |metric| format!(" {metric}")),
            (Some(cost), _) => format!(" ({})", Usd::from_micros(cost).min(hold)),
            (None, _) => " (unknown)".to_owned(),
        };
        self.say(format!("     {} {}{cost}", self.name(key), how.as_str()));
        if let (Some(says), Part::Work | Part::Ask) = (&came.says, key.part) {
            let (first, second) = says.split_once('/').unwrap_or((says, says));
            let word = if key.part == Part::Ask { second } else { first };
            self.said.insert((key.round, key.part == Part::Ask), said(word));
        }
    }

    fn people(&mut self) {
        while let Some((at, deed)) = self.script.people.first().cloned() {
            if at > self.now {
                return;
            }
            self.script.people.remove(0);
            self.say(format!("a person: {deed}"));
            let (verb, rest) = deed.split_once(' ').unwrap_or((deed.as_str(), ""));
            match verb {
                "pause" => self.seen.control = Control::Paused,
                "stop" => self.seen.control = Control::Stopping,
                "resume" | "launch" => {
                    for key in self.seen.forgiven(verb == "launch") {
                        if let Some(step) = self.seen.step_mut(key) {
                            step.forgiven = true;
                        }
                    }
                    if let Some(Pause::Escalated { round }) = self.pause.take() {
                        self.seen.rounds.entry(round).or_default().answered = true;
                    }
                    self.seen.control = Control::Going;
                    self.finish = None;
                }
                "relaunch" => {
                    let worker = self.plan.place_of(rest).expect("a worker");
                    let gone: Vec<_> = self.seen.steps.keys().copied().filter(|key| key.0 == worker).collect();
                    for key in gone {
                        let steps = self.seen.steps.remove(&key).unwrap_or_default();
                        self.seen.spent_before = self.seen.spent_before + steps.iter().map(Step::takes).sum();
                        let last = steps.last().map_or(0, |step| step.key.attempt);
                        self.seen.forgotten.insert(key, last);
                    }
                    self.finish = None;
                }
                // What all agents together have left, of what ceiling, and until when in seconds.
                "room" => {
                    let words: Vec<f64> = rest.split(' ').map(|word| word.parse().expect("a number")).collect();
                    let usd = |amount| Usd::new(amount).expect("an amount");
                    self.seen.windows = vec![Window {
                        scope: Scope::Day,
                        left: usd(words[0]),
                        ceiling: usd(words[1]),
                        until: Some(Time((words[2] * 1000.0) as i64)),
                    }];
                }
                "iteration" => {
                    let (round, usd) = rest.split_once(' ').expect("a round and an amount");
                    let ceiling = Usd::new(usd.parse().expect("an amount")).expect("an amount");
                    let cap = Cap { ceiling, hard: false };
                    self.seen.iterations.insert(round.parse().expect("a round"), cap);
                }
                "cap" => self.plan.cap = Usd::new(rest.parse().expect("an amount")),
                "rounds" => {
                    let most = rest.parse().expect("a number");
                    match &mut self.plan.shape {
                        plan::Shape::Iterative(rounds) => rounds.max_iterations = most,
                        plan::Shape::Autoresearch(research) => research.max_iterations = most,
                        _ => panic!("no rounds"),
                    }
                }
                other => panic!("`{other}` is no deed"),
            }
        }
    }
}

fn said(word: &str) -> Said {
    match word {
        "lgtm" => Said::Lgtm,
        "iterate" => Said::Iterate,
        "escalate" => Said::Escalate,
        "unclear" => Said::Unclear,
        _ => Said::Missing,
    }
}

fn tries(text: &str) -> Vec<Came> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(a_try).collect()
}

fn a_try(text: &str) -> Came {
    let mut words = text.split_whitespace();
    let mut came = Came {
        how: words.next().expect("how it ends").to_owned(),
        took: 10_000,
        cost: Some(100_000),
        says: None,
        metric: None,
    };
    while let Some(word) = words.next() {
        match word {
            "says" => came.says = words.next().map(str::to_owned),
            "metric" => came.metric = words.next().map(|number| number.parse().expect("a number")),
            "?" => came.cost = None,
            time if time.ends_with(['s', 'm']) => came.took = millis(time),
            cost => came.cost = Usd::new(cost.parse().expect("a cost")).map(Usd::micros),
        }
    }
    came
}

fn millis(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let number: f64 = number.parse().expect("a number");
    let unit = match unit {
        "ms" => 1.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => 1000.0,
    };
    (number * unit) as u64
}
