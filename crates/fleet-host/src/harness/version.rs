//! Which version of its program a harness meets.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exec::Cmd;
use crate::files;
use crate::home::Home;
use crate::parallel;

/// How a program's version stands to the one that was tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is the one.
    Tested,
    /// It came later.
    Newer,
    /// It came before.
    Older,
    /// It tells no version, or none was tested.
    Unknown,
}

/// What a program said, and which file said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    size: u64,
    /// Of its content and of its place, in nanoseconds: two versions may be installed within a second.
    changed: (i128, i128),
    line: String,
}

/// The first line of what each of `programs` says to `--version`; empty when that is nothing. One that is the same file
/// as last time is not asked again. `env` is the asking user's.
pub fn of(home: &Home, programs: &[PathBuf], env: &[(String, String)]) -> Vec<String> {
    let cache = home.versions();
    let known = fs::read(&cache)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut known: BTreeMap<PathBuf, Said> = known.unwrap_or_default();
    let said = parallel::map(programs.iter().collect(), parallel::cores(), |program: &PathBuf| {
        let file = program.canonicalize().ok()?;
        let meta = fs::metadata(&file).ok()?;
        let (size, changed) = (meta.size(), changed(&meta));
        if let Some(said) = known.get(&file)
            && (said.size, said.changed) == (size, changed)
        {
            return Some((file, said.clone()));
        }
        let line = ask(program, env);
        Some((file, Said { size, changed, line }))
    });
    let lines = said
        .iter()
        .map(|said| said.as_ref().map(|(_, said)| said.line.clone()).unwrap_or_default());
    let lines = lines.collect();
    let told = said.into_iter().flatten().filter(|(_, said)| !said.line.is_empty());
    let mut anew = false;
    for (file, said) in told {
        anew |= known.insert(file, said.clone()) != Some(said);
    }
    if anew && let Ok(bytes) = serde_json::to_vec(&known) {
        let _ = files::write_cache("doctor.versions", &cache, &bytes, 0o600);
    }
    lines
}

/// How what a program says of its version stands to `tested`.
pub fn fit(line: &str, tested: &str) -> Fit {
    match (number(line), number(tested)) {
        (Some(found), Some(tested)) => match found.cmp(&tested) {
            Ordering::Equal => Fit::Tested,
            Ordering::Greater => Fit::Newer,
            Ordering::Less => Fit::Older,
        },
        _ => Fit::Unknown,
    }
}

fn changed(meta: &fs::Metadata) -> (i128, i128) {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    (
        nanoseconds(meta.mtime(), meta.mtime_nsec()),
        nanoseconds(meta.ctime(), meta.ctime_nsec()),
    )
}

fn ask(program: &Path, env: &[(String, String)]) -> String {
    /// A script's interpreter takes seconds to start on a machine that is busy.
    const PATIENCE: Duration = Duration::from_secs(15);
    let mut command = Cmd::new("doctor.version", program, Path::new("/")).env_clear();
    for (name, value) in env {
        command = command.env(name, value);
    }
    let output = command.arg("--version").timeout(PATIENCE).output();
    let text = output.map(|output| output.text()).unwrap_or_default();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or_default().chars().take(60).collect()
}

/// The first three numbers with dots between them.
fn number(text: &str) -> Option<[u64; 3]> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    words.into_iter().find_map(|word| {
        let mut parts = word.split('.').map(|part| part.parse().ok());
        let number = [parts.next()??, parts.next()??, parts.next()??];
        Some(number)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (line, fits) in [
            ("2.1.197 (Claude Code)", Fit::Tested),
            ("claude v2.1.197", Fit::Tested),
            ("2.1.198", Fit::Newer),
            ("2.10.0", Fit::Newer),
            ("2.1.30", Fit::Older),
            ("x.y 3", Fit::Unknown),
            ("", Fit::Unknown),
        ] {
            assert_eq!(fit(line, "2.1.197"), fits, "{line}");
        }
        assert_eq!(fit("1.2.3", ""), Fit::Unknown);
    }

    #[test]
    fn a_program_is_asked_once_until_its_file_changes() {
        let dir = tempfile::tempdir().expect("dir");
        let home = Home::at(dir.path().join("fleet"));
        home.prepare().expect("prepared");
        let program = dir.path().join("agent");
        let asked = dir.path().join("asked");
        let write = |version: &str| {
            fs::write(
                &program,
                format!("#!/bin/sh\necho x >> {}\necho '{version}'\n", asked.display()),
            )
            .expect("written");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
        };
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        write("agent 1.2.3");
        assert_eq!(of(&home, std::slice::from_ref(&program), &env), ["agent 1.2.3"]);
        assert_eq!(of(&home, std::slice::from_ref(&program), &env), ["agent 1.2.3"]);
        write("agent 1.2.4");
        assert_eq!(of(&home, std::slice::from_ref(&program), &env), ["agent 1.2.4"]);
        assert_eq!(fs::read_to_string(&asked).expect("asked").lines().count(), 2);
    }
}
