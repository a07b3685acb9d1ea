//! Which text in the user's name a person has typed.
//!
//! Clients put much into user messages by themselves: reminders, the state of the machine, feedback of hooks, notes
//! about interruptions. None of it is a prompt, and all of it is marked by how it begins. What a person has typed
//! is kept to the byte.

/// Tags around text that a client adds beside a prompt, in a part of its own or in front of it.
const WRAPPERS: &[&str] = &["system-reminder"];

/// How texts begin that no person typed.
const ASIDES: &[&str] = &[
    // Claude Code
    "Stop hook feedback:",
    "[Request interrupted by user",
    "[SUGGESTION MODE:",
    "<local-command-",
    "<command-name>",
    "<command-message>",
    "<task-notification>",
    "<user-memory-input>",
    // Codex
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md instructions",
    "<turn_aborted>",
    "<hook_prompt",
    "<subagent_notification>",
    "<skill>",
    // Gemini
    "<session_context>",
    "This is the Gemini CLI. We are setting up the context",
];

/// What a person has typed of this text, or none when it is all the client's.
pub(crate) fn typed(text: &str) -> Option<String> {
    let bare = unwrapped(text);
    let begins = bare.trim_start();
    let aside = begins.is_empty() || ASIDES.iter().any(|start| begins.starts_with(start));
    (!aside).then(|| bare.to_owned())
}

/// The text without whole wrapped blocks at its beginning and end, and the line ends between.
fn unwrapped(text: &str) -> &str {
    let mut bare = text;
    loop {
        let before = bare;
        for tag in WRAPPERS {
            let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
            if bare.trim_start().starts_with(&open)
                && let Some(end) = bare.find(&close)
            {
                bare = bare[end + close.len()..].trim_start_matches('\n');
            }
            if bare.trim_end().ends_with(&close)
                && let Some(start) = bare.rfind(&open)
            {
                bare = bare[..start].trim_end_matches('\n');
            }
        }
        if bare == before {
            return bare;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_kept_to_the_byte() {
        let lines: String = (1..=100).map(|n| format!("line {n} 🦀 漢字\n")).collect();
        for text in [
            "hi",
            "  indented\n\n",
            "-dash",
            "/slash",
            "C-c",
            "a <b> c",
            lines.as_str(),
        ] {
            assert_eq!(typed(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn reminders_beside_a_prompt_are_taken_off() {
        let reminder = "<system-reminder>\nA\n</system-reminder>";
        assert_eq!(typed(reminder), None);
        assert_eq!(typed(&format!("{reminder}\n\nhi \n")).as_deref(), Some("hi \n"));
        assert_eq!(typed(&format!("hi\n\n{reminder}\n{reminder}\n")).as_deref(), Some("hi"));
    }

    #[test]
    fn feedback_and_context_are_no_prompts() {
        for text in [
            "Stop hook feedback:\ngo on",
            "[Request interrupted by user]",
            "<environment_context>\n<cwd>/x</cwd>\n</environment_context>",
            "# AGENTS.md instructions for /x\n\nbe good",
            "<session_context>\nx\n</session_context>",
            "  \n",
            "",
        ] {
            assert_eq!(typed(text), None, "{text}");
        }
    }
}
