//! What a request is answered with. The turn follows from the conversation in the request alone, so that a client
//! that tries again gets the same; only faults count requests.

use super::script::{Fault, FaultRule, Pace, Script, Turn};
use super::wire::{Asked, Call};
use super::{directive, schema, side, tools};

/// Decides by a script.
#[derive(Debug)]
pub(crate) struct Director {
    script: Script,
    /// For each fault rule, how many requests have matched.
    counts: Vec<u64>,
}

/// What a request gets.
#[derive(Debug)]
pub(crate) struct Decision {
    /// Whose words they are: `rule 0`, `turns`, `prompt`, `after`, `side title`, …
    pub(crate) from: String,
    /// What kind of side request it was, if it was one.
    pub(crate) side: Option<&'static str>,
    pub(crate) turn: Turn,
    pub(crate) calls: Vec<Call>,
    pub(crate) fault: Option<Fault>,
    pub(crate) pace: Pace,
}

impl Director {
    pub(crate) fn new(script: Script) -> Self {
        let counts = vec![0; script.faults.len()];
        Self { script, counts }
    }

    pub(crate) fn decide(&mut self, asked: &Asked) -> Decision {
        let prompt = asked.prompts().pop().unwrap_or_default();
        let side = side::recognise(asked, &self.script);
        let counted = self.count_faults(&prompt, side.is_some());
        let (from, mut turn) = match &side {
            Some(side) => (format!("side {}", side.kind), Turn::say(&side.answer)),
            None => self.turn(&prompt, asked),
        };
        let mut calls = Vec::new();
        for call in &turn.calls {
            match tools::translate(call, &asked.tools) {
                Some(call) => calls.push(call),
                None => {
                    let call = serde_json::to_string(call).unwrap_or_default();
                    turn.text = format!("scripted: no tool that is offered does {call}");
                }
            }
        }
        Decision {
            from,
            side: side.map(|side| side.kind),
            calls,
            fault: counted.or_else(|| turn.fault.clone()),
            pace: turn.pace.unwrap_or_default().or(self.script.pace),
            turn,
        }
    }

    /// Counts the request for each rule that it matches; the fault of the first that fires.
    fn count_faults(&mut self, prompt: &str, is_side: bool) -> Option<Fault> {
        let mut fired = None;
        for (rule, count) in self.script.faults.iter().zip(&mut self.counts) {
            let FaultRule { when, side, fault, .. } = rule;
            if is_side && !side || !when.holds(prompt) {
                continue;
            }
            *count += 1;
            if fired.is_none() && rule.fires(*count) {
                fired = Some(fault.clone());
            }
        }
        fired
    }

    /// Where the turn comes from, and the turn.
    fn turn(&self, prompt: &str, asked: &Asked) -> (String, Turn) {
        let index = asked.replies_since_prompt();
        let rules = self.script.rules.iter().enumerate();
        let (from, turns) = match rules.into_iter().find(|(_, rule)| rule.when.holds(prompt)) {
            Some((number, rule)) => (format!("rule {number}"), rule.turns.clone()),
            None if !self.script.turns.is_empty() => ("turns".to_owned(), self.script.turns.clone()),
            None => ("prompt".to_owned(), directive::turns(prompt)),
        };
        if let Some(turn) = turns.into_iter().nth(index) {
            return (from, turn);
        }
        // A client that asks for a shape fails on anything else.
        let text = match &asked.schema {
            Some(schema) => schema::instance(schema).to_string(),
            None => self.script.after.clone(),
        };
        ("after".to_owned(), Turn::say(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Format;
    use crate::model::script::{Rule, When};

    fn asked(prompt: &str, replies: usize) -> Asked {
        let mut messages = vec![json!({"role": "user", "content": prompt})];
        for _ in 0..replies {
            messages.push(json!({"role": "assistant", "content": "x"}));
            messages.push(json!({"role": "user", "content": [{"type": "tool_result", "content": "y"}]}));
        }
        let tools = json!([{"name": "Bash", "input_schema": {"properties": {"command": {}}}}]);
        Format::Messages.read(&json!({"messages": messages, "tools": tools}))
    }

    #[test]
    fn the_turn_is_the_number_of_replies_since_the_prompt() {
        let mut director = Director::new(Script::of([Turn::shell("ls"), Turn::say("two")]));
        assert_eq!(director.decide(&asked("go", 0)).calls[0].input["command"], "ls");
        assert_eq!(director.decide(&asked("go", 1)).turn.text, "two");
        assert_eq!(director.decide(&asked("go", 1)).turn.text, "two");
        assert_eq!(director.decide(&asked("go", 2)).turn.text, "done");
    }

    #[test]
    fn the_first_rule_that_matches_answers() {
        let rule = |contains: &str, text: &str| Rule {
            when: When {
                contains: Some(contains.into()),
                regex: None,
            },
            turns: vec![Turn::say(text)],
        };
        let mut director = Director::new(Script {
            rules: vec![rule("alpha", "first"), rule("beta", "second")],
            ..Script::default()
        });
        for (prompt, text, from) in [
            ("beta", "second", "rule 1"),
            ("alpha beta", "first", "rule 0"),
            ("say c", "c", "prompt"),
        ] {
            let decision = director.decide(&asked(prompt, 0));
            assert_eq!((decision.turn.text.as_str(), decision.from.as_str()), (text, from));
        }
    }

    #[test]
    fn faults_count_the_requests_they_are_about() {
        let mut director = Director::new(Script::default().with_fault(FaultRule {
            when: When {
                contains: Some("x".into()),
                regex: None,
            },
            ..FaultRule::first(2, Fault::Close)
        }));
        let failed: Vec<bool> = ["x", "y", "x", "x"]
            .iter()
            .map(|prompt| director.decide(&asked(prompt, 0)).fault.is_some())
            .collect();
        assert_eq!(failed, [true, false, true, false]);
    }

    #[test]
    fn a_call_that_nothing_offered_can_do_is_said() {
        let mut director = Director::new(Script::of([Turn::call(crate::model::ToolCall::Shell("ls".into()))]));
        let mut asked = asked("go", 0);
        asked.tools[0].name = "Look".into();
        let decision = director.decide(&asked);
        assert!(decision.calls.is_empty());
        assert!(
            decision.turn.text.contains(r#"{"shell":"ls"}"#),
            "{}",
            decision.turn.text
        );
    }
}
