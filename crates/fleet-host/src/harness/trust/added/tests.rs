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
        "// mine\n{\n  \"projects\": {} // none yet\n}\n",
        "",
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
fn a_file_is_made_only_when_it_says_all_that_a_first_start_asks_and_goes_again() {
    let all = [Answer::is_onboarded(), trusts("/w/one")];
    let stage = Stage::new("");
    fs::remove_file(&stage.file).expect("removed");
    stage.add(&id(1), &all).expect("made");
    assert_eq!(stage.says(&["hasCompletedOnboarding"]), Some(true.into()));
    assert_eq!(stage.trusted("/w/one"), Some(true.into()));
    let mode = fs::metadata(&stage.file).expect("meta").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    stage
        .add(&id(2), &[Answer::is_onboarded(), trusts("/w/two")])
        .expect("again");
    stage.remove(&[&id(1)]);
    assert_eq!(stage.trusted("/w/two"), Some(true.into()));
    stage.remove(&[&id(2)]);
    assert!(!stage.file.exists());

    stage.add(&id(1), &all).expect("made");
    let theirs = stage.text().replacen('{', "{\"numStartups\":1,", 1);
    fs::write(&stage.file, theirs).expect("the program writes something");
    stage.remove(&[&id(1)]);
    assert_eq!(stage.text(), "{\"numStartups\":1}");

    fs::remove_file(&stage.file).expect("removed");
    symlink("/nowhere/at/all", &stage.file).expect("linked");
    stage.add(&id(1), &all).expect("nothing to do");
    assert!(stage.file.is_symlink() && !stage.file.exists());
}

#[test]
fn what_the_user_does_meanwhile_stays() {
    let stage = Stage::new(USERS);
    let key = ["projects", "/w/one", "hasTrustDialogAccepted"];
    stage.add(&id(1), &[trusts("/w/one")]).expect("added");
    fs::write(&stage.file, USERS).expect("the user takes it away");
    assert_eq!(stage.remove(&[&id(1)]), 1);
    assert_eq!(stage.text(), USERS);

    stage.add(&id(1), &[trusts("/w/one")]).expect("added");
    let no = json_text::set(&stage.text(), &key, &false.into())
        .expect("the user says No")
        .0;
    fs::write(&stage.file, &no).expect("written");
    assert_eq!(stage.remove(&[&id(1)]), 1);
    assert_eq!(stage.text(), no);

    fs::write(&stage.file, USERS).expect("written");
    stage.add(&id(1), &[trusts("/w/one")]).expect("added");
    fs::remove_file(&stage.file).expect("the user takes all away");
    assert_eq!(stage.remove(&[&id(1)]), 1);
    assert!(!stage.file.exists());
}

#[test]
fn keys_that_came_again_in_another_order_leave_nothing() {
    let stage = Stage::new(USERS);
    stage.add(&id(1), &[trusts("/w/one"), trusts("/w/two")]).expect("added");
    fs::write(&stage.file, "{}").expect("somebody begins anew");
    stage.add(&id(1), &[trusts("/w/two"), trusts("/w/one")]).expect("again");
    stage.remove(&[&id(1)]);
    assert_eq!(stage.text(), "{}");

    let (one, two) = (Answer::uses_key("one"), Answer::uses_key("two"));
    stage.add(&id(1), &[one]).expect("added");
    stage.add(&id(2), &[two]).expect("added");
    stage.remove(&[&id(1)]);
    stage.remove(&[&id(2)]);
    assert_eq!(stage.text(), "{}");
}

#[test]
fn two_fleets_at_once_leave_the_file_as_it_was() {
    let stage = Stage::new(USERS);
    let homes = ["one", "two"].map(|name| Home::at(stage.dir.path().join(name)));
    thread::scope(|scope| {
        for (number, home) in (0..).zip(&homes) {
            let file = &stage.file;
            scope.spawn(move || {
                home.prepare().expect("prepared");
                for round in 0..10 {
                    let answer = trusts(&format!("/w/{number}/{round}"));
                    add(home, file, &[(id(round), vec![answer])]).expect("added");
                    if round % 2 == 0 {
                        assert!(remove(home, |_| true).expect("removed").failed.is_empty());
                    }
                }
            });
        }
    });
    assert!((0..2).all(|number| stage.trusted(&format!("/w/{number}/9")) == Some(true.into())));
    for home in &homes {
        assert!(remove(home, |_| true).expect("removed").failed.is_empty());
    }
    assert_eq!(stage.text(), USERS);
}

#[test]
fn the_lock_of_a_fleet_is_taken_over_when_that_was_killed_and_not_before() {
    let stage = Stage::new(USERS);
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let age = |lock: &Path| File::open(lock).expect("opened").set_modified(long_ago).expect("set");
    let lock = TheirLock::take(&stage.file).expect("taken");
    assert!(!is_stale(&lock.folder), "it was just made");
    age(&lock.folder);
    assert!(!is_stale(&lock.folder), "who made it is slow, and lives");
    drop(lock);
    let left = stage.dir.path().join(".claude.json.lock");
    DirBuilder::new().mode(OURS).create(&left).expect("made");
    age(&left);
    assert!(is_stale(&left));
    stage.add(&id(1), &[trusts("/w/one")]).expect("added");
    assert!(!left.exists());
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
