//! Each program through the meter: what the endpoint says that it told, against what fleet has counted; and a refusal.

use std::fs;

use fleet_app::app::App;
use fleet_core::Time;
use fleet_core::budget::{Cap, Scope};
use fleet_core::fact::{Fact, Used};
use fleet_core::money::Usd;
use fleet_core::price::Prices;
use fleet_core::usage::Tokens;
use fleet_host::home::Home;
use fleet_host::supervise::journal;
use fleet_testkit::clis::Cli;
use fleet_testkit::model::{self, Fault, FaultRule, Outcome, Request, Script, ToolCall, Turn, When};

use crate::world::{LONG, World};

/// Prices of the models that programs ask for here and that no table has.
pub(crate) const PRICES: &str = "\
version = 1
[[price]]
models = [\"scripted\", \"gemini-3.5-flash-lite\", \"gemini-3.8-flash\"]
input = 5
output = 25
cache_read = 0.5
cache_write = 6.25
";

/// Turn `number`, which calls a tool that this program offers. The same call many times would be taken for a loop.
pub(crate) fn looks(cli: Cli, number: u64) -> Turn {
    match cli {
        // It offers no shell where nobody can be asked.
        Cli::Gemini => Turn::call(ToolCall::Read(format!("file{number}.txt"))),
        _ => Turn::shell(format!("true {number}")),
    }
}

fn script(cli: Cli) -> Script {
    let usage = |input, cached, output| model::Usage {
        input,
        cached,
        output,
        ..model::Usage::default()
    };
    let turns = [
        looks(cli, 1).with_usage(usage(9000, 1000, 300)),
        Turn::say("the answer").with_usage(usage(700, 10_300, 70)),
    ];
    Script::of(turns)
}

fn metered(cli: Cli) -> World {
    let world = World::with_script(cli, script(cli));
    world.configure(cli, "claude_flags = \"\"\nmeter = \"proxy\"\n");
    fs::write(world.fleet_home().join("prices.toml"), PRICES).expect("the fleet home can be written");
    world
}

fn app(world: &World) -> App {
    App::new(Home::at(world.fleet_home()), world.home().to_owned(), None)
}

/// What the agent's journal says that was used.
fn used(world: &World, branch: &str) -> Vec<Used> {
    let id = world.agent(branch)["id"].as_str().expect("an agent").to_owned();
    let entries = journal::read(&world.fleet_home().join("agents").join(id)).expect("a journal");
    let facts = entries.into_iter().filter_map(|entry| match entry.fact {
        Fact::Used(used) => Some(used),
        _ => None,
    });
    facts.collect()
}

/// The requests that the endpoint has answered in whole, the side requests among them.
fn answered(world: &World) -> Vec<Request> {
    let mut requests = world.endpoint().requests();
    requests.retain(|request| {
        let whole = request.end.is_some_and(|end| end.outcome == Outcome::Sent);
        request.format.is_some() && request.answer.status == 200 && whole
    });
    requests
}

/// What they come to by the table in use.
#[track_caller]
fn wanted(world: &World) -> (u64, Tokens, Usd) {
    let prices = Prices::builtin().with(Prices::parse(PRICES, "own").expect("a table"));
    let (mut tokens, mut cost) = (Tokens::default(), Usd::default());
    let requests = answered(world);
    for request in &requests {
        let told = request.answer.usage.expect("its own account");
        let each = Tokens {
            input: told.input,
            cached: told.cached,
            cache_write: told.cache_write,
            output: told.output,
            reasoning: told.reasoning,
        };
        tokens += each;
        let price = prices.cost(&request.model, Time(request.at_ms as i64), each);
        cost = cost + price.unwrap_or_else(|| panic!("no price of `{}`", request.model));
    }
    (requests.len() as u64, tokens, cost)
}

#[track_caller]
fn is_counted_exactly(cli: Cli) {
    let world = metered(cli);
    let create = [
        "create",
        "one",
        "--headless",
        "-p",
        "look, and tell me",
        "--wait",
        "exited",
    ];
    let _ = world.fleet(create).output().success();
    let agent = world.agent("one");
    assert_eq!(agent["outcome"], "success", "{agent} {}", world.screen("one"));
    let all = used(&world, "one");
    let counted: Vec<&Used> = all.iter().filter(|used| used.request.is_some()).collect();
    let (requests, tokens, cost) = wanted(&world);
    assert!(requests >= 2, "{}", world.endpoint().overview());
    let mut sum = Tokens::default();
    let mut spent = Usd::default();
    for used in &counted {
        sum += used.usage.tokens;
        spent = spent + used.cost.unwrap_or_else(|| panic!("no price: {used:?}"));
    }
    let wrong = || format!("{all:#?}\n{}", world.endpoint().overview());
    assert_eq!(counted.len() as u64, requests, "{}", wrong());
    assert_eq!((sum.cached, sum.output), (tokens.cached, tokens.output), "{}", wrong());
    assert_eq!(
        sum.input + sum.cache_write,
        tokens.input + tokens.cache_write,
        "{}",
        wrong()
    );
    assert_eq!(spent, cost, "{}", wrong());
    let other = all.iter().filter(|used| used.request.is_none());
    assert!(other.clone().all(|used| used.beside), "{}", wrong());

    // The conversation goes on, with an address of its own.
    let _ = world.fleet(["resume", "one", "-p", "and again"]).output().success();
    let _ = world.fleet(["wait", "one", "--until", "exited"]).output().success();
    let spent = used(&world, "one")
        .iter()
        .filter(|used| used.request.is_some())
        .filter_map(|used| used.cost)
        .sum();
    let (after, _, cost) = wanted(&world);
    assert!(after > requests, "{}", world.endpoint().overview());
    assert_eq!(
        Usd::from_micros(cost.micros()),
        spent,
        "{}",
        world.endpoint().overview()
    );
    world.end();
}

#[track_caller]
fn understands_a_refusal(cli: Cli) {
    let world = metered(cli);
    let rule = FaultRule {
        when: When::default(),
        nth: Some(1),
        times: Some(1),
        side: true,
        fault: Fault::Hang,
    };
    world.endpoint().set_script(script(cli).with_fault(rule));
    let create = ["create", "one", "--headless", "-p", "look, and tell me"];
    let _ = world.fleet(create).output().success();
    let _ = world
        .endpoint()
        .wait_for_request(LONG, "the first request", |request| request.format.is_some());
    // Set while the agent works, so that nothing is reserved for it.
    let app = app(&world);
    let cap = Cap {
        ceiling: Usd::from_micros(1),
        hard: true,
    };
    let store = app.store().expect("a store");
    store
        .set_cap("test.cap", &Scope::Day, Some(cap), app.now())
        .expect("set");
    world.endpoint().release();
    let _ = world.fleet(["wait", "one", "--until", "exited"]).output();
    let agent = world.agent("one");
    assert!(
        agent["state"].as_str().is_some_and(|state| state.starts_with("exited")),
        "{agent}"
    );
    assert_ne!(agent["outcome"], "success", "{agent} {}", world.screen("one"));
    // One that was side by side with the first may have been on its way.
    let asked = answered(&world).len();
    assert!((1..=2).contains(&asked), "{}", world.endpoint().overview());
    let screen = world.screen("one");
    assert!(screen.contains("fleet refuses another request"), "{screen}");
    world.end();
}

#[test]
fn claude_is_counted_exactly() {
    is_counted_exactly(Cli::Claude);
}

#[test]
fn codex_is_counted_exactly() {
    is_counted_exactly(Cli::Codex);
}

#[test]
fn pi_is_counted_exactly() {
    is_counted_exactly(Cli::Pi);
}

#[test]
fn opencode_is_counted_exactly() {
    is_counted_exactly(Cli::OpenCode);
}

#[test]
fn gemini_is_counted_exactly() {
    is_counted_exactly(Cli::Gemini);
}

#[test]
fn claude_understands_a_refusal() {
    understands_a_refusal(Cli::Claude);
}

#[test]
fn codex_understands_a_refusal() {
    understands_a_refusal(Cli::Codex);
}

#[test]
fn pi_understands_a_refusal() {
    understands_a_refusal(Cli::Pi);
}

#[test]
fn opencode_understands_a_refusal() {
    understands_a_refusal(Cli::OpenCode);
}

#[test]
fn gemini_understands_a_refusal() {
    understands_a_refusal(Cli::Gemini);
}
