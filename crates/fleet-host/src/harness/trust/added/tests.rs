use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

use super::*;

/// As the program writes it, and with what a tidy-up would change: escapes, numbers, odd white space.
const USERS: &str = "{\n  \"numStartups\": 3,\n\t\"mcpServers\": { \"db\":{\"command\":\"x\",\"args\":[\"\\u002d-y\"]} },\n  \
                     \"rate\": 1.50e+02,\n  \"projects\": {\n    \"/home/you/own\": {\n      \"hasTrustDialogAccepted\": true\n    },\n    \
                     \"/home/you/asked\": {\n      \"hasTrustDialogAccepted\": false,\n      \"lastCost\": 0.0\n    }\n  }\n}\n";

struct Stage {
    dir: tempfile::TempDir,
    home: Home,
    file: PathBuf,
}

impl Stage {
    fn new(text: &str) -> Stage {
        let dir = tempfile::tempdir().expect("dir");
        let home = Home::at(dir.path().join("fleet"));
        home.prepare().expect("prepared");
        let file = dir.path().join(".claude.json");
        fs::write(&file, text).expect("written");
        Stage { dir, home, file }
    }

    fn add(&self, agent: &AgentId, answers: &[Answer]) -> Result<()> {
        add(&self.home, &self.file, &[(agent.clone(), answers.to_vec())])
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("read")
    }

    fn says(&self, path: &[&str]) -> Option<Value> {
        at(&json_text::parse(&self.text()).expect("JSON"), path).cloned()
    }

    fn trusted(&self, folder: &str) -> Option<Value> {
        self.says(&["projects", folder, "hasTrustDialogAccepted"])
    }

    fn remove(&self, agents: &[&AgentId]) -> usize {
        let removed = remove(&self.home, |id| agents.contains(&id)).expect("removed");
        assert!(removed.failed.is_empty(), "{:?}", removed.failed);
        removed.keys.len()
    }
}

fn id(number: u8) -> AgentId {
    AgentId::from_random(&[number; 10])
}

fn trusts(folder: &str) -> Answer {
    Answer::trusts(folder)
}

#[test]
fn keys_are_added_and_removed_and_every_other_byte_stays() {
    for text in [
        USERS,
        "{}",
        "{ }\n",
        r#"{"projects":{}}"#,
        r#"{"customApiKeyResponses":{"rejected":["no"]}}"#,
    ] {
        let stage = Stage::new(text);
        let secret = "sk-made-up-0123456789abcdefghij";
        let answers = [trusts("/w/one"), trusts("/home/you/asked"), Answer::uses_key(secret)];
        stage.add(&id(1), &answers).expect("added");
        assert_eq!(stage.trusted("/w/one"), Some(true.into()));
        assert_eq!(stage.trusted("/home/you/asked"), Some(true.into()));
        assert!(holds(
            stage.says(&["customApiKeyResponses", "approved"]).as_ref(),
            "0123456789abcdefghij"
        ));
        let record = fs::read_to_string(stage.home.trust_record()).expect("record");
        assert!(!record.contains("abcdefghij"), "a part of a secret: {record}");
        assert_eq!(
            fs::read_to_string(stage.home.trust_backup(&stage.file)).expect("backup"),
            text
        );
        assert_eq!(stage.remove(&[&id(1)]), 3);
        assert_eq!(stage.text(), text);
        assert!(list(&stage.home).expect("list").is_empty());
        assert!(
            !stage.home.trust_backup(&stage.file).exists(),
            "it holds the user's secrets"
        );
    }
}

#[test]
fn what_the_user_has_said_is_never_removed() {
    let stage = Stage::new(USERS);
    stage
        .add(&id(1), &[trusts("/home/you/own"), trusts("/w/one")])
        .expect("added");
    assert_eq!(stage.remove(&[&id(1)]), 1);
    assert_eq!(stage.text(), USERS);

    let rejected = r#"{"customApiKeyResponses":{"rejected":["short"]}}"#;
    for text in [rejected, r#"{"oauthAccount":{"x":1}}"#, r#"{"primaryApiKey":"x"}"#] {
        let stage = Stage::new(text);
        stage.add(&id(1), &[Answer::uses_key("short")]).expect("nothing");
        assert_eq!(stage.text(), text);
    }
}

#[test]
fn a_key_stays_as_long_as_one_agent_needs_it_and_comes_again_when_it_was_lost() {
    let stage = Stage::new(USERS);
    stage.add(&id(1), &[trusts("/root"), trusts("/w/one")]).expect("added");
    stage.add(&id(2), &[trusts("/root"), trusts("/w/two")]).expect("added");
    assert_eq!(stage.remove(&[&id(1)]), 1);
    assert_eq!(
        (stage.trusted("/root"), stage.trusted("/w/one")),
        (Some(true.into()), None)
    );
    fs::write(&stage.file, USERS).expect("somebody puts an old file there");
    stage.add(&id(2), &[trusts("/root"), trusts("/w/two")]).expect("again");
    assert_eq!(stage.trusted("/root"), Some(true.into()));
    assert_eq!(stage.remove(&[&id(2), &id(3)]), 2);
    assert_eq!(stage.text(), USERS);
    assert_eq!(stage.remove(&[&id(2)]), 0);
}

#[test]
fn the_last_key_takes_along_what_was_made_for_the_first() {
    let stage = Stage::new("{ }");
    stage.add(&id(1), &[trusts("/w/one")]).expect("added");
    stage.add(&id(2), &[trusts("/w/two")]).expect("added");
    stage.remove(&[&id(1)]);
    stage.remove(&[&id(2)]);
    assert_eq!(stage.text(), "{ }");
}

#[test]
fn twenty_at_once_lose_none() {
    let stage = Stage::new(USERS);
    let folder = |number: u8| format!("/w/{number}");
    thread::scope(|scope| {
        for number in 0..20 {
            let stage = &stage;
            scope.spawn(move || {
                stage
                    .add(&id(number), &[trusts("/root"), trusts(&folder(number))])
                    .expect("added")
            });
        }
        // The program itself, under its own lock.
        scope.spawn(|| {
            for count in 0..20 {
                let theirs = TheirLock::take(&stage.file).expect("locked");
                let mut value = json_text::parse(&stage.text()).expect("JSON");
                value["numStartups"] = count.into();
                fs::write(&stage.file, value.to_string()).expect("written");
                drop(theirs);
            }
        });
    });
    assert_eq!(stage.says(&["numStartups"]), Some(19.into()));
    assert!((0..20).all(|number| stage.trusted(&folder(number)) == Some(true.into())));
    thread::scope(|scope| {
        for number in 0..20 {
            let stage = &stage;
            scope.spawn(move || stage.remove(&[&id(number)]));
        }
    });
    let mut wanted = json_text::parse(USERS).expect("JSON");
    wanted["numStartups"] = 19.into();
    assert_eq!(json_text::parse(&stage.text()), Ok(wanted));
}

#[test]
fn a_link_stays_one_and_permissions_stay_exactly() {
    let stage = Stage::new(USERS);
    let kept = stage.dir.path().join("dotfiles.json");
    fs::rename(&stage.file, &kept).expect("moved");
    symlink(&kept, &stage.file).expect("linked");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o666)).expect("set");
    stage.add(&id(1), &[trusts("/w/one")]).expect("added");
    assert!(fs::symlink_metadata(&stage.file).expect("meta").is_symlink());
    assert_eq!(fs::metadata(&kept).expect("meta").permissions().mode() & 0o777, 0o666);
    assert_eq!(stage.trusted("/w/one"), Some(true.into()));
    stage.remove(&[&id(1)]);
    assert_eq!(stage.text(), USERS);
    let names: Vec<_> = fs::read_dir(stage.dir.path())
        .expect("dir")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(names.len(), 3, "no draft and no lock is left: {names:?}");
}

#[test]
fn a_file_that_fleet_does_not_understand_is_left_alone() {
    for text in [
        "{ not json",
        "[]",
        r#"{"projects":{"/w/one":7}}"#,
        r#"{"projects":{"/w/one":{"hasTrustDialogAccepted":"yes"}}}"#,
    ] {
        let stage = Stage::new(text);
        let error = stage.add(&id(1), &[trusts("/w/one")]).expect_err(text);
        assert!(error.message.contains("was left as it is"), "{}", error.message);
        assert_eq!(stage.text(), text);
        assert!(list(&stage.home).expect("list").is_empty(), "nothing was added");
    }
    let stage = Stage::new("");
    fs::remove_file(&stage.file).expect("removed");
    stage.add(&id(1), &[trusts("/w/one")]).expect("nothing to do");
    assert!(!stage.file.exists(), "its program asks for a login first");
}

#[test]
fn a_removal_that_failed_is_tried_again() {
    let stage = Stage::new(USERS);
    stage.add(&id(1), &[trusts("/w/one")]).expect("added");
    let with_key = stage.text();
    fs::write(&stage.file, "{ half").expect("written");
    assert_eq!(remove(&stage.home, |_| true).expect("record").failed.len(), 1);
    fs::write(&stage.file, &with_key).expect("whole again");
    assert_eq!(stage.remove(&[]), 1);
    assert_eq!(stage.text(), USERS);
}

#[test]
fn the_lock_of_a_program_that_died_is_taken_over() {
    let stage = Stage::new(USERS);
    let lock = stage.dir.path().join(".claude.json.lock");
    fs::create_dir(&lock).expect("made");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(&lock)
        .expect("opened")
        .set_modified(long_ago)
        .expect("set");
    stage.add(&id(1), &[trusts("/w/one")]).expect("added");
    assert!(!lock.exists());
}
