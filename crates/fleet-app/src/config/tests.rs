use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A fleet home and a repository, with whatever environment and flags a test gives.
struct Place {
    dir: TempDir,
    env: BTreeMap<String, String>,
    flags: Vec<(String, Value)>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(dir.path().join("home")).expect("made");
        fs::create_dir_all(dir.path().join("repo/.fleet")).expect("made");
        Self {
            dir,
            env: BTreeMap::new(),
            flags: Vec::new(),
        }
    }

    fn user(text: &str) -> Self {
        let place = Self::new();
        fs::write(place.user_file(), text).expect("written");
        place
    }

    fn project(self, text: &str) -> Self {
        fs::write(self.project_file(), text).expect("written");
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.flags.push((key.to_owned(), value.into()));
        self
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn user_file(&self) -> PathBuf {
        self.home().join("config.toml")
    }

    fn project_file(&self) -> PathBuf {
        self.dir.path().join("repo/.fleet/config.toml")
    }

    fn load(&self) -> Result<Loaded> {
        load(&Sources {
            home: &self.home(),
            user_home: Path::new("/home/me"),
            project: Some(&self.dir.path().join("repo")),
            env: &|name| self.env.get(name).cloned(),
            overrides: &self.flags,
        })
    }

    fn config(&self) -> Config {
        self.load().expect("settings").config
    }

    /// Message and hint of the error, with the folder of the test left out.
    fn error(&self) -> (String, String) {
        let error = self.load().expect_err("a mistake");
        assert_eq!(error.kind, Kind::Config, "{error:?}");
        let short = |text: String| text.replace(&format!("{}/", self.dir.path().display()), "");
        (short(error.message), short(error.hint.expect("a hint")))
    }
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

#[test]
fn without_a_file_the_defaults_of_the_seed_hold() {
    let place = Place::new();
    let loaded = place.load().expect("settings");
    let config = loaded.config;
    assert_eq!(config.repo_root, None);
    assert_eq!(config.worktree_root, place.home().join("worktrees"));
    assert_eq!(config.tmux_prefix, "ai_");
    assert_eq!(config.default_agent, "claude");
    assert_eq!(config.claude_flags, ["--dangerously-skip-permissions"]);
    assert!(config.codex_flags.is_empty() && config.credential_files.is_empty() && config.setup_commands.is_empty());
    assert!(!config.quick_setup);
    assert_eq!(
        (config.port_base, config.port_block, config.port_blocks),
        (20000, 10, 500)
    );
    assert_eq!(
        (config.trash_budget_mb, config.output_limit_mb, config.kill_grace_ms),
        (2048, 64, 3000)
    );
    assert!(loaded.origins.values().all(|origin| *origin == Origin::Default));
    assert_eq!(
        loaded.origins.len(),
        Config::KEYS.len() - 1,
        "every key but the tables has an origin"
    );
}

#[test]
fn the_template_means_the_defaults() {
    let place = Place::new();
    let defaults = place.load().expect("settings");
    fs::write(place.user_file(), Config::template(&place.home())).expect("written");
    assert_eq!(place.load().expect("settings"), defaults);
}

#[test]
fn the_template_with_every_comment_mark_removed_is_valid_and_has_every_key() {
    let place = Place::new();
    let template = Config::template(&place.home());
    let bare = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| !rest.starts_with(' '))
            .unwrap_or(line)
            .to_owned()
    };
    let text: Vec<String> = template.lines().map(bare).collect();
    fs::write(place.user_file(), text.join("\n")).expect("written");
    let loaded = place.load().expect("settings");
    for (key, origin) in &loaded.origins {
        assert_eq!(*origin, Origin::User(place.user_file()), "{key}");
    }
    let defaults = Place::new().config();
    assert_eq!(loaded.config.port_base, defaults.port_base);
    assert_eq!(loaded.config.worktree_root, place.home().join("worktrees"));
    assert_eq!(loaded.config.harness["echoer"].ready.as_deref(), Some("^> ?$"));
}

#[test]
fn every_key_has_text_an_example_that_is_no_default_and_a_place_on_the_reference_page() {
    let page = reference();
    for key in Config::KEYS.iter().chain(HarnessConfig::KEYS) {
        assert!(
            !key.doc.is_empty() && key.doc.iter().all(|line| line.starts_with(' ')),
            "{}",
            key.name
        );
        let example: Value = key.example.parse().expect(key.name);
        key.shape.check(example).expect(key.name);
        assert_ne!(Some(key.example), key.default, "{}", key.name);
        if key.shape != Shape::Harnesses {
            assert!(page.contains(&format!("### `{}`\n", key.name)), "{}", key.name);
        }
    }
    assert!(page.contains("- Environment: `FLEET_DEFAULT_AGENT`\n"));
    assert!(!page.contains("`FLEET_PORT_BASE`\n- A repository may set it: yes"));
    assert!(!page.contains("- Environment: `FLEET_PORT_BASE`"));
}

#[test]
fn the_stronger_layer_wins_and_origins_say_which() {
    let mut place = Place::user("tmux_prefix = \"u_\"\ndefault_agent = \"a\"\nsetup_commands = [\"one\"]");
    let origin = |place: &Place| place.load().expect("settings").origins["default_agent"].clone();
    assert_eq!(origin(&place), Origin::User(place.user_file()));
    place = place.project("default_agent = \"b\"\nsetup_commands = [\"two\"]");
    assert_eq!(origin(&place), Origin::Project(place.project_file()));
    assert_eq!(place.config().setup_commands, ["two"]);
    assert_eq!(place.config().tmux_prefix, "u_");
    place = place.env("FLEET_DEFAULT_AGENT", "c");
    assert_eq!(origin(&place), Origin::Env("FLEET_DEFAULT_AGENT".to_owned()));
    assert_eq!(place.config().default_agent, "c");
    place = place.flag("default_agent", "d");
    assert_eq!(origin(&place), Origin::Flag);
    assert_eq!(place.config().default_agent, "d");
}

#[test]
fn origins_have_the_keys_of_the_json() {
    let place = Place::user("[harness.x]\ncommand = [\"x\"]");
    let loaded = place.load().expect("settings");
    let json = loaded.config.to_json();
    assert!(
        json.keys().eq(loaded.origins.keys()),
        "{:?} {:?}",
        json.keys(),
        loaded.origins.keys()
    );
    assert_eq!(json["harness.x"]["command"], serde_json::json!(["x"]));
    assert_eq!(json["on_idle"], serde_json::Value::Null);
    assert_eq!(
        loaded.origins["harness.x"].to_string(),
        place.user_file().display().to_string()
    );
}

#[test]
fn a_harness_of_the_users_own_needs_a_command_only() {
    let config = Place::user("[harness.echoer]\ncommand = [\"~/bin/echoer\", \"~/x\", \"\"]").config();
    let expected = HarnessConfig {
        command: strings(&["/home/me/bin/echoer", "~/x", ""]),
        prompt: PromptWay::Argv,
        ready: None,
        interrupt: None,
        resume: Vec::new(),
        model: Vec::new(),
        install: None,
    };
    assert_eq!(config.harness["echoer"], expected);
    let all = "[harness.e]\ncommand = [\"e\"]\nprompt = \"stdin\"\nready = \"^> ?$\"\nresume = [\"-c\"]\n\
               model = [\"--model={model}\"]\ninstall = \"get e\"";
    let harness = &Place::user(all).config().harness["e"];
    assert_eq!(
        (harness.prompt, harness.ready.as_deref()),
        (PromptWay::Stdin, Some("^> ?$"))
    );
    assert_eq!(
        (harness.resume.len(), harness.model.len(), harness.install.as_deref()),
        (1, 1, Some("get e"))
    );
}

#[test]
fn codecs_means_codex_everywhere() {
    assert_eq!(canonical_harness("codecs"), "codex");
    assert_eq!(canonical_harness("claude"), "claude");
    assert_eq!(
        Place::user("default_agent = \"codecs\"").config().default_agent,
        "codex"
    );
    assert_eq!(
        Place::new().env("FLEET_DEFAULT_AGENT", "codecs").config().default_agent,
        "codex"
    );
    assert!(
        Place::user("[harness.codecs]\ncommand = [\"c\"]")
            .config()
            .harness
            .contains_key("codex")
    );
    let twice = Place::user("[harness.codex]\ncommand = [\"c\"]\n[harness.codecs]\ncommand = [\"c\"]");
    assert_eq!(
        twice.error(),
        (
            "home/config.toml:3: the harness `codex` is there twice, because `codecs` means `codex`".to_owned(),
            "remove `[harness.codecs]`".to_owned()
        )
    );
}

#[test]
fn flags_are_a_line_or_an_array() {
    let flags = |text: &str| Place::user(&format!("claude_flags = {text}")).config().claude_flags;
    assert_eq!(flags("'--say \"a b\"'"), ["--say", "a b"]);
    assert_eq!(flags("['--say', 'a b', '']"), ["--say", "a b", ""]);
    assert!(flags("''").is_empty());
}

#[test]
fn a_tilde_is_the_users_home() {
    let config =
        Place::user("repo_root = \"~/code/my-project\"\nworktree_root = \"~\"\non_exit = [\"~/n\", \"~\"]").config();
    assert_eq!(config.repo_root.as_deref(), Some(Path::new("/home/me/code/my-project")));
    assert_eq!(config.worktree_root, Path::new("/home/me"));
    assert_eq!(config.on_exit, Some(strings(&["/home/me/n", "~"])));
}

#[test]
fn the_environment_speaks_plain_text_or_toml() {
    let config = Place::user("claude_flags = \"--user\"\ndefault_agent = \"pi\"\nquick_setup = true")
        .env("FLEET_WORKTREE_ROOT", "~/w t")
        .env("FLEET_CLAUDE_FLAGS", "")
        .env("FLEET_CODEX_FLAGS", "['a b']")
        .env("FLEET_TMUX_PREFIX", "")
        .env("FLEET_DEFAULT_AGENT", "")
        .env("FLEET_QUICK_SETUP", "false")
        .env("FLEET_SETUP_COMMANDS", "[\"npm install\"]")
        .env("FLEET_ON_EXIT", " ['n', 'x'] ")
        .env("FLEET_PORT_BLOCK", "20")
        // These are no settings.
        .env("FLEET_PORT_BASE", "50000")
        .env("FLEET_HOME", "/nowhere")
        .env("FLEET_HARNESS", "x")
        .config();
    assert_eq!(config.worktree_root, Path::new("/home/me/w t"));
    assert!(config.claude_flags.is_empty() && config.tmux_prefix.is_empty() && !config.quick_setup);
    assert_eq!(config.codex_flags, ["a b"]);
    assert_eq!(config.default_agent, "pi");
    assert_eq!(config.setup_commands, ["npm install"]);
    assert_eq!(config.on_exit, Some(strings(&["n", "x"])));
    assert_eq!((config.port_base, config.port_block), (20000, 20));
}

#[test]
fn mistakes_in_a_file_name_line_key_and_a_way_out() {
    let cases = [
        (
            "\n\ndefualt_agent = \"x\"",
            "3: unknown key `defualt_agent`",
            "did you mean `default_agent`?",
        ),
        (
            "[claude]\ncommand = [\"c\"]",
            "1: unknown key `claude`",
            "a harness is `[harness.claude]`",
        ),
        (
            "quick_setup = \"yes\"",
            "1: `quick_setup` wants true or false, not a string",
            "write for example `quick_setup = true`",
        ),
        (
            "zz = 1\nquick_setup = 1",
            "1: unknown key `zz`",
            "known keys are repo_root, worktree_root, tmux_prefix, default_agent, claude_flags, codex_flags, gemini_flags, opencode_flags, pi_flags, \
             trust_worktrees, root_bypass, credential_files, setup_commands, quick_setup, commit_trailers, on_waiting, on_idle, on_exit, on_budget, meter, agent_budget, port_base, port_block, \
             port_blocks, trash_budget_mb, output_limit_mb, kill_grace_ms, harness",
        ),
        (
            "tmux_prefix = 3",
            "1: `tmux_prefix` wants a string, not an integer",
            "write for example `tmux_prefix = \"work_\"`",
        ),
        (
            "port_base = 80",
            "1: `port_base` wants a whole number from 1024 to 60000, not 80",
            "write for example `port_base = 30000`",
        ),
        (
            "port_base = 60000\nport_blocks = 600",
            "2: `port_blocks`: 600 blocks of 10 from port 60000 on go past port 65535",
            "write `port_blocks = 553` or less",
        ),
        (
            "setup_commands = \"npm i\"",
            "1: `setup_commands` wants an array of strings, not a string",
            "write for example `setup_commands = [\"npm install\", \"npm run build\"]`",
        ),
        (
            "setup_commands = [\n  \"npm i\",\n  3,\n]",
            "1: `setup_commands` wants an array of strings, but item 2 is an integer",
            "write for example `setup_commands = [\"npm install\", \"npm run build\"]`",
        ),
        (
            "setup_commands = [\" \"]",
            "1: `setup_commands` has an empty item 1",
            "write for example `setup_commands = [\"npm install\", \"npm run build\"]`",
        ),
        (
            "claude_flags = \"--say 'x\"",
            "1: `claude_flags` cannot be split: a `'` has no end",
            "write for example `claude_flags = \"--permission-mode plan\"`",
        ),
        (
            "worktree_root = \"trees\"",
            "1: `worktree_root` is a relative path: `trees`",
            "write it from `/` or from `~/` on",
        ),
        (
            "repo_root = \"~other/x\"",
            "1: `repo_root` is a relative path: `~other/x`",
            "write it from `/` or from `~/` on",
        ),
        (
            "credential_files = [\".env\", \"../x\"]",
            "1: `credential_files` has `../x`, which leads out of the repository",
            "name files below the repository's folder, such as `config/master.key`",
        ),
        (
            "credential_files = [\"/etc/passwd\"]",
            "1: `credential_files` has `/etc/passwd`, which is not relative to the repository",
            "name files below the repository's folder, such as `config/master.key`",
        ),
        (
            "credential_files = [\"./.git/config\"]",
            "1: `credential_files` has `./.git/config`, which is git's own",
            "name files below the repository's folder, such as `config/master.key`",
        ),
        (
            "on_exit = []",
            "1: `on_exit` wants an array of a program and its arguments, not an empty array",
            "write for example `on_exit = [\"notify-send\", \"an agent ended\"]`",
        ),
        (
            "on_exit = [\"./n\"]",
            "1: `on_exit` names its program by a relative path: `./n`",
            "write it from `/` or from `~/` on, or as a bare name that is on PATH",
        ),
        (
            "tmux_prefix = \"a\\u0000\"",
            "1: `tmux_prefix` contains a NUL character",
            "write for example `tmux_prefix = \"work_\"`",
        ),
        (
            "default_agent = \"a,b\"",
            "1: `default_agent` has `a,b`, which is no name of a harness",
            "use letters, digits, `-`, `_` and `.`, such as `my-agent`",
        ),
        (
            "version = 2\nnew_key = 1",
            "1: the file has version 2, and this fleet reads 1",
            "update fleet, or move the file away",
        ),
        ("version = \"1\"", "1: `version` wants 1", "write `version = 1`"),
    ];
    for (text, message, hint) in cases {
        let expected = (format!("home/config.toml:{message}"), hint.to_owned());
        assert_eq!(Place::user(text).error(), expected, "{text}");
    }
}

#[test]
fn mistakes_in_a_harness_name_its_table() {
    let table = "write a table `[harness.NAME]` with `command = [\"PROGRAM\"]`";
    let cases = [
        (
            "[harness.e]\nprompt = \"paste\"",
            "1: `[harness.e]` has no `command`",
            "write for example `command = [\"/opt/agents/echoer\", \"--color\"]`",
        ),
        (
            "[harness.e]\ncommand = []",
            "2: `command` of `[harness.e]` wants an array of a program and its arguments, not an empty array",
            "write for example `command = [\"/opt/agents/echoer\", \"--color\"]`",
        ),
        (
            "[harness.e]\ncommand = [\"e\"]\npromt = \"paste\"",
            "3: unknown key `promt` in `[harness.e]`",
            "did you mean `prompt`?",
        ),
        (
            "[harness.e]\ncommand = [\"e\"]\nquick_setup = true",
            "3: unknown key `quick_setup` in `[harness.e]`",
            "move `quick_setup` above the first `[table]`",
        ),
        (
            "[harness.e]\ncommand = [\"e\"]\nprompt = \"pipe\"",
            "3: `prompt` of `[harness.e]` wants `argv` or `stdin` or `paste`, not `pipe`",
            "write for example `prompt = \"paste\"`",
        ),
        (
            "[harness.e]\ncommand = [\"e\"]\nmodel = [\"--model\"]",
            "3: `model` of `[harness.e]` does not say where the name of the model goes",
            "write for example `model = [\"--model\", \"{model}\"]`",
        ),
        (
            "harness = 3",
            "1: `harness` wants tables `[harness.NAME]`, not an integer",
            table,
        ),
        (
            "[harness]\ncommand = [\"e\"]",
            "2: `harness.command` wants a table, not an array",
            table,
        ),
        (
            "[harness.\"a,b\"]\ncommand = [\"e\"]",
            "1: `harness` has `a,b`, which is no name of a harness",
            "use letters, digits, `-`, `_` and `.`, such as `my-agent`",
        ),
    ];
    for (text, message, hint) in cases {
        let expected = (format!("home/config.toml:{message}"), hint.to_owned());
        assert_eq!(Place::user(text).error(), expected, "{text}");
    }
    let (message, hint) = Place::user("[harness.e]\ncommand = [\"e\"]\nready = \"[\"").error();
    assert!(
        message.starts_with("home/config.toml:3: `ready` of `[harness.e]` is no regular expression: "),
        "{message}"
    );
    assert!(!message.contains('\n'));
    assert_eq!(hint, "write for example `ready = \"^> ?$\"`");
}

#[test]
fn bad_toml_names_line_and_column() {
    let (message, hint) = Place::user("quick_setup = true\ntmux_prefix = \"é\" x").error();
    assert!(message.starts_with("home/config.toml:2:19: "), "{message}");
    assert_eq!(hint, "correct that line: `fleet config edit`");
    let (message, _) = Place::user("quick_setup = true\nquick_setup = true").error();
    assert_eq!(message, "home/config.toml:2:1: duplicate key");
    let (message, _) = Place::user("port_base = 99999999999999999999").error();
    assert!(message.starts_with("home/config.toml:1:13: "), "{message}");
    let (message, hint) = Place::new().project("=").error();
    assert!(message.starts_with("repo/.fleet/config.toml:1:1: "), "{message}");
    assert_eq!(hint, "correct that line");
}

#[test]
fn a_file_that_is_none_is_named() {
    let place = Place::new();
    fs::write(place.user_file(), b"\xff\xfe").expect("written");
    assert_eq!(
        place.error(),
        (
            "home/config.toml is not UTF-8".to_owned(),
            "move it away and start anew: `mv home/config.toml home/config.toml.old`".to_owned()
        )
    );
    let place = Place::new();
    fs::create_dir(place.user_file()).expect("made");
    assert_eq!(place.error().0, "home/config.toml is a directory");
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let cases = [
        (
            "FLEET_QUICK_SETUP",
            "yes",
            "FLEET_QUICK_SETUP: `quick_setup` wants true or false, not `yes`",
            "write for example `export FLEET_QUICK_SETUP='true'`",
        ),
        (
            "FLEET_SETUP_COMMANDS",
            "npm install",
            "FLEET_SETUP_COMMANDS: `setup_commands` wants an array of strings, not `npm install`",
            "write for example `export FLEET_SETUP_COMMANDS='[\"npm install\", \"npm run build\"]'`",
        ),
        (
            "FLEET_SETUP_COMMANDS",
            "3",
            "FLEET_SETUP_COMMANDS: `setup_commands` wants an array of strings, not an integer",
            "write for example `export FLEET_SETUP_COMMANDS='[\"npm install\", \"npm run build\"]'`",
        ),
        (
            "FLEET_CLAUDE_FLAGS",
            "'",
            "FLEET_CLAUDE_FLAGS: `claude_flags` cannot be split: a `'` has no end",
            "write for example `export FLEET_CLAUDE_FLAGS='--permission-mode plan'`",
        ),
        (
            "FLEET_PORT_BLOCKS",
            "9000",
            "FLEET_PORT_BLOCKS: `port_blocks`: 9000 blocks of 10 from port 20000 on go past port 65535",
            "write `port_blocks = 4553` or less",
        ),
    ];
    for (name, value, message, hint) in cases {
        assert_eq!(
            Place::new().env(name, value).error(),
            (message.to_owned(), hint.to_owned())
        );
    }
}

#[test]
fn a_flag_is_checked_like_a_file() {
    assert_eq!(
        Place::new().flag("quick_setup", 1).error().0,
        "flag: `quick_setup` wants true or false, not an integer"
    );
    assert_eq!(Place::new().flag("quick", true).error().0, "flag: unknown key `quick`");
}

#[test]
fn a_repository_sets_up_its_worktrees_and_chooses_no_programs() {
    let config = Place::new()
        .project("default_agent = \"pi\"\ncredential_files = [\".env\"]\nsetup_commands = [\"x\"]\nquick_setup = true")
        .config();
    assert_eq!((config.default_agent.as_str(), config.quick_setup), ("pi", true));
    assert_eq!((config.credential_files.len(), config.setup_commands.len()), (1, 1));

    for key in Config::KEYS.iter().filter(|key| !key.project) {
        let place = Place::new().project(&format!("version = 1\n{} = {}", key.name, key.example));
        let message = format!("repo/.fleet/config.toml:2: a repository cannot set `{}`", key.name);
        assert_eq!(
            place.error(),
            (message, "set it in home/config.toml: `fleet config edit`".to_owned())
        );
    }
    let allowed: Vec<&str> = Config::KEYS
        .iter()
        .filter(|key| key.project)
        .map(|key| key.name)
        .collect();
    assert_eq!(
        allowed,
        ["default_agent", "credential_files", "setup_commands", "quick_setup"]
    );
}

#[test]
fn the_first_file_is_private_and_the_users_own_is_never_touched() {
    let place = Place::new();
    let home = place.dir.path().join("new/home");
    assert!(ensure_user_file(&home).expect("written"));
    let path = home.join("config.toml");
    assert_eq!(fs::read_to_string(&path).expect("read"), Config::template(&home));
    assert_eq!(fs::metadata(&path).expect("meta").permissions().mode() & 0o777, 0o600);
    fs::write(&path, "mine").expect("written");
    assert!(!ensure_user_file(&home).expect("left"));
    assert_eq!(fs::read_to_string(&path).expect("read"), "mine");
}

#[test]
fn of_many_first_runs_one_writes_the_file() {
    let place = Place::new();
    let home = place.home();
    let wrote: usize = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ensure_user_file(&home).expect("fine")))
            .collect();
        runs.into_iter()
            .map(|run| usize::from(run.join().expect("ended")))
            .sum()
    });
    assert_eq!(wrote, 1);
}

#[test]
fn validation_finds_missing_files_and_programs() {
    let place = Place::user(
        "default_agent = \"mine\"\ncredential_files = [\"key\", \"gone\", \"dir\", \"out\"]\non_idle = [\"/none/notify\"]\n\
         [harness.mine]\ncommand = [\"/none/mine\"]\ninstall = \"get mine\"\n[harness.other]\ncommand = [\"other\"]\n\
         [harness.fine]\ncommand = [\"sh\"]",
    );
    let repo = place.dir.path().join("repo");
    fs::write(repo.join("key"), "k").expect("written");
    fs::create_dir(repo.join("dir")).expect("made");
    std::os::unix::fs::symlink("/etc/hostname", repo.join("out")).expect("linked");
    let findings = validate(&place.config(), Some(&repo), "/usr/bin:/bin");
    let keys: Vec<(Level, &str)> = findings
        .iter()
        .map(|finding| (finding.level, finding.key.as_str()))
        .collect();
    assert_eq!(
        keys,
        [
            (Level::Error, "harness.mine"),
            (Level::Warning, "harness.other"),
            (Level::Error, "on_idle"),
            (Level::Error, "credential_files"),
            (Level::Error, "credential_files"),
            (Level::Error, "credential_files"),
        ]
    );
    assert_eq!(findings[0].hint.as_deref(), Some("install it: `get mine`"));
    for (finding, name) in findings[3..].iter().zip(["gone", "dir", "out"]) {
        assert!(finding.message.contains(&format!("`{name}`")), "{finding:?}");
    }
}

#[test]
fn validation_finds_an_unknown_harness_and_bad_folders() {
    let place = Place::user("default_agent = \"mien\"\n[harness.mine]\ncommand = [\"sh\"]");
    let mut config = place.config();
    config.worktree_root = place.user_file().join("trees");
    config.repo_root = Some(place.home().join("nothing"));
    let findings = validate(&config, None, "/usr/bin:/bin");
    let keys: Vec<&str> = findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(keys, ["repo_root", "worktree_root", "default_agent"]);
    assert_eq!(findings[2].message, "there is no harness `mien`");
    assert_eq!(findings[2].hint.as_deref(), Some("did you mean `mine`?"));

    let repo = place.dir.path().join("repo");
    config.default_agent = "mine".to_owned();
    config.repo_root = None;
    config.worktree_root = repo.join("trees");
    let findings = validate(&config, Some(&repo), "/usr/bin:/bin");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        (findings[0].level, findings[0].key.as_str()),
        (Level::Warning, "worktree_root")
    );
}
