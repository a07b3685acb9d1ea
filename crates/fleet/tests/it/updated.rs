//! A program that is updated while agents run it is noticed and said.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fleet_testkit::{TestEnv, binary};
use serde_json::Value;

use crate::drive::{answer, create, fleet, turn, wait_for_prompt};

/// The scripted agent as npm would install it: a link to a file of a package that has a version.
struct Installed {
    package: PathBuf,
    link: PathBuf,
}

impl Installed {
    fn at(root: &Path) -> Self {
        let installed = Installed {
            package: root.join("lib/node_modules/@made/agent"),
            link: root.join("made-agent"),
        };
        installed.install("1.0.0");
        symlink(installed.package.join("cli"), &installed.link).expect("linked");
        installed
    }

    /// As npm does: the old folder goes, a new one comes. The programs that run keep their file.
    fn install(&self, version: &str) {
        let _ = fs::remove_dir_all(&self.package);
        fs::create_dir_all(&self.package).expect("made");
        fs::copy(binary("scripted-agent"), self.package.join("cli")).expect("copied");
        let manifest = format!(r#"{{"name":"@made/agent","version":"{version}"}}"#);
        fs::write(self.package.join("package.json"), manifest).expect("written");
    }
}

fn warnings(answer: &Value) -> Vec<String> {
    let all = answer["warnings"].as_array().into_iter().flatten();
    all.filter_map(|line| line.as_str().map(str::to_owned)).collect()
}

#[test]
fn an_update_under_a_running_agent_is_said_until_the_agent_is_restarted() {
    let env = TestEnv::new();
    let installed = Installed::at(env.root());
    env.write_config(&format!(
        "default_agent = \"made\"\n[harness.made]\ncommand = [\"{}\"]\nprompt = \"paste\"\nready = \"^> ?$\"\n",
        installed.link.display()
    ));
    let repo = env.repo("repo", 1);
    let _ = create(&env, &repo, "old");
    turn(&env, &repo, "old", "print one");
    let _ = create(&env, &repo, "ended");
    let _ = fleet(&env, &repo, ["prompt", "ended", "exit 0"]).output();
    let _ = answer(&env, &repo, ["wait", "ended", "--until", "exited", "--timeout", "60"]);
    assert_eq!(warnings(&answer(&env, &repo, ["list"])), [""; 0]);

    installed.install("1.0.1");
    let line = "made-agent was updated from 1.0.0 to 1.0.1 under old: `fleet restart old` takes the new one";
    assert_eq!(
        warnings(&answer(&env, &repo, ["list"])),
        [line],
        "not of one that ended"
    );
    assert_eq!(warnings(&answer(&env, &repo, ["explain", "old"])), [line]);
    assert_eq!(warnings(&answer(&env, &repo, ["explain", "ended"])), [""; 0]);
    let checks = answer(&env, &repo, ["doctor"])["checks"].clone();
    let said = |check: &&Value| check["level"] == "warning" && check["found"] == line;
    assert_eq!(
        checks.as_array().expect("checks").iter().filter(said).count(),
        1,
        "{checks}"
    );

    let _ = answer(&env, &repo, ["restart", "old"]);
    wait_for_prompt(&env, "old");
    assert_eq!(warnings(&answer(&env, &repo, ["list"])), [""; 0]);
    let _ = answer(&env, &repo, ["kill", "*"]);
    env.assert_nothing_left();
}
