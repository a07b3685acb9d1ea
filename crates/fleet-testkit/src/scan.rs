//! Who is still there: processes, sockets and worktrees that belong to a directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;

use crate::wait::poll_until;

/// A living process as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Where it is; none when that may not be read.
    pub cwd: Option<PathBuf>,
    /// Its environment as it was at its start, `NAME=value` each.
    pub environ: Vec<Vec<u8>>,
}

impl Process {
    /// The process `pid`, unless it has ended (a zombie has), belongs to another user, or is the kernel's own.
    pub fn read(pid: u32) -> Option<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        if fs::metadata(&proc).ok()?.uid() != geteuid().as_raw() {
            return None;
        }
        // In the middle of an exec a process has no arguments and no environment, and would be overlooked.
        poll_until(Duration::from_millis(100), || match Phase::of(&proc) {
            Phase::Starting => None,
            phase => Some(phase),
        })
        .filter(|phase| *phase == Phase::Running)?;
        let argv = strings(&proc.join("cmdline"))?;
        let argv = argv
            .into_iter()
            .map(|arg| String::from_utf8_lossy(&arg).into_owned())
            .collect();
        let cwd = fs::read_link(proc.join("cwd")).ok();
        Some(Self {
            pid,
            argv,
            cwd,
            environ: strings(&proc.join("environ")).unwrap_or_default(),
        })
    }

    /// True if its environment has exactly this value.
    pub fn has_env(&self, name: &str, value: impl AsRef<OsStr>) -> bool {
        let wanted = [name.as_bytes(), b"=", value.as_ref().as_bytes()].concat();
        self.environ.contains(&wanted)
    }

    /// True if it works inside `dir` or names it in an argument.
    pub fn mentions(&self, dir: &Path) -> bool {
        let text = dir.to_string_lossy();
        self.cwd.as_ref().is_some_and(|cwd| cwd.starts_with(dir)) || self.argv.iter().any(|arg| arg.contains(&*text))
    }
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its program is being replaced.
    Starting,
    Running,
    /// Gone, a zombie, or no program at all.
    Ended,
}

impl Phase {
    /// From proc_pid_stat(5), whose fields are counted from 1, and whose second is in parentheses.
    fn of(proc: &Path) -> Self {
        let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let kernel_thread = field(9).parse().is_ok_and(|flags: u32| flags & 0x0020_0000 != 0);
        match (field(3), field(51)) {
            ("" | "Z" | "X", _) => Self::Ended,
            _ if kernel_thread => Self::Ended,
            // The end of the environment is the last thing that an exec sets up.
            (_, "0") => Self::Starting,
            _ => Self::Running,
        }
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}: {}", self.pid, self.argv.join(" "))?;
        match &self.cwd {
            Some(cwd) => write!(f, " (in {})", cwd.display()),
            None => Ok(()),
        }
    }
}

/// Every living process but this one for which `wanted` holds.
pub fn processes(wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    let me = std::process::id();
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != me)
        .filter_map(Process::read)
        .filter(|process| wanted(process))
        .collect()
}

/// Every socket under `dir` that somebody still listens on.
pub fn live_sockets(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(dir, &mut |path, kind| {
        if kind.is_socket() && UnixStream::connect(path).is_ok() {
            found.push(path.to_path_buf());
        }
    });
    found
}

/// The linked worktrees that the git repository at `repo` still has on record.
pub fn linked_worktrees(repo: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(repo.join(".git/worktrees")) else {
        return Vec::new();
    };
    let gitdir = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("gitdir")).ok();
    entries
        .filter_map(|entry| gitdir(entry.ok()?))
        .map(|gitdir| PathBuf::from(gitdir.trim_end().trim_end_matches("/.git")))
        .collect()
}

fn strings(path: &Path) -> Option<Vec<Vec<u8>>> {
    let bytes = fs::read(path).ok()?;
    Some(
        bytes
            .split(|byte| *byte == 0)
            .filter(|part| !part.is_empty())
            .map(<[u8]>::to_vec)
            .collect(),
    )
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path, fs::FileType)) {
    // What vanishes or may not be read during the walk is not there.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        visit(&entry.path(), kind);
        if kind.is_dir() {
            walk(&entry.path(), visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_process_is_seen_from_the_moment_of_its_start_until_it_is_a_zombie() {
        for _ in 0..50 {
            let mut child = crate::raw_command("/bin/sleep")
                .arg("600")
                .env("MARK", "x")
                .spawn()
                .unwrap();
            let process = Process::read(child.id()).expect("it lives");
            assert!(process.has_env("MARK", "x"), "{process}");
            assert_eq!(process.argv, ["/bin/sleep", "600"]);
            child.kill().unwrap();
            poll_until(Duration::from_secs(5), || {
                Process::read(child.id()).is_none().then_some(())
            })
            .unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_socket_is_live_only_while_somebody_listens() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        let path = dir.path().join("deep/socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(live_sockets(dir.path()), [path]);
        drop(listener);
        // A child of another test may hold a copy until its exec.
        let gone = poll_until(Duration::from_secs(5), || {
            live_sockets(dir.path()).is_empty().then_some(())
        });
        assert!(gone.is_some());
    }
}
