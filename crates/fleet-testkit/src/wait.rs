//! Waiting for what has no event to wait on.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Asks `check` every 5 ms until it answers, and panics with `what` when `deadline` has passed.
#[track_caller]
pub fn wait_until<T>(deadline: Duration, what: &str, check: impl FnMut() -> Option<T>) -> T {
    match poll_until(deadline, check) {
        Some(found) => found,
        None => panic!("waited {deadline:?} in vain: {what}"),
    }
}

/// The same, answering none at the deadline.
///
/// This is the one place in the tests that may sleep: files, locks and processes of others announce nothing that
/// a test could block on, and a bounded poll with a reason beats a guessed pause everywhere else.
pub fn poll_until<T>(deadline: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = check();
        if found.is_some() || start.elapsed() >= deadline {
            return found;
        }
        thread::sleep(STEP);
    }
}

/// Lets time pass, for tests whose very subject is a moment in time (a kill at a random one).
pub fn pause(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_ends_the_wait() {
        let mut asked = 0;
        let answer = wait_until(Duration::from_secs(5), "the third time", || {
            asked += 1;
            (asked == 3).then_some("here")
        });
        assert_eq!(answer, "here");
    }

    #[test]
    #[should_panic(expected = "in vain: the moon")]
    fn a_wait_in_vain_says_for_what() {
        wait_until(Duration::from_millis(1), "the moon", || None::<()>);
    }
}
