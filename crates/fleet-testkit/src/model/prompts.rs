//! Which text in the user's name a person has typed.
//!
//! Clients put much into user messages by themselves: reminders, the state of the machine, feedback of hooks, notes
//! about interruptions. None of it is a prompt, and all of it is marked by how it begins. What a person has typed
//! is kept to the byte.

/// Tags around text that a client adds beside a prompt, in a part of its own or in front of it.
const WRAPPERS: &[&str] = &["system-reminder"];

/// What Claude Code writes around a prompt that came while it was working, in a reminder or as a system message.
const WHILE_WORKING: (&str, &str) = (
    "The user sent a new message while you were working:\n",
    "\n\nIMPORTANT: After completing your current task",
);

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
    "<bash-input>",
    "<bash-stdout>",
    "This session is being continued from a previous conversation",
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
    "<state_snapshot>",
    "This is the Gemini CLI. We are setting up the context",
];

/// What a person has typed of this text; nothing when it is all the client's. Only a note can have several.
pub(crate) fn typed(text: &str) -> Vec<String> {
    let noted = sent_while_working(text);
    if !noted.is_empty() {
        return noted;
    }
    let bare = unwrapped(text);
    let begins = bare.trim_start();
    if begins.is_empty() || ASIDES.iter().any(|start| begins.starts_with(start)) {
        return Vec::new();
    }
    vec![bare.to_owned()]
}

/// The prompts in notes about what came while the client was working.
pub(crate) fn sent_while_working(text: &str) -> Vec<String> {
    let (before, after) = WHILE_WORKING;
    let text = text.trim_start();
    let opened = |tag: &&str| text.strip_prefix(&format!("<{tag}>"));
    let mut rest = WRAPPERS.iter().find_map(opened).unwrap_or(text).trim_start();
    let mut prompts = Vec::new();
    while let Some(note) = rest.strip_prefix(before)
        && let Some(end) = note.find(after)
    {
        prompts.push(note[..end].to_owned());
        let sentence = &note[end + after.len()..];
        rest = sentence.find('\n').map_or("", |end| sentence[end..].trim_start());
    }
    prompts
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
            assert_eq!(typed(text), [text]);
        }
    }

    #[test]
    fn reminders_beside_a_prompt_are_taken_off() {
        let reminder = "<system-reminder>\nA\n</system-reminder>";
        assert!(typed(reminder).is_empty());
        assert_eq!(typed(&format!("{reminder}\n\nhi \n")), ["hi \n"]);
        assert_eq!(typed(&format!("hi\n\n{reminder}\n{reminder}\n")), ["hi"]);
    }

    #[test]
    fn prompts_sent_while_working_are_found_in_their_notes() {
        let note = |prompt: &str| {
            format!(
                "The user sent a new message while you were working:\n{prompt}\n\nIMPORTANT: After completing your \
                 current task, you MUST address it."
            )
        };
        let (one, two) = ("say hi\n\nthere", "  two");
        assert_eq!(typed(&note(one)), [one]);
        let both = format!("{}\n\n{}", note(one), note(two));
        assert_eq!(typed(&both), [one, two]);
        assert_eq!(
            typed(&format!("<system-reminder>\n{both}\n</system-reminder>")),
            [one, two]
        );
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
            assert!(typed(text).is_empty(), "{text}");
        }
    }
}
