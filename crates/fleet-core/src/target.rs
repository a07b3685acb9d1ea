//! How a user names agents: a branch, `repo/branch`, an id, a glob.

use globset::GlobBuilder;

use crate::id::AgentId;
use crate::nearest::nearest;
use crate::{Error, Result};

/// What a target is matched against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The agent's id.
    pub id: AgentId,
    /// The repository's folder name.
    pub repo_name: String,
    /// The agent's branch or label.
    pub branch: String,
    /// Whether it belongs to the repository the caller stands in.
    pub here: bool,
}

/// Whether `target` is a pattern rather than a name.
pub fn is_glob(target: &str) -> bool {
    target.contains(['*', '?', '['])
}

/// The agents that `target` names, in the order of `candidates`.
///
/// An exact name is never taken for a glob. A plain branch means the current repository first, then all others; the exact name wins over an id and
/// over `repo/branch`. A name that fits agents of several repositories is an error that lists them. A glob may
/// fit many, in the current repository if it fits any there; `*` crosses `/`.
pub fn resolve(target: &str, candidates: &[Candidate]) -> Result<Vec<AgentId>> {
    let is_name = candidates.iter().any(|each| each.branch == target);
    if is_glob(target) && !is_name {
        return resolve_glob(target, candidates);
    }
    let exact: Vec<&Candidate> = candidates.iter().filter(|each| each.branch == target).collect();
    let here: Vec<&Candidate> = exact.iter().copied().filter(|each| each.here).collect();
    let by_id = || {
        candidates
            .iter()
            .filter(|each| each.id.as_str() == target)
            .collect::<Vec<_>>()
    };
    let qualified = || {
        candidates
            .iter()
            .filter(|each| full_name(each) == target)
            .collect::<Vec<_>>()
    };
    let found = [here, exact, by_id(), qualified()]
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default();
    match found.as_slice() {
        [] => Err(missing(target, candidates)),
        [one] => Ok(vec![one.id.clone()]),
        many => {
            let names: Vec<String> = many
                .iter()
                .map(|each| format!("{} ({})", full_name(each), each.id))
                .collect();
            Err(
                Error::usage(format!("`{target}` fits {} agents: {}", many.len(), names.join(", ")))
                    .hint(format!("name one by its id, such as `{}`", many[0].id)),
            )
        }
    }
}

fn resolve_glob(target: &str, candidates: &[Candidate]) -> Result<Vec<AgentId>> {
    let glob = GlobBuilder::new(target)
        .literal_separator(false)
        .build()
        .map_err(|error| {
            Error::usage(format!("`{target}` is no valid pattern: {}", error.kind()))
                .hint("quote a plain name, or use `*` and `?`")
        })?
        .compile_matcher();
    let matches = |each: &&Candidate| glob.is_match(&each.branch) || glob.is_match(full_name(each));
    let all: Vec<&Candidate> = candidates.iter().filter(matches).collect();
    let here: Vec<&Candidate> = all.iter().copied().filter(|each| each.here).collect();
    let found = if here.is_empty() { all } else { here };
    if found.is_empty() {
        return Err(missing(target, candidates));
    }
    Ok(found.into_iter().map(|each| each.id.clone()).collect())
}

fn full_name(candidate: &Candidate) -> String {
    format!("{}/{}", candidate.repo_name, candidate.branch)
}

fn missing(target: &str, candidates: &[Candidate]) -> Error {
    let error = Error::not_found(format!("no agent matches `{target}`"));
    let near = nearest(target, candidates.iter().map(|each| each.branch.as_str()), 3);
    if !near.is_empty() {
        return error.hint(format!(
            "did you mean {}?",
            near.iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(" or ")
        ));
    }
    if candidates.is_empty() {
        return error.hint("no agent runs: start one with `fleet create BRANCH --prompt TEXT`, or see the ended ones with `fleet list --all`");
    }
    error.hint("run `fleet list` to see the agents")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(n: u8, repo: &str, branch: &str, here: bool) -> Candidate {
        Candidate {
            id: AgentId::from_random(&[n; 10]),
            repo_name: repo.into(),
            branch: branch.into(),
            here,
        }
    }

    fn candidates() -> Vec<Candidate> {
        vec![
            candidate(1, "web", "fix", true),
            candidate(2, "api", "fix", false),
            candidate(3, "api", "web/fix", false),
            candidate(4, "lib", "only", false),
            candidate(5, "x", "both", false),
            candidate(6, "y", "both", false),
            candidate(7, "web", "auth-A1", true),
            candidate(8, "web", "auth-A2", true),
        ]
    }

    fn found(target: &str) -> Result<Vec<u8>> {
        let all = candidates();
        let index = |id: &AgentId| all.iter().position(|each| &each.id == id).expect("known") as u8 + 1;
        resolve(target, &all).map(|ids| ids.iter().map(index).collect())
    }

    #[test]
    fn the_current_repository_comes_first_and_exact_names_win() {
        assert_eq!(found("fix").expect("one"), [1]);
        assert_eq!(found("only").expect("one"), [4]);
        assert_eq!(found("web/fix").expect("the branch of that very name"), [3]);
        assert_eq!(found("api/fix").expect("qualified"), [2]);
        assert_eq!(found("2222222222").expect("an id"), [2]);
    }

    #[test]
    fn ambiguity_is_an_error_that_names_the_agents() {
        let error = found("both").expect_err("two");
        assert!(error.message.contains("x/both") && error.message.contains("y/both"));
    }

    #[test]
    fn a_label_that_looks_like_a_glob_is_a_name() {
        let all = [candidate(1, "web", "a[1]", true), candidate(2, "web", "a1", true)];
        assert_eq!(resolve("a[1]", &all).expect("the label"), [all[0].id.clone()]);
    }

    #[test]
    fn globs_match_many_and_nothing_names_the_nearest() {
        assert_eq!(found("auth-A*").expect("two"), [7, 8]);
        assert_eq!(
            found("auth-a1").expect_err("case counts").hint.expect("hint"),
            "did you mean `auth-A1` or `auth-A2`?"
        );
    }
}
