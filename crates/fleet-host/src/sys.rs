//! The kernel calls that the standard library does not offer. The only file in the workspace with `unsafe`.
//!
//! Linux: pidfd_open(2), pidfd_send_signal(2), close_range(2), PR_SET_CHILD_SUBREAPER of prctl(2), TIOCSCTTY
//! and FIONREAD of ioctl_tty(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

/// Forks; true in the parent. Call it only while the process has one thread.
pub fn fork_is_parent() -> io::Result<bool> {
    // SAFETY: the caller is single-threaded, so the child may go on using everything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid != 0),
    }
}

/// Closes every descriptor from `first` upwards.
pub fn close_from(first: RawFd) {
    let first = u32::try_from(first).unwrap_or(3);
    // SAFETY: closing descriptors that nothing in this process owns yet; called first thing after exec.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) };
}

/// Makes orphaned descendants children of this process instead of init's.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: prctl with constant arguments.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Starts `command` as the leader of a new session whose controlling terminal is its standard input, with
/// default signal handling.
pub fn with_controlling_terminal(command: &mut Command) {
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            reset_signals();
            if libc::setsid() == -1 || libc::ioctl(0, libc::TIOCSCTTY as _, 0) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Starts `command` as the leader of a new session without a terminal, with default signal handling.
pub fn with_new_session(command: &mut Command) {
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            reset_signals();
            if libc::setsid() == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Unblocks and defaults every signal: neither what a supervisor ignores nor what its caller ignored is its children's.
fn reset_signals() {
    // SAFETY: async-signal-safe, on a zeroed set.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        // For the two that cannot be changed the call only fails.
        for signal in 1..=libc::SIGSYS {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Ignores a signal in this process.
pub fn ignore_signal(signal: nix::sys::signal::Signal) {
    // SAFETY: SIG_IGN runs no code.
    unsafe { libc::signal(signal as i32, libc::SIG_IGN) };
}

/// A handle on the process `pid`; it never means another process, even when the pid is used again.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call; the descriptor it returns is ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fresh from the kernel and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends `signal` to the process behind `pidfd`.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: nix::sys::signal::Signal) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a plain system call without a siginfo.
    match unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal as i32,
            none,
            0u32,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Tells the terminal behind `fd` its size; its foreground program gets SIGWINCH if it changed.
pub fn set_window_size(fd: BorrowedFd<'_>, rows: u16, cols: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the struct outlives the call.
    match unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Rows and columns of the terminal behind `fd`.
pub fn window_size(fd: BorrowedFd<'_>) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the struct outlives the call.
    match unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ as _, &raw mut size) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok((size.ws_row, size.ws_col)),
    }
}

/// Bytes that wait in the input queue of the terminal side `fd` until a program reads them.
pub fn pending_input(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the integer outlives the call.
    match unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD as _, &raw mut count) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(usize::try_from(count).unwrap_or(0)),
    }
}

/// Takes over a descriptor that was inherited at a known number.
///
/// The caller must be the only one that uses the number: a supervisor does this once, first thing.
pub fn inherited_fd(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl only asks whether the number is open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the contract above nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets descriptor `fd` survive an exec under the number `number` in the child that `command` starts.
pub fn pass_fd(command: &mut Command, fd: OwnedFd, number: RawFd) {
    // SAFETY: dup2 and fcntl are async-signal-safe; the closure owns `fd`, so it is open when it runs.
    unsafe {
        command.pre_exec(move || {
            let raw = fd.as_raw_fd();
            let done = if raw == number {
                libc::fcntl(raw, libc::F_SETFD, 0)
            } else {
                libc::dup2(raw, number)
            };
            if done == -1 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
}

/// Gives the heap's free pages back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: always allowed.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Keeps the allocator to one arena and makes it give large blocks back at once: a supervisor has one thread
/// and lives long.
pub fn frugal_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets tunables before the process has a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 * 1024);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
        libc::mallopt(libc::M_TOP_PAD, 16 * 1024);
    }
}

/// Ends this process at once by SIGKILL, as a crash would.
pub fn kill_self() -> ! {
    // SAFETY: signals only this process.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
        loop {
            libc::pause();
        }
    }
}

/// Makes `number` another name of `fd`: how standard descriptors are let go without leaving the number free.
pub fn replace_fd(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: both numbers are plain; the standard streams of Rust hold the number, not the file.
    match unsafe { libc::dup2(fd.as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
