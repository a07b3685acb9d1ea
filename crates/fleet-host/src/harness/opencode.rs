//! OpenCode. Flags as its `--help` documents them; screens as version 1.18 draws them.
//!
//! - It takes some seconds to come up, and what is typed before is gone: prompts wait for its box.
//! - Control and C clears a draft, and leaves the program where there is none: it is not pressed.
//! - All worktrees of a repository are one project to it: `--continue` goes on with the newest conversation of any of
//!   them, which may be another agent's. So it is asked which ones it has, and where they were had.
//! - The box's last line names the agent and the model; what is above it is the draft. A wide terminal has a column beside
//!   it, where a long path of the worktree stands on the rows of the box.
//! - It tells of itself by a plugin of ours, in a layer of settings that adds to the user's. With a plugin it waits at its
//!   start until it has installed a package into each of its folders of settings; without a network that is over a
//!   minute. So ours comes only where that is done already.

use std::path::{Path, PathBuf};

use fleet_core::agent::Reason;
use fleet_core::usage::{Basis, Tokens, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::heard::Heard;
use super::reporting::{Reporting, Surroundings};
use super::sign::{Draft, Place, Rule, Sign, Signs};
use super::trust::Trust;
use super::{ESCAPE, Harness, PromptBy, words};

pub(super) fn harness() -> Harness {
    Harness {
        name: "opencode".to_owned(),
        command: words(&["opencode"]),
        prompt: PromptBy::Paste,
        model: words(&["--model", "{model}"]),
        conversation: Vec::new(),
        resume: words(&["--session", "{id}"]),
        resume_last: Vec::new(),
        conversations: words(&["session", "list", "--format", "json"]),
        dashes: false,
        signs: signs(),
        interrupt: ESCAPE.to_owned(),
        clear: String::new(),
        env: Vec::new(),
        install: Some("npm install -g opencode-ai".to_owned()),
        trust: Trust::Unasked,
        tested: "1.18.33",
        limits: &["its shell tool may write outside of the worktree without a question"],
    }
}

fn signs() -> Signs {
    let asks = Sign::Asks;
    Signs {
        rules: vec![
            Rule::new(
                "permission",
                asks(Reason::Permission),
                Place::Bottom(14),
                r"Permission required|Allow once",
            ),
            Rule::new(
                "question",
                asks(Reason::Question),
                Place::Bottom(14),
                r"enter (submit|confirm|select)[^\n]*esc dismiss",
            ),
            // Beside a long message the hint is cut into pieces; the dots before it are always whole.
            Rule::new("dots of work", Sign::Works, Place::Bottom(6), r"[⬝■]{8}"),
            Rule::new(
                "esc interrupt",
                Sign::Works,
                Place::Bottom(6),
                r"esc (again to )?interrupt",
            ),
            Rule::new(
                "not logged in",
                asks(Reason::Login),
                Place::Bottom(14),
                r"┃ [^\n]*(API key|[Uu]nauthorized|401)[^\n]*(\n *┃[^\n]*)?\n *┃\s*\n *▣ [^▣]*$",
            ),
            Rule::new("box", Sign::Prompt, Place::Bottom(40), r"┃[^\n]* · [^\n]*\n *╹▀{10,}"),
        ],
        draft: Some(Draft {
            region: Some(r"((?: *┃[^\n]*\n)+) *┃[^\n]* · [^\n]*\n *╹▀{10,}".to_owned()),
            edge: Some("╹▀{10,}".to_owned()),
            empty: r"^[\s┃]*(Ask anything[^\n]*)?[\s┃]*$".to_owned(),
            folded: Some(r"\[Pasted [^\]]*\][\s┃]*$".to_owned()),
        }),
        shows_work_in_ms: 5000,
    }
}

const PLUGIN: &str = include_str!("opencode/plugin.js");
/// The plugin's file in the agent's folder.
const FILE: &str = "fleet-opencode.js";
/// The last layer of settings, as JSON. Lists of plugins add up; everything else in it would go before the user's.
const LAYER: &str = "OPENCODE_CONFIG_CONTENT";
/// What it installs into each folder of settings.
const PACKAGE: &str = "@opencode-ai/plugin";

pub(super) fn reporting(surroundings: &Surroundings<'_>) -> Reporting {
    let not = |why: String| Reporting {
        notes: vec![format!("opencode: nothing but its screen tells of it, because {why}")],
        ..Reporting::default()
    };
    if (surroundings.var)(LAYER).is_some_and(|layer| !is_ours(&layer)) {
        return not(format!("{LAYER} is set"));
    }
    if let Some(folder) = folders(surroundings)
        .iter()
        .find(|folder| !is_settled(folder, surroundings))
    {
        return not(format!("it has not installed {PACKAGE} in {} yet", folder.display()));
    }
    let path = surroundings.folder.join(FILE);
    Reporting {
        env: vec![(LAYER.to_owned(), json!({ "plugin": [path] }).to_string())],
        files: vec![(path, PLUGIN.to_owned())],
        ..Reporting::default()
    }
}

/// Whether the layer is fleet's: of the agent that starts this one.
fn is_ours(layer: &str) -> bool {
    let layer: Value = serde_json::from_str(layer).unwrap_or_default();
    let plugin = layer["plugin"][0].as_str().map(Path::new);
    plugin.is_some_and(|path| path.ends_with(FILE)) && layer == json!({ "plugin": [plugin] })
}

/// The folders from which it reads settings.
fn folders(surroundings: &Surroundings<'_>) -> Vec<PathBuf> {
    let Surroundings { home, cwd, exists, .. } = *surroundings;
    let var = |name| {
        (surroundings.var)(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let config = var("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    let top = cwd
        .ancestors()
        .find(|folder| exists(&folder.join(".git")))
        .unwrap_or(cwd);
    let project = cwd.ancestors().take_while(|folder| folder.starts_with(top));
    let local = project.chain([home]).map(|folder| folder.join(".opencode"));
    let local = local.filter(|folder| exists(folder));
    [config.join("opencode")]
        .into_iter()
        .chain(local)
        .chain(var("OPENCODE_CONFIG_DIR"))
        .collect()
}

/// Whether there is nothing left to install in `folder`.
fn is_settled(folder: &Path, surroundings: &Surroundings<'_>) -> bool {
    let lock = (surroundings.read)(&folder.join("package-lock.json")).unwrap_or_default();
    let lock: Value = serde_json::from_str(&lock).unwrap_or_default();
    (surroundings.exists)(&folder.join("node_modules")) && lock["packages"][""]["dependencies"].get(PACKAGE).is_some()
}

pub(super) fn heard(event: &Value) -> Vec<Heard> {
    let said = |name: &str| event[name].as_str().map(str::to_owned);
    let conversation = said("id").map(|id| Heard::Conversation { id });
    let heard = match event["type"].as_str() {
        Some("chat.message") => Some(Heard::TurnBegan {
            text: said("text"),
            by: "plugin chat.message",
        }),
        Some("session.idle") => Some(Heard::TurnEnded),
        Some("reply") => used(event).map(match event["child"] == true {
            true => Heard::UsedBelow,
            false => Heard::Used,
        }),
        Some("retry") => broke_off(event["message"].as_str().unwrap_or_default()).then_some(Heard::BrokeOff),
        Some("title") => Some(Heard::Untold),
        Some("permission.asked") => Some(Heard::Asked {
            reason: Reason::Permission,
            by: "plugin permission.asked",
        }),
        Some("question.asked") => Some(Heard::Asked {
            reason: Reason::Question,
            by: "plugin question.asked",
        }),
        Some("permission.replied") => Some(Heard::Answered {
            by: "plugin permission.replied",
        }),
        Some("question.replied" | "question.rejected") => Some(Heard::Answered {
            by: "plugin question.replied",
        }),
        _ => None,
    };
    conversation.into_iter().chain(heard).collect()
}

/// Whether it tries again because a reply did not come to its end. After a refusal it gives the words of the service.
fn broke_off(message: &str) -> bool {
    const WORDS: [&str; 5] = ["connect", "socket", "econn", "terminated", "timed out"];
    let message = message.to_lowercase();
    WORDS.iter().any(|word| message.contains(word))
}

/// What one reply used. The numbers are disjoint, the thinking is beside the output; a reply that was interrupted has
/// none.
fn used(event: &Value) -> Option<Usage> {
    let count = |path: &str| event["tokens"].pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let reasoning = count("/reasoning");
    let tokens = Tokens {
        input: count("/input"),
        cached: count("/cache/read"),
        cache_write: count("/cache/write"),
        output: count("/output").saturating_add(reasoning),
        reasoning,
    };
    (tokens != Tokens::default()).then(|| Usage {
        model: event["model"].as_str().map(str::to_owned),
        tokens,
        cost_usd: event["cost"].as_f64(),
        source: "message.tokens".to_owned(),
        basis: Basis::Reported,
    })
}
/// One of the conversations that it lists.
#[derive(Debug, Deserialize)]
struct Conversation {
    id: String,
    directory: PathBuf,
    /// Milliseconds since 1970.
    updated: u64,
}

pub(super) fn newest_conversation(listed: &str, folder: &Path) -> serde_json::Result<Option<String>> {
    // Without any it prints nothing.
    if listed.trim().is_empty() {
        return Ok(None);
    }
    let all: Vec<Conversation> = serde_json::from_str(listed)?;
    let here = all.into_iter().filter(|each| each.directory == folder);
    Ok(here.max_by_key(|each| each.updated).map(|newest| newest.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_conversation_is_one_of_the_folder_itself() {
        let each = |id: &str, updated: u64, directory: &str| {
            format!(
                r#"{{"id":"{id}","title":"t","updated":{updated},"created":1,"projectId":"p","directory":"{directory}"}}"#
            )
        };
        let all = [each("a", 9, "/w/other"), each("b", 3, "/w/one"), each("c", 5, "/w/one")];
        let listed = format!("[{}]", all.join(","));
        let newest = |listed: &str, folder: &str| newest_conversation(listed, Path::new(folder)).expect("a list");
        assert_eq!(newest(&listed, "/w/one").as_deref(), Some("c"));
        assert_eq!(newest(&listed, "/w"), None);
        assert_eq!(newest("", "/w/one"), None);
        assert!(newest_conversation("none", Path::new("/w")).is_err());
    }
}
