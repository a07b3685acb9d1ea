//! A boundary around any program, by bubblewrap: it sees everything and writes only where it may.
//!
//! - Read-only is what is not named. Temporary files are its own; the network stays, because the model has to be
//!   reached.
//! - Processes stay visible to the supervisor: no namespace of its own for them, so that descendants are found by their
//!   mark and by whom they belong to.
//! - A signal to the program's group ends bubblewrap itself at once. The program must not be killed by that, because it
//!   got the same signal and may have a last word: so it is not tied to bubblewrap's life. What is left is the supervisor's,
//!   as ever.
//! - Codex's own sandbox works inside of it, and is kept.

use std::path::{Path, PathBuf};

use fleet_core::{Error, Result};

use crate::exec;

/// The program.
const BUBBLEWRAP: &str = "bwrap";
/// What a program may do to files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boundary {
    /// Where it runs.
    pub cwd: PathBuf,
    /// Where its temporary files are, beside `/tmp`: empty and its own as well.
    pub temporary: Option<PathBuf>,
    /// Files and folders that it may write. They have to be there.
    pub writable: Vec<PathBuf>,
    /// Folders that it keeps its own things in, and writes. Made by the caller where they are missing: a folder that is
    /// not there cannot be opened.
    pub state: Vec<PathBuf>,
    /// Files of that kind, as far as they are there.
    pub state_files: Vec<PathBuf>,
    /// What in those folders it may not write, as far as it is there.
    pub kept: Vec<PathBuf>,
    /// What it has to see although it is among temporary files.
    pub shown: Vec<PathBuf>,
}

/// Where bubblewrap is, on this PATH. Error: it is not there.
pub fn find(path: &str) -> Result<PathBuf> {
    exec::find_program(BUBBLEWRAP, path).ok_or_else(|| {
        Error::unavailable("`bwrap` is not installed, and the plan has `\"sandbox\": \"bwrap\"`")
            .hint("install bubblewrap: `sudo apt-get install bubblewrap`")
    })
}

impl Boundary {
    /// `argv` inside of it, by the bubblewrap at `bwrap`.
    pub fn argv(&self, bwrap: &Path, argv: &[String]) -> Vec<String> {
        let some = |how: &'static str, paths: &'_ [PathBuf]| paths.iter().map(|path| (how, path.clone())).collect();
        let temporary = Path::new("/tmp").to_owned();
        let mut mounts: Vec<(&str, PathBuf)> = [
            vec![("--tmpfs", temporary)],
            some("--tmpfs", self.temporary.as_slice()),
            some("--ro-bind", std::slice::from_ref(&self.cwd)),
            some("--ro-bind", &self.shown),
            some("--bind", &self.writable),
            some("--bind", &self.state),
            some("--bind-try", &self.state_files),
            some("--ro-bind-try", &self.kept),
        ]
        .concat();
        // A folder comes before what is in it, which it would hide.
        mounts.sort_by_key(|(_, path)| path.components().count());
        // `/proc` is written by programs that make a boundary of their own.
        let devices = ["/dev", "/proc"].map(|path| ("--dev-bind", PathBuf::from(path)));
        mounts.splice(0..0, std::iter::once(("--ro-bind", PathBuf::from("/"))).chain(devices));
        let mut out = vec![bwrap.display().to_string()];
        for (how, path) in mounts {
            let path = path.display().to_string();
            out.push(how.to_owned());
            if how != "--tmpfs" {
                out.push(path.clone());
            }
            out.push(path);
        }
        out.extend(["--chdir".to_owned(), self.cwd.display().to_string(), "--".to_owned()]);
        out.extend(argv.iter().cloned());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_before_what_is_in_it() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let boundary = Boundary {
            cwd: "/tmp/t/w".into(),
            temporary: Some("/tmp/t/tmp".into()),
            writable: paths(&["/tmp/t/w", "/repo"]),
            state: paths(&["/h/.p"]),
            state_files: paths(&["/h/.p.json"]),
            kept: paths(&["/h/.p/settings"]),
            shown: paths(&["/tmp/t"]),
        };
        let argv = boundary.argv(Path::new("/usr/bin/bwrap"), &["p".to_owned(), "-x".to_owned()]);
        let line = argv.join(" ");
        let begins = "/usr/bin/bwrap --ro-bind / / --dev-bind /dev /dev --dev-bind /proc /proc --tmpfs /tmp ";
        assert!(line.starts_with(begins), "{line}");
        assert!(line.ends_with(" --chdir /tmp/t/w -- p -x"), "{line}");
        for (one, other) in [
            ("--ro-bind /tmp/t ", "--tmpfs /tmp/t/tmp "),
            ("--ro-bind /tmp/t ", "--bind /tmp/t/w "),
            ("--ro-bind /tmp/t/w ", " --bind /tmp/t/w "),
            ("--bind /h/.p ", "--ro-bind-try /h/.p/settings "),
        ] {
            let at = |part: &str| line.find(part).unwrap_or_else(|| panic!("{part} in {line}"));
            assert!(at(one) < at(other), "{one} before {other}: {line}");
        }
    }

    #[test]
    fn a_machine_without_bubblewrap_is_told_how_to_get_it() {
        let error = find("/nowhere").expect_err("there is none");
        assert!(error.hint.is_some_and(|hint| hint.contains("install bubblewrap")));
    }
}
