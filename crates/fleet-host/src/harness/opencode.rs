//! OpenCode. Flags as its `--help` documents them; screens as version 1.18 draws them.
//!
//! - It takes some seconds to come up, and what is typed before is gone: prompts wait for its box.
//! - Control and C clears a draft, and leaves the program where there is none: it is not pressed.
//! - The box's last line names the agent and the model; what is above it is the draft.

use fleet_core::agent::Reason;

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
        resume: words(&["--continue"]),
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
            empty: r"^[\s┃]*(Ask anything[^\n]*)?[\s┃]*$".to_owned(),
            folded: Some(r"\[Pasted [^\]]*\][\s┃]*$".to_owned()),
        }),
        shows_work_in_ms: 5000,
    }
}
