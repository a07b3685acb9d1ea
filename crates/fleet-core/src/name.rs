//! Names: which branches git takes, and how branches become session names, folders and batch ids.

use crate::{Error, Result, Time};

/// Refuses what is no valid name of a local branch, by the rules of git-check-ref-format(1) and those of
/// `git branch` (no leading dash, not `HEAD`).
pub fn check_branch(branch: &str) -> Result<()> {
    let Some(why) = branch_fault(branch) else {
        return Ok(());
    };
    let error = Error::usage(format!("`{branch}` is no valid branch name: {why}"));
    Err(error.hint(branch_hint(branch)))
}

/// What is wrong with the name of a branch.
pub fn branch_fault(branch: &str) -> Option<&'static str> {
    let why = if branch.is_empty() {
        "it is empty"
    } else if branch.starts_with('-') {
        "it starts with a dash"
    } else if branch == "HEAD" || branch == "@" {
        "git keeps that name for itself"
    } else if branch.len() > 200 {
        "it is longer than 200 bytes"
    } else if branch.contains("..") {
        "it contains `..`"
    } else if branch.contains("@{") {
        "it contains `@{`"
    } else if branch.chars().any(|c| c.is_ascii_control() || " ~^:?*[\\".contains(c)) {
        "it contains a space, a control character or one of ~ ^ : ? * [ \\"
    } else if branch.ends_with('/') || branch.ends_with('.') {
        "it ends with a slash or a dot"
    } else if branch
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"))
    {
        "a part of it is empty, starts with a dot or ends with `.lock`"
    } else {
        return None;
    };
    Some(why)
}

/// What to call a branch whose name is not valid.
pub fn branch_hint(branch: &str) -> String {
    match suggestion(branch) {
        Some(name) => format!("use `{name}`"),
        None => "use letters, digits, `-`, `_`, `.` and `/`, such as `fix-42`".to_owned(),
    }
}

fn suggestion(branch: &str) -> Option<String> {
    let plain: String = branch
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_/".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let mut joined = String::new();
    for c in plain.trim_matches(['-', '/']).chars() {
        if !(c == '-' && joined.ends_with('-')) {
            joined.push(c);
        }
    }
    (!joined.is_empty() && joined != branch && check_branch(&joined).is_ok()).then_some(joined)
}

/// `branch` with every character that tmux, a shell or a file system could trip over replaced by `-`.
///
/// A leading dot becomes `-` too: no workspace is hidden, and none is `.` or `..`.
pub fn safe(branch: &str) -> String {
    let name: String = branch
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(120)
        .collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("-{rest}"),
        None => name,
    }
}

/// `text` as one word of a shell's command line: quoted only where it has to be.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./@%+=:,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// The session name of `branch`: `<prefix><branch>`, where tmux allows neither `.` nor `:`.
pub fn session(prefix: &str, branch: &str) -> String {
    safe(&format!("{prefix}{branch}")).replace('.', "-")
}

/// `manual-2026-11-21`, the batch of agents made one by one.
pub fn manual_batch(now: Time) -> String {
    format!("manual-{}", now.date())
}

/// The branches of a fan-out of `count`: `<prefix>-A1` to `<prefix>-A<count>`.
pub fn fanout(prefix: &str, count: u16) -> Vec<String> {
    (1..=count).map(|index| format!("{prefix}-A{index}")).collect()
}

/// One line about `count` things: `1 agent`, `2 agents`, `3 branches`.
pub fn plural(count: usize, one: &str) -> String {
    match (count, one) {
        (1, _) => format!("1 {one}"),
        (_, "process") => format!("{count} processes"),
        (_, "branch") => format!("{count} branches"),
        (_, "directory") => format!("{count} directories"),
        _ => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_judged_as_git_judges_them() {
        for good in ["fix-42", "feature/x", "v1.2", "a@b", "ünïcode", "x/y.z"] {
            assert!(check_branch(good).is_ok(), "{good}");
        }
        for bad in [
            "", "-x", "a..b", "a b", "x.lock", "a//b", "/a", "a/", ".a", "a/.b", "HEAD", "@", "a@{b", "a\\b", "a.",
        ] {
            assert!(check_branch(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_branch_gets_a_valid_suggestion() {
        let hint = |name: &str| check_branch(name).expect_err("bad").hint.expect("hint");
        assert_eq!(hint("a..b"), "use `a-b`");
        assert_eq!(hint("-x"), "use `x`");
        assert_eq!(hint("fix the login"), "use `fix-the-login`");
    }

    #[test]
    fn a_name_in_a_command_to_paste_is_one_word() {
        for plain in ["fix-42", "feature/x", "ünïcode", "v1.2"] {
            assert_eq!(word(plain), plain);
        }
        assert_eq!(word("my docs"), "'my docs'");
        assert_eq!(word("a$(id)"), "'a$(id)'");
        assert_eq!(word("it's"), r"'it'\''s'");
    }

    #[test]
    fn sessions_and_folders_are_safe() {
        assert_eq!(session("ai_", "feature/x"), "ai_feature-x");
        assert_eq!(session("ai_", "v1.2"), "ai_v1-2");
        assert_eq!(safe("feature/x y:z"), "feature-x-y-z");
        assert_eq!(safe("../x"), "-.-x");
    }
}
