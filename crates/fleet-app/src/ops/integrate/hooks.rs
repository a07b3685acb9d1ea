//! The hook in Claude Code's settings.json, which is the user's file: only fleet's own entries are added and removed, and
//! every other byte stays.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleet_core::Result;
use fleet_core::task::skill::{EVENTS, HOOK};
use fleet_host::files;
use fleet_host::harness::trust::json_text;
use serde_json::{Value, json};

use super::{Claude, File, Outcome};

/// Seconds after which Claude Code gives up on the hook.
const TIMEOUT: u32 = 30;

impl Claude {
    /// Adds the hook to the settings beside the folder of skills, or with `--remove` takes it out.
    pub(super) fn hooks(&self, skills: &Path) -> Result<File> {
        let path = skills.with_file_name("settings.json");
        // A link leads to where the user keeps them.
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let done = |outcome, note| File {
            path: path.clone(),
            outcome,
            note,
        };
        let kept = |why: String| Ok(done(Outcome::Kept, Some(why)));
        let before = match fs::read(&real) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Some(text),
                Err(_) => return kept("it is not valid UTF-8".to_owned()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(files::io_error("read", &real, &error)),
        };
        let text = before
            .as_deref()
            .filter(|text| !text.trim().is_empty())
            .unwrap_or("{}\n");
        let changed = match self.remove {
            true => without(text),
            false => with(text, &self.command(skills)),
        };
        let after = match changed {
            Ok(after) => after,
            Err(why) => return kept(format!("it {why}")),
        };
        let after = match (&before, json_text::parse(&after)) {
            (None, Ok(value)) => format!("{value:#}\n"),
            _ => after,
        };
        let outcome = match (&before, after == text) {
            (_, true) if self.remove => Outcome::Absent,
            (Some(_), true) => Outcome::Current,
            _ if self.remove => Outcome::Removed,
            (None, _) => Outcome::Written,
            (Some(_), false) => Outcome::Extended,
        };
        if !self.dry_run && after != text {
            if json_text::parse(&after).is_ok_and(|value| value == json!({})) {
                files::remove_file("integrate.unset-hooks", &real)?;
            } else {
                let mode = fs::metadata(&real).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
                files::create_private_dir("integrate.settings-folder", real.parent().unwrap_or(&real))?;
                files::write_atomic("integrate.hooks", &real, after.as_bytes(), mode)?;
            }
        }
        Ok(done(outcome, None))
    }

    /// The line that Claude Code runs. In a repository it is the same in every checkout.
    fn command(&self, skills: &Path) -> String {
        match self.project {
            true => format!("\"$CLAUDE_PROJECT_DIR\"/.claude/skills/{HOOK}"),
            false => quoted(&skills.join(HOOK)),
        }
    }
}

/// A path as one word of a shell line.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// Whether a group of hooks is fleet's: it has one hook, and that is the script.
fn is_ours(group: &Value) -> bool {
    let ends = |hook: &Value| {
        let command = hook["command"].as_str().unwrap_or_default();
        command.trim_end_matches('\'').ends_with(HOOK)
    };
    group["hooks"]
        .as_array()
        .is_some_and(|hooks| hooks.len() == 1 && hooks.iter().all(ends))
}

fn with(text: &str, command: &str) -> std::result::Result<String, json_text::Unfit> {
    let mut text = text.to_owned();
    for (event, matcher) in EVENTS {
        let hook = json!({"type": "command", "command": command, "timeout": TIMEOUT});
        let group = match matcher {
            "" => json!({"hooks": [hook]}),
            _ => json!({"matcher": matcher, "hooks": [hook]}),
        };
        let path = ["hooks", event];
        let present = json_text::parse(&text)?["hooks"][event]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if present.contains(&group) {
            continue;
        }
        if present.iter().any(is_ours) {
            text = json_text::pull(&text, &path, is_ours, path.len())?;
        }
        text = json_text::push(&text, &path, &group)?.0;
    }
    Ok(text)
}

fn without(text: &str) -> std::result::Result<String, json_text::Unfit> {
    let mut text = text.to_owned();
    for (event, _) in EVENTS {
        let value = json_text::parse(&text)?;
        if value["hooks"][event]
            .as_array()
            .is_some_and(|groups| groups.iter().any(is_ours))
        {
            text = json_text::pull(&text, &["hooks", event], is_ours, 0)?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: &str = "'/home/u/.claude/skills/fleet/hooks/report-persister.sh'";

    #[test]
    fn what_is_added_and_taken_out_again_leaves_every_byte_of_the_user() {
        for own in [
            "{}",
            "{\n  \"model\": \"opus\",\n  \"permissions\": {\"deny\": []}\n}\n",
            r#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"mine"}]}]}}"#,
            r#"{"hooks":{"Notification":[]}, "x": 1.50}"#,
        ] {
            let added = with(own, COMMAND).expect("added");
            assert_eq!(with(&added, COMMAND).as_deref(), Ok(added.as_str()), "once");
            let value = json_text::parse(&added).expect("JSON");
            for (event, _) in EVENTS {
                let groups = value["hooks"][event].as_array().expect("groups");
                assert_eq!(groups.iter().filter(|group| is_ours(group)).count(), 1, "{added}");
            }
            assert_eq!(without(&added).as_deref(), Ok(own));
        }
    }

    #[test]
    fn an_older_line_of_ours_is_replaced_and_a_hook_of_the_user_is_none_of_ours() {
        let older = with("{}", "'/old/fleet/hooks/report-persister.sh'").expect("added");
        let newer = with(&older, COMMAND).expect("added");
        assert!(!newer.contains("/old/") && newer.contains("/home/u/"), "{newer}");
        assert!(!is_ours(&json!({"hooks": [{"command": "mine.sh"}]})));
        assert!(with("[]", COMMAND).is_err() && with("no JSON", COMMAND).is_err());
    }

    #[test]
    fn a_path_is_one_word_of_the_line_whatever_is_in_it() {
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
