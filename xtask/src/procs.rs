//! What runs on this machine, as /proc shows it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A living process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) argv: Vec<String>,
    environ: Vec<Vec<u8>>,
    cwd: Option<PathBuf>,
}

impl Process {
    /// None for one that has ended (a zombie has).
    fn read(pid: u32) -> Option<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        // The state follows the name, which may hold anything but is closed by the last parenthesis.
        let stat = fs::read_to_string(proc.join("stat")).ok()?;
        if stat.rsplit_once(") ")?.1.starts_with(['Z', 'X']) {
            return None;
        }
        // In the middle of an exec it has no arguments for a moment.
        let argv: Vec<String> = strings(&proc.join("cmdline"))
            .iter()
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        Some(Self {
            pid,
            argv,
            environ: strings(&proc.join("environ")),
            cwd: fs::read_link(proc.join("cwd")).ok(),
        })
    }

    /// True if it was started with this variable.
    pub(crate) fn has_env(&self, name: &str, value: impl AsRef<OsStr>) -> bool {
        self.environ
            .contains(&[name.as_bytes(), b"=", value.as_ref().as_bytes()].concat())
    }

    /// True if it works in `dir`, names it in an argument, or has something in it open. A supervisor has nothing
    /// about it of its fleet but the last.
    pub(crate) fn mentions(&self, dir: &Path) -> bool {
        let text = dir.to_string_lossy();
        let open = || {
            let entries = fs::read_dir(format!("/proc/{}/fd", self.pid))
                .into_iter()
                .flatten()
                .flatten();
            entries
                .filter_map(|entry| fs::read_link(entry.path()).ok())
                .any(|file| file.starts_with(dir))
        };
        self.cwd.as_ref().is_some_and(|cwd| cwd.starts_with(dir))
            || self.argv.iter().any(|arg| arg.contains(&*text))
            || open()
    }

    /// Private memory, in bytes: what would be free if it ended.
    pub(crate) fn private_memory(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        Some(private_of(&text))
    }

    /// Time on a processor so far, of all its threads, in nanoseconds.
    pub(crate) fn processor_time(&self) -> u64 {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return 0;
        };
        let on_cpu = |thread: fs::DirEntry| -> Option<u64> {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        threads.filter_map(|thread| on_cpu(thread.ok()?)).sum()
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}: {}", self.pid, self.argv.join(" "))
    }
}

/// Every living process for which `wanted` holds, but not this one nor those that started it.
pub(crate) fn all(wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    let ours = ancestors();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| !ours.contains(pid))
        .filter_map(Process::read)
        .filter(|process| wanted(process))
        .collect()
}

/// Every socket below `dir` on which somebody listens.
pub(crate) fn live_sockets(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(live_sockets(&entry.path())),
            Ok(kind) if kind.is_socket() && UnixStream::connect(entry.path()).is_ok() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// This process and those it comes from: a shell may well work in the directory that is looked at.
fn ancestors() -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut pid = std::process::id();
    while pid > 1 && found.insert(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        pid = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
            .unwrap_or(0);
    }
    found
}

fn strings(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

fn private_of(smaps_rollup: &str) -> u64 {
    let kibibytes =
        |line: &str| -> Option<u64> { line.strip_prefix("Private_")?.split_whitespace().nth(1)?.parse().ok() };
    smaps_rollup.lines().filter_map(kibibytes).sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn private_memory_is_the_sum_of_its_kinds() {
        let text = "Rss: 9000 kB\nPrivate_Clean: 4 kB\nPrivate_Dirty:  300 kB\nPrivate_Hugetlb: 0 kB\nSwap: 1 kB\n";
        assert_eq!(private_of(text), 304 * 1024);
    }

    #[test]
    fn a_program_that_only_has_a_file_open_is_about_the_folder_too() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let file = fs::File::create(real.join("journal")).unwrap();
        // Handed down as it is started, so it is there from the first moment.
        let mut child = std::process::Command::new("cat")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(file)
            .spawn()
            .unwrap();
        let found = all(|process| process.pid == child.id() && process.mentions(&real));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_started_program_is_seen_with_its_environment_and_directory() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "echo up; read -r line"])
            .current_dir(&real)
            .env("MARK", "yes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Once it speaks its exec is over.
        let mut up = [0; 3];
        child.stdout.take().unwrap().read_exact(&mut up).unwrap();
        let found = all(|process| process.pid == child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].has_env("MARK", "yes") && !found[0].has_env("MARK", "ye") && found[0].mentions(&real));
        assert!(all(|process| process.pid == child.id()).is_empty());
        assert!(all(|process| process.pid == std::process::id()).is_empty());
    }
}
