//! Each program without a terminal: an answer, the next run of the same conversation, a service that refuses, and an
//! interrupt. Pi, which takes prompts while it runs, is given them.

use fleet_core::usage::{Tokens, Usage};
use fleet_testkit::clis::Cli;
use fleet_testkit::model::{self, Rule, Script, Turn, When};
use fleet_testkit::wait_until;
use serde_json::Value;

use crate::world::{LONG, World};

const FIRST: &str = "say the first answer";
const SECOND: &str = "say the second answer";
const REFUSED: &str = "fail unauthorized";

/// An endpoint that counts each of the two answers apart.
fn script() -> Script {
    let rule = |prompt: &str, usage| Rule {
        when: When {
            contains: Some(prompt.to_owned()),
            ..When::default()
        },
        turns: vec![Turn::say(prompt.trim_start_matches("say ")).with_usage(usage)],
    };
    let used = |input, cached, output| model::Usage {
        input,
        cached,
        output,
        ..model::Usage::default()
    };
    Script {
        rules: vec![rule(FIRST, used(900, 100, 30)), rule(SECOND, used(7000, 2000, 500))],
        ..Script::default()
    }
}

/// What the service has told that was used.
fn reported(world: &World, cli: Cli) -> Tokens {
    let requests = match cli {
        // It counts what it asks beside the conversation; the others ask nothing, or do not count it.
        Cli::Gemini => world.endpoint().requests(),
        _ => world.endpoint().conversation(),
    };
    let mut sum = Tokens::default();
    for usage in requests.iter().filter_map(|request| request.answer.usage) {
        sum += Tokens {
            input: usage.input,
            cached: usage.cached,
            cache_write: usage.cache_write,
            output: usage.output,
            reasoning: usage.reasoning,
        };
    }
    sum
}

/// What fleet says that the agent has used.
#[track_caller]
fn used(agent: &Value) -> Tokens {
    let usage: Vec<Usage> = serde_json::from_value(agent["usage"].clone()).expect("what was used");
    let mut sum = Tokens::default();
    for each in usage {
        assert!(!each.source.is_empty(), "{agent}");
        sum += each.tokens;
    }
    sum
}

#[track_caller]
fn runs_without_a_terminal(cli: Cli) {
    let world = World::with_script(cli, script());
    let create = ["create", "one", "--headless", "-p", FIRST, "--wait", "exited"];
    let _ = world.fleet(create).output().success();
    let agent = world.agent("one");
    let stands = (&agent["state"], &agent["outcome"]);
    assert_eq!(stands, (&"exited(0)".into(), &"success".into()));
    assert_eq!(used(&agent), reported(&world, cli), "{agent}");
    let screen = world.screen("one");
    for wanted in ["> say the first answer", "the first answer", "tokens: ", "done"] {
        assert!(screen.contains(wanted), "{wanted}: {screen}");
    }

    let _ = world.fleet(["resume", "one", "-p", SECOND]).output().success();
    let _ = world.fleet(["wait", "one", "--until", "exited"]).output().success();
    let second = world.wait_request("the second run", |request| request.prompt() == SECOND);
    let earlier = second.prompts.iter().any(|prompt| prompt.trim_end() == FIRST);
    assert!(earlier, "{:?}", second.prompts);
    let agent = world.agent("one");
    assert_eq!(agent["outcome"], "success", "{agent}");
    assert_eq!(used(&agent), reported(&world, cli), "{agent}");

    let create = ["create", "two", "--headless", "-p", REFUSED, "--wait", "exited"];
    let _ = world.fleet(create).output().fails(1);
    assert_eq!(world.agent("two")["outcome"], "login", "{}", world.screen("two"));

    let create = ["create", "three", "--headless", "-p", "hang"];
    let _ = world.fleet(create).output().success();
    world.wait_request("the third run", |request| request.prompt() == "hang");
    let _ = world.fleet(["prompt", "three", "--interrupt"]).output().success();
    let agent = world.agent("three");
    assert_eq!(agent["outcome"], "interrupted", "{agent} {}", world.screen("three"));
    world.end();
}

#[test]
fn claude_runs_without_a_terminal() {
    runs_without_a_terminal(Cli::Claude);
}

#[test]
fn codex_runs_without_a_terminal() {
    runs_without_a_terminal(Cli::Codex);
}

#[test]
fn pi_runs_without_a_terminal() {
    runs_without_a_terminal(Cli::Pi);
}

#[test]
fn opencode_runs_without_a_terminal() {
    runs_without_a_terminal(Cli::OpenCode);
}

#[test]
fn gemini_runs_without_a_terminal() {
    runs_without_a_terminal(Cli::Gemini);
}

#[test]
fn pi_without_a_terminal_takes_prompts_while_it_runs() {
    let world = World::new(Cli::Pi);
    let begin = |branch: &str, prompt: &str| {
        let _ = world
            .fleet(["create", branch, "--headless", "-p", prompt])
            .output()
            .success();
        world.wait_request("the first turn", |request| request.prompt() == prompt);
    };
    let ends = |branch: &str, outcome: &str| {
        let _ = world.fleet(["wait", branch, "--until", "exited"]).output();
        let agent = world.agent(branch);
        let stands = (&agent["state"], &agent["outcome"]);
        assert_eq!(
            stands,
            (&"exited(0)".into(), &outcome.into()),
            "{}",
            world.screen(branch)
        );
    };
    let first = "hang\nsay the first answer";
    let later = [
        "say \"the second\" answer\n-- \u{2028} and more",
        "say the third answer",
    ];
    begin("one", first);
    for prompt in later {
        let sent = world.answer(["prompt", "one", "-m", prompt]);
        assert_eq!(sent["sent"][0]["outcome"], "queued", "{sent}");
    }
    let asked: Vec<usize> = later.iter().map(|prompt| world.arrivals(prompt)).collect();
    assert_eq!(asked, [0, 0], "they wait for the end of the turn");
    world.endpoint().release();
    ends("one", "success");
    let asked: Vec<usize> = later.iter().map(|prompt| world.arrivals(prompt)).collect();
    assert_eq!(asked, [1, 1]);
    let last = world.wait_request("the last turn", |request| request.prompt() == later[1]);
    assert_eq!(last.prompts, [first, later[0], later[1]], "one conversation, in order");
    assert_eq!(used(&world.agent("one")), reported(&world, Cli::Pi));
    let screen = world.screen("one");
    for wanted in ["> say the third answer", "the first answer", "the third answer", "done"] {
        assert!(screen.contains(wanted), "{wanted}: {screen}");
    }

    let again = "run touch begun && sleep 60";
    begin("two", again);
    wait_until(LONG, "the tool", || {
        world.worktree("two").join("begun").exists().then_some(())
    });
    let _ = world
        .fleet(["prompt", "two", "say the fourth answer"])
        .output()
        .success();
    let _ = world.fleet(["prompt", "two", "--interrupt"]).output().success();
    ends("two", "interrupted");
    assert_eq!(world.arrivals("say the fourth answer"), 0);

    let _ = world
        .fleet(["resume", "two", "-p", "say the fifth answer"])
        .output()
        .success();
    ends("two", "success");
    let last = world.wait_request("the queued prompt", |request| {
        request.prompt() == "say the fourth answer"
    });
    assert_eq!(last.prompts, [again, "say the fifth answer", "say the fourth answer"]);
    world.end();
}

#[test]
fn an_extension_of_pi_that_asks_a_person_does_not_hold_a_run_up() {
    let world = World::new(Cli::Pi);
    let extension = world.home().join("asks.ts");
    let asks = "export default (pi) => pi.on('tool_call', async (event, ctx) => {
        const sure = await ctx.ui.confirm('Really?', 'It runs a tool.');
        return sure ? undefined : { block: true, reason: 'nobody said yes' };
    });";
    std::fs::write(&extension, asks).expect("a HOME");
    world.configure(
        Cli::Pi,
        &format!("pi_flags = \"--extension {}\"\n", extension.display()),
    );
    let prompt = "run touch done\nsay over";
    let create = ["create", "one", "--headless", "-p", prompt, "--wait", "exited"];
    let _ = world.fleet(create).output().success();
    let screen = world.screen("one");
    for wanted in ["nobody can answer: Really?", "nobody said yes", "over"] {
        assert!(screen.contains(wanted), "{wanted}: {screen}");
    }
    assert!(!world.worktree("one").join("done").exists());
    world.end();
}
