//! Which workers declare the same file.
//!
//! Comparing each pattern with each is a square of their number. Two patterns can only meet where the text before the
//! first wildcard of one begins that of the other, so they are sorted by that text, and each is compared with those
//! that it begins with: with the folders of a real plan, a handful.

use std::collections::BTreeSet;

use super::glob::{Pattern, Way};

/// Two patterns of different workers, each as (worker, pattern), that both match a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) earlier: (usize, usize),
    pub(super) later: (usize, usize),
    pub(super) path: String,
}

/// The comparison was given up: there are too many patterns that begin alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GivenUp;

/// How many partners are named for one pattern.
const PARTNERS: usize = 10;
/// Pairs that are looked at, and steps of all searches: some seconds of work.
const MOST_PAIRS: u64 = 2_000_000;
const MOST_STEPS: u64 = 5_000_000;

/// A way of a pattern, with its worker and its place in that worker's list.
struct Entry<'a> {
    way: &'a Way,
    worker: usize,
    pattern: usize,
}

/// Each pair of patterns of different workers that overlap, as far as [`PARTNERS`] goes, in the order of the workers.
///
/// `patterns` are those of each worker; one that could not be read is left out.
pub(super) fn overlaps(patterns: &[Vec<Option<Pattern>>]) -> (Vec<Overlap>, Result<(), GivenUp>) {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (worker, list) in patterns.iter().enumerate() {
        for (index, pattern) in list.iter().enumerate() {
            let ways = pattern.iter().flat_map(|pattern| &pattern.ways);
            entries.extend(ways.map(|way| Entry {
                way,
                worker,
                pattern: index,
            }));
        }
    }
    // Sorted so, those whose text begins with another's follow it without a gap.
    entries.sort_by(|a, b| (&a.way.literal, a.worker, a.pattern).cmp(&(&b.way.literal, b.worker, b.pattern)));
    let (mut pairs, mut steps) = (MOST_PAIRS, MOST_STEPS);
    let mut open: Vec<&Entry<'_>> = Vec::new();
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for entry in &entries {
        while open
            .last()
            .is_some_and(|top| !entry.way.literal.starts_with(&top.way.literal))
        {
            open.pop();
        }
        let mut partners = 0;
        for other in &open {
            pairs = pairs.saturating_sub(1);
            if pairs == 0 || steps == 0 {
                return (sorted(found), Err(GivenUp));
            }
            let (one, two) = ((entry.worker, entry.pattern), (other.worker, other.pattern));
            let (earlier, later) = (one.min(two), one.max(two));
            if entry.worker == other.worker || known.contains(&(earlier, later)) {
                continue;
            }
            let Some(path) = entry.way.common_path(other.way, &mut steps) else {
                continue;
            };
            known.insert((earlier, later));
            found.push(Overlap { earlier, later, path });
            partners += 1;
            if partners == PARTNERS {
                break;
            }
        }
        open.push(entry);
    }
    (sorted(found), Ok(()))
}

fn sorted(mut found: Vec<Overlap>) -> Vec<Overlap> {
    found.sort_by_key(|overlap| (overlap.later, overlap.earlier));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(workers: &[&[&str]]) -> (Vec<Overlap>, Result<(), GivenUp>) {
        let read = |list: &&[&str]| list.iter().map(|text| Pattern::new(text).ok()).collect();
        overlaps(&workers.iter().map(read).collect::<Vec<_>>())
    }

    #[test]
    fn each_pair_of_patterns_that_share_a_file_is_found() {
        let (found, _) = of(&[
            &["src/*.rs", "docs/**"],
            &["src/a.rs"],
            &["src/a.rs", "docs/x.md"],
            &["tests/"],
        ]);
        let pairs: Vec<_> = found
            .iter()
            .map(|overlap| (overlap.earlier, overlap.later, overlap.path.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ((0, 0), (1, 0), "src/a.rs"),
                ((0, 0), (2, 0), "src/a.rs"),
                ((1, 0), (2, 0), "src/a.rs"),
                ((0, 1), (2, 1), "docs/x.md"),
            ]
        );
    }

    #[test]
    fn patterns_of_one_worker_may_overlap() {
        assert_eq!(of(&[&["src/**", "src/a.rs"], &["docs"]]), (vec![], Ok(())));
    }

    #[test]
    fn many_workers_with_folders_of_their_own_are_compared_in_a_moment() {
        let lists: Vec<Vec<Option<Pattern>>> = (0..100_000)
            .map(|n| vec![Pattern::new(&format!("packages/p{n}/src/**/*.ts")).ok()])
            .collect();
        assert_eq!(overlaps(&lists), (vec![], Ok(())));
    }

    #[test]
    fn what_would_take_too_long_is_given_up_and_said() {
        let lists: Vec<Vec<Option<Pattern>>> = (0..2_100)
            .map(|n| vec![Pattern::new(&format!("**/f{n}.ts")).ok()])
            .collect();
        assert_eq!(overlaps(&lists), (vec![], Err(GivenUp)));
    }

    #[test]
    fn many_workers_with_the_same_files_are_found_without_comparing_all() {
        let lists: Vec<Vec<Option<Pattern>>> = (0..1_000).map(|_| vec![Pattern::new("src/**").ok()]).collect();
        let (found, whole) = overlaps(&lists);
        assert_eq!(whole, Ok(()));
        assert_eq!(found.len(), 10 * 1_000 - 55);
    }
}
