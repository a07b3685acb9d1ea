//! Merging without a repository: in which order branches go in, which of their files nobody declared, and which of
//! them breaks a check.

use std::collections::BTreeSet;

use crate::plan::glob::Pattern;

/// What the order of one branch depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its name, which decides where nothing else does.
    pub name: String,
    /// The places of the candidates that go in before it.
    pub after: Vec<usize>,
    /// With how many others it is in conflict.
    pub conflicts: usize,
    /// Lines that it adds and removes.
    pub lines: u64,
}

/// The order to merge `candidates` in, as their places: what others wait for first, then what is in conflict with the
/// fewest, then the smallest, then by name. A circle of waiting is broken where it would stop everything.
pub fn order(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(candidates.len());
    let mut left: BTreeSet<(usize, u64, &str, usize)> = candidates
        .iter()
        .enumerate()
        .map(|(place, each)| (each.conflicts, each.lines, each.name.as_str(), place))
        .collect();
    let mut done = vec![false; candidates.len()];
    while let Some(first) = left.first().copied() {
        let may_go = |place: usize| {
            candidates[place]
                .after
                .iter()
                .all(|before| done[*before] || *before == place)
        };
        let next = left.iter().copied().find(|key| may_go(key.3)).unwrap_or(first);
        left.remove(&next);
        done[next.3] = true;
        order.push(next.3);
    }
    order
}

/// Those of `changed` that no pattern of `declared` means. Where nothing was declared, nothing is undeclared; a
/// pattern that cannot be read means nothing.
pub fn undeclared<'a>(changed: impl IntoIterator<Item = &'a str>, declared: &[String]) -> Vec<String> {
    if declared.is_empty() {
        return Vec::new();
    }
    let patterns: Vec<Pattern> = declared.iter().filter_map(|text| Pattern::new(text).ok()).collect();
    let is_declared = |path: &str| patterns.iter().any(|pattern| pattern.matches(path));
    changed
        .into_iter()
        .filter(|path| !is_declared(path))
        .map(str::to_owned)
        .collect()
}

/// Whether two changed paths can be in each other's way: they are one, or one is where the other needs a folder.
pub fn in_the_way(a: &str, b: &str) -> bool {
    let below = |folder: &str, path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    a == b || below(a, b) || below(b, a)
}

/// Which of `count` steps is the first that breaks something, by asking about as few results as can be.
///
/// `holds(n)` tells of the result of the first n steps. It is known to hold for 0 and not for `count`, and is not
/// asked for those.
pub fn first_breaking<E>(count: usize, mut holds: impl FnMut(usize) -> Result<bool, E>) -> Result<usize, E> {
    let (mut good, mut bad) = (0, count);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match holds(middle)? {
            true => good = middle,
            false => bad = middle,
        }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(name: &str, after: &[usize], conflicts: usize, lines: u64) -> Candidate {
        Candidate {
            name: name.to_owned(),
            after: after.to_vec(),
            conflicts,
            lines,
        }
    }

    fn names(candidates: &[Candidate]) -> Vec<&str> {
        let order = order(candidates);
        order.into_iter().map(|place| candidates[place].name.as_str()).collect()
    }

    #[test]
    fn what_others_wait_for_goes_first_then_the_fewest_conflicts_the_smallest_and_the_name() {
        let all = [
            candidate("waits", &[1], 0, 1),
            candidate("awaited", &[], 9, 900),
            candidate("large", &[], 0, 50),
            candidate("b", &[], 0, 5),
            candidate("a", &[], 0, 5),
            candidate("quarrels", &[], 1, 1),
        ];
        assert_eq!(names(&all), ["a", "b", "large", "quarrels", "awaited", "waits"]);
    }

    #[test]
    fn a_circle_of_waiting_stops_nothing() {
        let all = [
            candidate("a", &[1], 0, 1),
            candidate("b", &[0], 0, 0),
            candidate("c", &[2], 1, 0),
        ];
        assert_eq!(names(&all), ["c", "b", "a"]);
    }

    #[test]
    fn a_file_that_no_pattern_means_is_undeclared() {
        let changed = ["src/auth/login.rs", "src/main.rs", "Cargo.lock"];
        let declared = ["src/auth".to_owned(), "*.toml".to_owned(), "../x".to_owned()];
        assert_eq!(undeclared(changed, &declared), ["src/main.rs", "Cargo.lock"]);
        assert!(undeclared(changed, &[]).is_empty());
    }

    #[test]
    fn a_file_is_in_the_way_of_a_folder_of_its_name() {
        assert!(in_the_way("a/b", "a/b") && in_the_way("a", "a/b") && in_the_way("a/b/c", "a"));
        assert!(!in_the_way("a", "ab") && !in_the_way("a/b", "a/c"));
    }

    proptest! {
        #[test]
        fn the_first_step_that_breaks_is_found_with_few_questions(count in 1_usize..200, at in 0_usize..200) {
            let at = at % count;
            let mut asked = 0;
            let found = first_breaking(count, |first| {
                asked += 1;
                Ok::<bool, ()>(first <= at)
            });
            prop_assert_eq!(found, Ok(at));
            prop_assert!(asked <= count.ilog2() + 1);
        }
    }
}
