//! What a program asks before it works in a new folder, and how fleet answers: by an argument or a variable of that
//! one child where the program takes one, else by [`added`] keys in the user's own file.
//!
//! Answered are whether the folder is trusted, the warning of Claude Code's bypass mode, whether Claude Code may use the
//! key in its environment, and its first start where that needs no login. A login and everything else stays the user's.
//!
//! - Codex cannot be given a path with quotes as the key of `-c`; a whole table it takes, and joins it with the
//!   user's own. In a linked worktree it asks about the main checkout.
//! - Claude Code reads the last `--settings` only, so what is there already is extended.

pub mod added;
pub mod json_text;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::added::Answer;
use super::own_arguments;

/// How what a program asks of a new folder is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// It asks nothing, or nobody knows how to answer.
    #[default]
    Unasked,
    /// In the user's `.claude.json`; the warning of the bypass mode by `--settings`.
    Claude,
    /// By `-c projects={…}`.
    Codex,
    /// By a variable.
    Gemini,
}

/// With one of these Claude Code needs no login, and so nothing of its first start, which also asks for a theme.
const CREDENTIALS: [&str; 3] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];

/// Variables of a child, by name.
pub type Env = Vec<(String, String)>;

/// Answers what the program of `argv` would ask of `folders`, by arguments and variables of that child alone. A
/// variable that is set already is the user's own word and stays.
///
/// `read` gives the text of a file that `argv` names.
pub fn answer(
    trust: Trust,
    argv: &mut Vec<String>,
    env: &mut Env,
    folders: &[PathBuf],
    read: &dyn Fn(&Path) -> Option<String>,
) {
    match trust {
        Trust::Unasked => {}
        Trust::Claude => skip_bypass_warning(argv, read),
        Trust::Codex => {
            let folders = folders.iter().filter_map(|folder| folder.to_str());
            // A JSON string is a TOML string, too.
            let trusted = folders.map(|folder| format!("{}={{trust_level=\"trusted\"}}", Value::from(folder)));
            let table = trusted.collect::<Vec<_>>().join(",");
            argv.splice(1..1, ["-c".to_owned(), format!("projects={{{table}}}")]);
        }
        Trust::Gemini => set_if_unset(env, "GEMINI_CLI_TRUST_WORKSPACE", "true"),
    }
}

/// What the user's own file of the program has to say for `folders` and a child with `env`; empty when the program
/// is answered without it.
pub fn answers_in_file(trust: Trust, env: &Env, folders: &[PathBuf]) -> Vec<Answer> {
    if trust != Trust::Claude {
        return Vec::new();
    }
    let given = |name| value_of(env, name).filter(|value| !value.is_empty());
    let trusted = folders.iter().filter_map(|folder| folder.to_str()).map(Answer::trusts);
    let key = given("ANTHROPIC_API_KEY");
    let onboarded = CREDENTIALS
        .iter()
        .any(|name| given(name).is_some())
        .then(Answer::is_onboarded);
    onboarded
        .into_iter()
        .chain(trusted)
        .chain(key.map(Answer::uses_key))
        .collect()
}

/// The file in which Claude Code, started with `env`, keeps what it was answered; `home` is the user's.
pub fn claude_file(env: &Env, home: &Path) -> PathBuf {
    let set = |name| value_of(env, name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("HOME").unwrap_or_else(|| home.to_owned());
    let config = set("CLAUDE_CONFIG_DIR");
    let old = config
        .clone()
        .unwrap_or_else(|| home.join(".claude"))
        .join(".config.json");
    if old.exists() {
        return old;
    }
    config.unwrap_or(home).join(".claude.json")
}

/// Whether `argv` starts Claude Code in the mode that it refuses to root.
pub fn bypasses(argv: &[String]) -> bool {
    let own = own_arguments(argv).0;
    own.iter().enumerate().any(|(index, arg)| match arg.as_str() {
        "--dangerously-skip-permissions" | "--allow-dangerously-skip-permissions" => true,
        "--permission-mode" => own.get(index + 1).is_some_and(|mode| mode == "bypassPermissions"),
        arg => arg == "--permission-mode=bypassPermissions",
    })
}

/// Whether `env` says that root is no danger here: Claude Code's own variables for that.
pub fn says_sandbox(env: &Env) -> bool {
    let bubblewrap = value_of(env, "CLAUDE_CODE_BUBBLEWRAP").is_some_and(|value| !value.is_empty());
    value_of(env, "IS_SANDBOX") == Some("1") || bubblewrap
}

/// The value of a variable.
pub fn value_of<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    env.iter()
        .rev()
        .find(|(each, _)| each == name)
        .map(|(_, value)| value.as_str())
}

/// The folders to answer for, each once, as the agent's folder is named and as it really is: programs use both. The
/// folder itself need not be there yet.
pub fn folders(worktree: &Path, main: Option<&Path>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in [Some(worktree), main].into_iter().flatten() {
        for form in [folder.to_owned(), real(folder)] {
            if !folders.contains(&form) {
                folders.push(form);
            }
        }
    }
    folders
}

fn real(folder: &Path) -> PathBuf {
    let there = folder
        .ancestors()
        .find_map(|each| Some((each, each.canonicalize().ok()?)));
    match there {
        Some((each, real)) => real
            .join(folder.strip_prefix(each).unwrap_or(folder))
            .components()
            .collect(),
        None => folder.to_owned(),
    }
}

fn set_if_unset(env: &mut Env, name: &str, value: &str) {
    if value_of(env, name).is_none() {
        env.push((name.to_owned(), value.to_owned()));
    }
}

fn skip_bypass_warning(argv: &mut Vec<String>, read: &dyn Fn(&Path) -> Option<String>) {
    const SKIP: &str = "skipDangerousModePermissionPrompt";
    if !bypasses(argv) {
        return;
    }
    let own = own_arguments(argv).0;
    let apart = own.iter().rposition(|arg| arg == "--settings").map(|at| at + 1);
    let joined = own.iter().rposition(|arg| arg.starts_with("--settings="));
    // The last one is the one that counts.
    let Some(at) = apart.max(joined) else {
        let settings = Value::Object(Map::from_iter([(SKIP.to_owned(), true.into())]));
        argv.splice(1..1, ["--settings".to_owned(), settings.to_string()]);
        return;
    };
    let Some(given) = argv.get_mut(at) else { return };
    let prefix = if joined == Some(at) { "--settings=" } else { "" };
    let text = given[prefix.len()..].to_owned();
    let text = match text.trim_start().starts_with('{') {
        true => Some(text),
        false => read(Path::new(&text)),
    };
    let settings = text.and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).ok());
    if let Some(mut settings) = settings
        && !settings.contains_key(SKIP)
    {
        settings.insert(SKIP.to_owned(), true.into());
        *given = format!("{prefix}{}", Value::Object(settings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKIP: &str = r#"{"skipDangerousModePermissionPrompt":true}"#;

    fn answered(trust: Trust, argv: &[&str], env: &[(&str, &str)]) -> (Vec<String>, Env) {
        let mut argv = crate::harness::words(argv);
        let mut env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let folders = [PathBuf::from("/w/a \"b\""), PathBuf::from("/r")];
        let read = |path: &Path| (path == Path::new("mine.json")).then(|| r#"{ "model": "opus" }"#.to_owned());
        answer(trust, &mut argv, &mut env, &folders, &read);
        (argv, env)
    }

    #[test]
    fn the_warning_of_the_bypass_mode_is_answered_by_an_argument() {
        let (argv, env) = answered(
            Trust::Claude,
            &["claude", "--dangerously-skip-permissions", "--", "hi"],
            &[],
        );
        assert_eq!(
            argv,
            [
                "claude",
                "--settings",
                SKIP,
                "--dangerously-skip-permissions",
                "--",
                "hi"
            ]
        );
        assert!(env.is_empty());
        for asks_for_permission in [
            vec!["claude", "--permission-mode", "plan"],
            vec!["claude", "--", "--dangerously-skip-permissions"],
        ] {
            assert_eq!(
                answered(Trust::Claude, &asks_for_permission, &[]).0,
                asks_for_permission
            );
        }
    }

    #[test]
    fn settings_of_the_users_own_are_extended_and_their_word_stays() {
        let with = |settings: &[&str]| {
            let argv = [&["claude", "--permission-mode=bypassPermissions"], settings].concat();
            answered(Trust::Claude, &argv, &[]).0[2..].to_vec()
        };
        let both = r#"{"model":"opus","skipDangerousModePermissionPrompt":true}"#;
        assert_eq!(with(&["--settings", r#"{"model":"opus"}"#]), ["--settings", both]);
        assert_eq!(with(&["--settings", "mine.json"]), ["--settings", both]);
        assert_eq!(with(&["--settings=mine.json"]), [format!("--settings={both}")]);
        let no = r#"{"skipDangerousModePermissionPrompt":false}"#;
        for kept in [no, "missing.json", "{broken"] {
            assert_eq!(with(&["--settings", kept]), ["--settings", kept]);
        }
        assert_eq!(with(&["--settings"]), ["--settings"]);
    }

    #[test]
    fn codex_is_told_by_a_table_and_gemini_by_a_variable() {
        let (argv, _) = answered(Trust::Codex, &["codex", "--no-daemon"], &[]);
        let table = r#"projects={"/w/a \"b\""={trust_level="trusted"},"/r"={trust_level="trusted"}}"#;
        assert_eq!(argv, ["codex", "-c", table, "--no-daemon"]);
        let variable = |value: &str| vec![("GEMINI_CLI_TRUST_WORKSPACE".to_owned(), value.to_owned())];
        assert_eq!(answered(Trust::Gemini, &["gemini"], &[]).1, variable("true"));
        let own = [("GEMINI_CLI_TRUST_WORKSPACE", "false")];
        assert_eq!(answered(Trust::Gemini, &["gemini"], &own).1, variable("false"));
        assert_eq!(
            answered(Trust::Unasked, &["pi"], &[]),
            (crate::harness::words(&["pi"]), Vec::new())
        );
    }

    #[test]
    fn the_file_of_claude_code_is_where_its_variables_say() {
        let dir = tempfile::tempdir().expect("dir");
        let env = |name: &str, value: &Path| vec![(name.to_owned(), value.display().to_string())];
        let user = Path::new("/home/you");
        assert_eq!(claude_file(&Vec::new(), user), Path::new("/home/you/.claude.json"));
        assert_eq!(
            claude_file(&env("HOME", dir.path()), user),
            dir.path().join(".claude.json")
        );
        let config = env("CLAUDE_CONFIG_DIR", dir.path());
        assert_eq!(claude_file(&config, user), dir.path().join(".claude.json"));
        std::fs::write(dir.path().join(".config.json"), "{}").expect("written");
        assert_eq!(claude_file(&config, user), dir.path().join(".config.json"));
    }

    #[test]
    fn a_folder_that_is_a_link_is_answered_for_in_both_forms() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().canonicalize().expect("real");
        std::fs::create_dir(root.join("real")).expect("made");
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).expect("linked");
        let found = folders(&root.join("link/not/yet"), Some(&root.join("real")));
        assert_eq!(
            found,
            [root.join("link/not/yet"), root.join("real/not/yet"), root.join("real")]
        );
    }
}
