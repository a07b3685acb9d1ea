//! Who waits for whom: cycles, and what is reached.

use std::collections::{BTreeMap, VecDeque};

/// For each worker, those it waits for.
pub(super) type Graph = [Vec<usize>];

/// One cycle, the shortest through its first worker, for each group of workers that wait for each other. The first
/// worker of a cycle is not repeated at its end.
pub(super) fn cycles(graph: &Graph) -> Vec<Vec<usize>> {
    let group_of = groups(graph);
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for (worker, group) in group_of.iter().enumerate() {
        first.entry(*group).or_insert(worker);
        *sizes.entry(*group).or_default() += 1;
    }
    let mut starts: Vec<usize> = first
        .iter()
        .filter(|(group, _)| sizes[group] > 1)
        .map(|(_, worker)| *worker)
        .collect();
    starts.sort_unstable();
    starts
        .into_iter()
        .filter_map(|start| cycle_through(graph, &group_of, start))
        .collect()
}

/// Everybody that `start` waits for, directly or through others.
pub(super) fn reached(graph: &Graph, start: usize) -> Vec<bool> {
    let mut seen = vec![false; graph.len()];
    let mut waiting = vec![start];
    while let Some(worker) = waiting.pop() {
        for &next in &graph[worker] {
            if !std::mem::replace(&mut seen[next], true) {
                waiting.push(next);
            }
        }
    }
    seen
}

/// The same graph with each edge turned round: for each worker, those that wait for it.
pub(super) fn reversed(graph: &Graph) -> Vec<Vec<usize>> {
    let mut reversed = vec![Vec::new(); graph.len()];
    for (worker, waits_for) in graph.iter().enumerate() {
        for &other in waits_for {
            reversed[other].push(worker);
        }
    }
    reversed
}

/// The shortest way from `start` back to it within its group.
fn cycle_through(graph: &Graph, group_of: &[usize], start: usize) -> Option<Vec<usize>> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(worker) = waiting.pop_front() {
        for &next in graph[worker].iter().filter(|next| group_of[**next] == group_of[start]) {
            if next == start {
                let mut cycle = vec![worker];
                while let Some(&earlier) = cycle.last().and_then(|last| before.get(last)) {
                    cycle.push(earlier);
                }
                cycle.reverse();
                return Some(cycle);
            }
            before.entry(next).or_insert_with(|| {
                waiting.push_back(next);
                worker
            });
        }
    }
    None
}

/// The group of each worker, as a number: two are in one group if each reaches the other.
///
/// Tarjan's algorithm with a stack of its own: a chain of 100,000 workers must not use up the thread's.
fn groups(graph: &Graph) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let count = graph.len();
    let (mut order, mut low, mut group) = (vec![NONE; count], vec![0; count], vec![NONE; count]);
    let (mut open, mut clock) = (Vec::new(), 0);
    for root in 0..count {
        if order[root] != NONE {
            continue;
        }
        // Each worker under way, with how many of its dependencies were looked at.
        let mut under_way = vec![(root, 0)];
        while let Some((worker, looked_at)) = under_way.pop() {
            if looked_at == 0 {
                (order[worker], low[worker]) = (clock, clock);
                clock += 1;
                open.push(worker);
            } else {
                // Back from the dependency before.
                let from = graph[worker][looked_at - 1];
                if group[from] == NONE {
                    low[worker] = low[worker].min(low[from]);
                }
            }
            if let Some(&next) = graph[worker].get(looked_at) {
                under_way.push((worker, looked_at + 1));
                if order[next] == NONE {
                    under_way.push((next, 0));
                }
                continue;
            }
            if low[worker] == order[worker] {
                while let Some(member) = open.pop() {
                    group[member] = worker;
                    if member == worker {
                        break;
                    }
                }
            }
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cycle_is_named_once_and_as_short_as_it_is() {
        for (graph, wanted) in [
            (vec![], vec![]),
            (vec![vec![1], vec![2], vec![]], vec![]),
            (vec![vec![1], vec![0]], vec![vec![0, 1]]),
            (vec![vec![1], vec![2], vec![3, 0], vec![0]], vec![vec![0, 1, 2]]),
            (
                vec![vec![2], vec![0], vec![1], vec![4], vec![3]],
                vec![vec![0, 2, 1], vec![3, 4]],
            ),
            (vec![vec![1], vec![2], vec![1]], vec![vec![1, 2]]),
        ] {
            assert_eq!(cycles(&graph), wanted, "{graph:?}");
        }
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let last = 100_000;
        let mut graph: Vec<Vec<usize>> = (0..last).map(|worker| vec![worker + 1]).collect();
        graph.push(vec![]);
        assert_eq!(cycles(&graph), Vec::<Vec<usize>>::new());
        graph[last].push(0);
        assert_eq!(cycles(&graph)[0].len(), last + 1);
    }

    proptest! {
        #[test]
        fn there_is_a_cycle_exactly_where_somebody_reaches_itself(edges in prop::collection::vec((0..7usize, 0..7usize), 0..14)) {
            let mut graph = vec![Vec::new(); 7];
            for (from, to) in edges.into_iter().filter(|(from, to)| from != to) {
                graph[from].push(to);
            }
            let cycles = cycles(&graph);
            let circular = (0..7).any(|worker| reached(&graph, worker)[worker]);
            prop_assert_eq!(circular, !cycles.is_empty());
            for cycle in cycles {
                for (index, worker) in cycle.iter().enumerate() {
                    prop_assert!(graph[*worker].contains(&cycle[(index + 1) % cycle.len()]));
                }
            }
        }
    }
}
