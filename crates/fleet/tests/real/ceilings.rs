//! A hard ceiling over ten workers of three real programs, while their driver and supervisors are killed at random. What
//! was spent is counted by the endpoint, which nobody else can be wrong about.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_core::Time;
use fleet_core::money::Usd;
use fleet_core::price::Prices;
use fleet_core::usage::Tokens;
use fleet_testkit::clis::Cli;
use fleet_testkit::kill_process;
use fleet_testkit::model::{Script, Turn, Usage};
use serde_json::{Value, json};

use crate::world::{LONG, World};

/// The most that the run may spend, in USD. All that its workers want costs 5 USD.
const CEILING: f64 = 2.5;
/// How many workers run at once.
const AT_ONCE: u64 = 3;
/// How many kills there are in one run.
const KILLS: u64 = 3;
/// What a token costs in this test, in USD for a million of them, whatever the model.
const PRICE: f64 = 5.0;
/// What each reply reports.
const REPLY: Usage = Usage {
    input: 16_000,
    cached: 0,
    cache_write: 0,
    output: 4_000,
    reasoning: 0,
};

/// What came of one run.
struct Outcome {
    seed: u64,
    state: String,
    kills: u64,
    requests: usize,
    actual: Usd,
    counted: f64,
    estimated: f64,
    /// What the ceiling has been charged with: the account, its estimates, and whole holds where nobody knows.
    charged: f64,
    over: Usd,
}

/// A small generator (xorshift64*), so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

/// Five requests a worker, each of them 0.10 USD.
fn world() -> World {
    let turns = (0..4).map(|_| Turn::shell("true").with_usage(REPLY));
    let turns = turns.chain([Turn::say("done").with_usage(REPLY)]);
    let world = World::with_script(Cli::Claude, Script::of(turns));
    let models = [
        "scripted",
        "claude-sonnet-5",
        "claude-haiku-4-5",
        "claude-opus-5",
        "gpt-5.4",
        "sonnet",
    ];
    let models = models.map(|model| format!("\"{model}\"")).join(", ");
    let text = format!("version = 1\n[[price]]\nmodels = [{models}]\ninput = {PRICE}\noutput = {PRICE}\n");
    fs::write(world.fleet_home().join("prices.toml"), text).expect("written");
    world
}

fn plan(root: &Path) {
    let providers = ["claude", "codex", "pi"];
    let workers: Vec<Value> = (0..10)
        .map(|number| {
            let provider = providers[number % providers.len()];
            // A worker wants 0.50 USD: half of them are to be ended by their supervisor before.
            let budget = if number % 2 == 0 { 0.3 } else { 0.6 };
            let mut worker =
                json!({"id": format!("w{number}"), "type": "code-run", "provider": provider, "max_budget_usd": budget});
            match provider {
                "claude" => worker["model"] = json!("sonnet"),
                "pi" => worker["model"] = json!("scripted"),
                _ => {}
            }
            worker
        })
        .collect();
    let plan = json!({"fleet_name": "night", "type": "dag", "workers": workers,
        "config": {"max_concurrent": AT_ONCE, "retry_delay_seconds": 0.1, "max_retries": 10}});
    fs::create_dir_all(root).expect("a folder");
    fs::write(root.join("fleet.json"), plan.to_string()).expect("written");
    for number in 0..10 {
        let folder = root.join(format!("workers/w{number}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("prompt.md"), format!("Do part {number}.\n")).expect("written");
    }
}

/// What all requests cost that were answered in part or in whole, by the endpoint's own count.
fn actual(world: &World) -> (usize, Usd) {
    let text = fs::read_to_string(world.fleet_home().join("prices.toml")).expect("prices");
    let prices = Prices::builtin().with(Prices::parse(&text, "prices").expect("prices"));
    let cost = |model: &str, usage: Usage| {
        let tokens = Tokens {
            input: usage.input,
            cached: usage.cached,
            cache_write: usage.cache_write,
            output: usage.output,
            reasoning: usage.reasoning,
        };
        let cost = prices.cost(model, Time(1_795_000_000_000), tokens);
        cost.unwrap_or_else(|| panic!("no price of {model}"))
    };
    let requests = world.endpoint().requests();
    let paid = requests.iter().filter(|request| request.format.is_some());
    let costs: Vec<Usd> = paid
        .filter_map(|request| Some(cost(&request.model, request.answer.usage?)))
        .collect();
    (costs.len(), costs.into_iter().sum())
}

fn a_night(seed: u64) -> Outcome {
    let mut random = Random(seed.wrapping_mul(1_000_003) | 1);
    let world = world();
    let root = world.root().join("night");
    plan(&root);
    let shown = root.display().to_string();
    let budget = CEILING.to_string();
    let _ = world
        .fleet(["budget", "set", "--per", "day", "1000"])
        .output()
        .success();
    let launch = || {
        let args = [
            "launch",
            &shown,
            "--detach",
            "--budget",
            &budget,
            "--hard",
            "--allow-unknown-model",
        ];
        world.fleet(args).output()
    };
    let first = launch();
    assert!(first.status.success(), "{first}");
    let run = || world.answer(["status", &shown])["runs"][0].clone();
    let deadline = Instant::now() + LONG * 2;
    let mut kills = 0;
    let ended = loop {
        let now = run();
        let state = now["state"].as_str().unwrap_or_default().to_owned();
        match state.as_str() {
            "running" | "unattended" | "paused" => {}
            _ => break now,
        }
        assert!(Instant::now() < deadline, "seed {seed}: {now:#}");
        if state != "running" {
            let again = launch();
            assert!(again.status.success(), "{again}");
        }
        world
            .endpoint()
            .find_request(Duration::from_millis(500 + random.below(3000)), |_| false);
        if kills < KILLS {
            let victims = world.own_pids();
            if let Some(victim) = victims.get(random.below(victims.len().max(1) as u64) as usize) {
                kill_process(*victim);
                kills += 1;
            }
        }
    };
    let (requests, actual) = actual(&world);
    let ceiling = Usd::new(CEILING).expect("an amount");
    let day = world.answer(["budget", "show"])["lines"][0].clone();
    assert_eq!(day["what"], "day");
    assert_eq!(
        day["reserved_usd"].as_f64().map(|held| held <= CEILING),
        Some(true),
        "seed {seed}: {day}"
    );
    let outcome = Outcome {
        seed,
        state: ended["state"].as_str().unwrap_or_default().to_owned(),
        kills,
        requests,
        actual,
        counted: ended["spent_usd"].as_f64().unwrap_or_default(),
        estimated: ended["estimated_usd"].as_f64().unwrap_or_default(),
        charged: day["spent_usd"].as_f64().unwrap_or_default() + day["reserved_usd"].as_f64().unwrap_or_default(),
        over: actual.less(ceiling),
    };
    world.end_all();
    outcome
}

#[test]
fn a_hard_ceiling_holds_for_three_programs_whoever_is_killed() {
    let full = std::env::var_os("FLEET_TEST_FULL").is_some();
    let seeds = if full { 1..=50 } else { 1..=2 };
    for cli in [Cli::Codex, Cli::Pi] {
        cli.require();
    }
    let outcomes: Vec<Outcome> = seeds.map(a_night).collect();
    let in_flight = Usd::new(0.1).expect("an amount") * u32::try_from(AT_ONCE).expect("few");
    for each in &outcomes {
        assert!(
            each.over <= in_flight,
            "seed {}: {} were spent of {CEILING} USD",
            each.seed,
            each.actual
        );
        // What was under way when a program was ended at its limit is in no file; nothing else is missing.
        let missing = Usd::new((each.actual.dollars() - each.charged).max(0.0)).expect("an amount");
        assert!(
            missing <= in_flight * 2,
            "seed {}: {} were spent, and {} charged",
            each.seed,
            each.actual,
            each.charged
        );
        assert_ne!(
            each.state, "done",
            "seed {}: all of it costs more than it may",
            each.seed
        );
    }
    if full {
        write_table(&outcomes);
    }
}

/// What ten sessions of Claude Code spend when each is given a tenth of the ceiling by its own flag, and nobody looks at
/// the sum.
fn alone() -> Usd {
    let world = world();
    let each = (CEILING / 10.0).to_string();
    for number in 0..10 {
        let prompt = format!("Do part {number}.");
        let args = [
            "-p",
            "--model",
            "sonnet",
            "--max-budget-usd",
            &each,
            "--allowedTools",
            "Bash",
            "--",
            &prompt,
        ];
        let ended = world.program(Cli::Claude, args).output();
        assert!(!ended.status.success(), "it is to end at its budget: {ended}");
    }
    actual(&world).1
}

fn write_table(outcomes: &[Outcome]) {
    let mut text = format!(
        "# A ceiling that holds\n\nTen workers of Claude Code, Codex and Pi, {AT_ONCE} at once, may spend {CEILING:.2} USD together (`launch \
         --budget {CEILING} --hard`); all of them would cost 5 USD. Each request costs 0.10 USD. Driver and supervisors are killed \
         at random times. What was spent is what the endpoint has answered, in part or in whole; what a killed worker used is found in its own session file, and the request that was under way is estimated; where there is no such file, all that it had reserved is charged. The bar: no more beyond the \
         ceiling than the requests under way, {AT_ONCE} at once.\n\nMade by `cargo xtask test --full ceilings`.\n\n\
         | seed | kills | requests | spent | by fleet's account | estimated of that | charged | beyond | the run |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for each in outcomes {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.2} USD | {:.2} USD | {:.2} USD | {} | {} |",
            each.seed,
            each.kills,
            each.requests,
            each.actual,
            each.counted,
            each.estimated,
            each.charged,
            each.over,
            each.state
        );
    }
    let most = outcomes.iter().map(|each| each.over).max().unwrap_or_default();
    let kills: u64 = outcomes.iter().map(|each| each.kills).sum();
    let runs = outcomes.len();
    let _ = writeln!(
        text,
        "\n{runs} runs, {kills} kills; the most beyond the ceiling: {most}."
    );
    let (alone, each) = (alone(), CEILING / 10.0);
    let _ = writeln!(
        text,
        "\nBeside it: ten sessions of Claude Code alone, each with `--max-budget-usd {each}`, one after the other and without a \
         kill, spent {alone}: each ends with the request that passes its own limit, and nobody looks at the sum."
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/ceilings.md");
    fs::write(path, text).expect("the table is written");
}
