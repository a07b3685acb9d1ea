//! A moment of the wall clock to wait for.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use fleet_core::{Error, Result};
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// A descriptor that is readable at a moment of the wall clock, and as soon as somebody sets that clock: whoever waits looks
/// at it again then (`TFD_TIMER_CANCEL_ON_SET` of timerfd_create(2)). Time in which the machine sleeps counts.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// An alarm so many milliseconds from now.
    ///
    /// # Errors
    /// The system has no room for one.
    pub fn in_millis(millis: u64) -> Result<Alarm> {
        let make = || -> std::result::Result<TimerFd, Errno> {
            let timer = TimerFd::new(
                ClockId::CLOCK_REALTIME,
                TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
            )?;
            let now = Duration::from(nix::time::ClockId::CLOCK_REALTIME.now()?);
            // A moment of 0 would turn it off.
            let at = now + Duration::from_millis(millis.max(1));
            let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
            timer.set(Expiration::OneShot(TimeSpec::from_duration(at)), flags)?;
            Ok(timer)
        };
        make()
            .map(Alarm)
            .map_err(|error| Error::internal(format!("an alarm cannot be set: {error}")))
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn it_is_readable_when_its_time_has_come_and_not_before() {
        let far = Alarm::in_millis(3_600_000).expect("an alarm");
        let soon = Alarm::in_millis(0).expect("an alarm");
        let mut fds = [far.as_fd(), soon.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let ready = poll(&mut fds, 10_000_u16).expect("polled");
        let is_ready = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        assert_eq!((ready, is_ready), (1, [false, true]));
    }
}
