//! The same for many things at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The number of processors this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// A thread for every `share` items, and no more than there are processors: for work that is over sooner than a
/// thread is started, some 50 µs.
pub fn shares(items: usize, share: usize) -> usize {
    items.div_ceil(share).min(cores())
}

/// What `each` makes of every one of `items`, in their order, with at most that many `threads`. They take turns, so
/// that a slow item holds up nobody.
pub fn map<T: Send, R: Send>(items: Vec<T>, threads: usize, each: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.into_iter().map(each).collect();
    }
    let next = AtomicUsize::new(0);
    let slots: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = slots.get(index) else { return done };
            let item = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            done.extend(item.map(|item| (index, each(item))));
        }
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_results_are_in_the_order_of_the_items() {
        for threads in [0, 1, 2, 10_000] {
            let doubled = map((0..1000).collect(), threads, |number: u32| number * 2);
            assert_eq!(doubled, (0..1000).map(|number| number * 2).collect::<Vec<_>>());
        }
        assert_eq!(map(Vec::<u32>::new(), 4, |number| number), [0; 0]);
    }

    #[test]
    fn one_thread_is_this_one() {
        let threads: HashSet<_> = map(vec![(); 40], 1, |()| thread::current().id()).into_iter().collect();
        assert_eq!(threads, HashSet::from([thread::current().id()]));
    }

    #[test]
    fn items_that_wait_for_each_other_have_a_thread_each() {
        let barrier = std::sync::Barrier::new(8);
        let met = map(vec![(); 8], 8, |()| barrier.wait().is_leader());
        assert_eq!(met.iter().filter(|leader| **leader).count(), 1);
    }
}
