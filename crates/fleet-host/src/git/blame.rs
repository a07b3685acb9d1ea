//! Which commits the lines of a file are from, and what their trailers say.

use std::collections::HashMap;
use std::path::Path;

use fleet_core::name::word;
use fleet_core::{Error, Result, Time};

use super::{at, bare_call, failure, succeed};

/// The lines of a file that are from one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blamed {
    /// The commit; none for lines that are in no commit yet.
    pub commit: Option<String>,
    /// The first line of its message.
    pub summary: String,
    /// When it was committed, as it says.
    pub committed_at: Time,
    /// How many lines of the file are from it.
    pub lines: usize,
}

/// Where the lines of `file` are from, the commit with the most lines first. `file` is relative to `folder`, which is in
/// a checkout; without `revision`, the full id of a commit, the file is taken as it is on the
/// disk.
///
/// # Errors
/// `NotFound` when the file is on the disk and in no commit; `Failed` with git's own words when there is none.
pub fn blame(folder: &Path, revision: Option<&str>, file: &Path) -> Result<Vec<Blamed>> {
    let mut call = bare_call("git.blame", folder).args(["blame", "--porcelain"]);
    if let Some(revision) = revision {
        call = call.arg(revision);
    }
    let output = call.arg("--").arg(file).output()?;
    if !output.status.success() {
        let why = match revision.is_none() && folder.join(file).is_file() {
            true => why_unknown(folder, file)?,
            false => None,
        };
        return Err(why.unwrap_or_else(|| failure("tell where the lines are from", &output)));
    }
    let mut found: Vec<Blamed> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut now = 0;
    for line in output.stdout.split(|byte| *byte == b'\n') {
        if line.first() == Some(&b'\t') {
            if let Some(blamed) = found.get_mut(now) {
                blamed.lines += 1;
            }
            continue;
        }
        let line = String::from_utf8_lossy(line);
        let Some((word, rest)) = line.split_once(' ') else {
            continue;
        };
        if word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            now = *places.entry(word.to_owned()).or_insert_with(|| {
                found.push(Blamed {
                    commit: word.bytes().any(|byte| byte != b'0').then(|| word.to_owned()),
                    summary: String::new(),
                    committed_at: Time(0),
                    lines: 0,
                });
                found.len() - 1
            });
        } else if word == "committer-time" {
            found[now].committed_at = Time(rest.parse::<i64>().unwrap_or_default().saturating_mul(1000));
        } else if word == "summary" {
            found[now].summary = rest.to_owned();
        }
    }
    found.sort_by_key(|blamed| std::cmp::Reverse(blamed.lines));
    Ok(found)
}

/// Why nobody can tell where the lines of a file that is on the disk are from: it is in no commit; none where that is not
/// why.
fn why_unknown(folder: &Path, file: &Path) -> Result<Option<Error>> {
    let ask = |args: &[&str]| bare_call("git.is-committed", folder).args(args).output();
    let name = file.display().to_string();
    let path = word(&name);
    let tracked = ask(&["ls-files", "--error-unmatch", "--", &name])?.status.code();
    let ignored = || Ok::<bool, Error>(ask(&["check-ignore", "--quiet", "--", &name])?.status.success());
    let is_new = match tracked {
        Some(1) if ignored()? => {
            let error = Error::not_found(format!("{name} is in no commit: git ignores it"));
            return Ok(Some(
                error.hint(format!("see by which rule: `git check-ignore -v -- {path}`")),
            ));
        }
        Some(1) => true,
        // It was added, and nothing was ever committed.
        Some(0) => !ask(&["rev-parse", "--verify", "--quiet", "HEAD"])?.status.success(),
        _ => false,
    };
    let commit = format!(
        "git add -- {path} && git commit -m {} -- {path}",
        word(&format!("Add {name}"))
    );
    let error = Error::not_found(format!("{name} is in no commit yet"));
    Ok(is_new.then(|| error.hint(format!("commit it: `{commit}`"))))
}

/// The values of the trailer `key` of each commit that has any.
pub fn trailers(common: &Path, commits: &[String], key: &str) -> Result<HashMap<String, Vec<String>>> {
    if commits.is_empty() {
        return Ok(HashMap::new());
    }
    let format = format!("--format=%H %(trailers:key={key},valueonly=true,unfold=true,separator=%x2C)");
    let call = at("git.trailers", common)
        .args(["log", "--no-walk=unsorted", "--no-show-signature", "--stdin", &format])
        .stdin(commits.join("\n") + "\n");
    let text = succeed("read the messages of commits", call)?.text();
    let values = |text: &str| -> Vec<String> {
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        values.map(str::to_owned).collect()
    };
    let found = text.lines().filter_map(|line| line.split_once(' '));
    let found = found.map(|(commit, rest)| (commit.to_owned(), values(rest)));
    Ok(found.filter(|(_, values)| !values.is_empty()).collect())
}

/// The full id of each of `named` that is a commit of the repository. They have to be hexadecimal.
pub fn known_commits(common: &Path, named: &[&String]) -> Result<Vec<Option<String>>> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let question: String = named.iter().map(|name| format!("{name}^{{commit}}\n")).collect();
    let call = at("git.known-commits", common)
        .args(["cat-file", "--batch-check"])
        .stdin(question);
    let text = succeed("look up commits", call)?.text();
    let answer = |line: &str| {
        let (id, rest) = line.split_once(' ')?;
        rest.starts_with("commit ").then(|| id.to_owned())
    };
    let mut answers: Vec<Option<String>> = text.lines().map(answer).collect();
    answers.resize(named.len(), None);
    Ok(answers)
}
