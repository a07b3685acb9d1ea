use proptest::prelude::*;

use super::rule::Level;
use super::*;

/// The codes of what is odd about the block in `text`, and the value of its key `a`.
fn found(text: &str) -> (Vec<&'static str>, Option<String>) {
    let mut findings = Findings::default();
    let node = find(text, Mark::CONTRACT, &mut findings);
    let a = node.and_then(|node| match node.value {
        yaml::Value::Map(entries) => entries.into_iter().find(|entry| entry.key == "a"),
        _ => None,
    });
    let a = a.and_then(|entry| match entry.node.value {
        yaml::Value::Scalar { text, .. } => Some(text),
        _ => None,
    });
    let codes = findings.close(text, Some(())).findings;
    (codes.into_iter().map(|finding| finding.code).collect(), a)
}

fn one(a: &str) -> String {
    format!("<!-- VIBE_SESSION_CONTRACT\na: {a}\n-->")
}

#[test]
fn each_oddity_has_one_outcome() {
    let block = one("1");
    let read = |codes: &[&'static str], a: &str| (codes.to_vec(), Some(a.to_owned()));
    let refused = |codes: &[&'static str]| (codes.to_vec(), None);
    for (text, wanted) in [
        (block.clone(), read(&[], "1")),
        (format!("do this\n\n{block}\nand that\n"), read(&[], "1")),
        (block.replace('\n', "\r\n"), read(&[], "1")),
        ("<!--VIBE_SESSION_CONTRACT a: 1-->".to_owned(), read(&[], "1")),
        ("<!--\n  VIBE_SESSION_CONTRACT\n  a: 1\n-->".to_owned(), read(&[], "1")),
        ("<!-- VIBE_SESSION_CONTRACT {a: 1} -->".to_owned(), read(&[], "1")),
        (format!("<!-- a remark --> {block}"), read(&[], "1")),
        (String::new(), refused(&["C001"])),
        ("VIBE_SESSION_CONTRACT\na: 1".to_owned(), refused(&["C001"])),
        (
            "<!-- VIBE_SESSION_CONTRACT_V2\na: 1\n-->".to_owned(),
            refused(&["C001"]),
        ),
        ("<!-- vibe_session_contract\na: 1\n-->".to_owned(), refused(&["C001"])),
        (block.replace("-->", ""), refused(&["C002"])),
        (block.replace("a: 1\n-->", "a: 1\n--"), refused(&["C002"])),
        (format!("{block}\n{block}"), read(&["C003"], "1")),
        (format!("{block}\n{}", one("2")), refused(&["C004"])),
        (format!("{block}\n{block}\n{}", one("2")), refused(&["C004"])),
        (one(&format!("1\nb: {block}")), refused(&["C005"])),
        (one("1\nb: <!-- FLEET_SESSION_REPORT\n"), refused(&["C005"])),
        (format!("<!-- VIBE_SESSION_CONTRACT\na: 1\n{block}"), refused(&["C005"])),
        (one(&"x".repeat(70_000)), refused(&["C006"])),
        (format!("```yaml\n{block}\n```\n"), read(&["C007"], "1")),
        (format!("~~~~\n```\n{block}\n~~~~\n"), read(&["C007"], "1")),
        (format!("```\n{}\n```\n{block}\n", one("2")), read(&["C007"], "1")),
        (format!("{block}\n```\n{}\n```\n", one("2")), read(&["C007"], "1")),
        (format!("```\nx\n```\n{block}\n"), read(&[], "1")),
        (format!("    ```\n{block}\n"), read(&[], "1")),
        (one("1\n\tb: 2"), refused(&["C011"])),
        (one("&x 1\nb: *x"), refused(&["C012"])),
        (one("1\na: 2"), refused(&["C013"])),
        (one("[1"), refused(&["C010"])),
    ] {
        assert_eq!(found(&text), wanted, "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn a_finding_has_its_place_in_the_whole_text() {
    let text = "é\n\n<!-- VIBE_SESSION_CONTRACT\na: 1\n  b: 2\n-->";
    let mut findings = Findings::default();
    assert!(find(text, Mark::CONTRACT, &mut findings).is_none());
    let findings = findings.close(text, Some(())).findings;
    assert_eq!(findings[0].line, Some(5), "{findings:?}");
    assert_eq!(findings[0].level, Level::Error);
}

#[test]
fn a_text_is_left_without_the_blocks_that_count() {
    let block = one("1");
    for (text, rest) in [
        (format!("a {block} b"), "a  b".to_owned()),
        (format!("{block}{block}x"), "x".to_owned()),
        (format!("a\n{}", block.replace("-->", "")), "a\n".to_owned()),
        ("no block".to_owned(), "no block".to_owned()),
        (format!("```\n{block}\n```\n"), "```\n\n```\n".to_owned()),
        (format!("```\n{block}\n```\n{block}"), format!("```\n{block}\n```\n")),
    ] {
        assert_eq!(without(&text, Mark::CONTRACT), rest);
    }
}

#[test]
fn a_text_of_ten_megabytes_is_walked_once() {
    let block = one("1");
    for filling in ["<!--", "<!-- VIBE_SESSION_CONTRACT ", "-->", "```\n", "<!-- \n", "x"] {
        let text = format!("{}{block}", filling.repeat(10_000_000 / filling.len()));
        let mut findings = Findings::default();
        let _ = find(&text, Mark::CONTRACT, &mut findings);
        assert!(findings.close(&text, Some(())).findings.len() < 10);
    }
}

#[test]
fn a_block_is_written_so_that_nothing_in_it_ends_it() {
    let prior = Tree::map().with("stage", Some(Tree::text("plan")));
    let map = Tree::map()
        .with("job_id", Some(Tree::text("VB-1")))
        .with("nothing", None)
        .with(
            "budget",
            Some(
                Tree::map()
                    .with("ceiling_usd", Some(Tree::decimal(5.0, 2)))
                    .with("least", Some(Tree::decimal(0.000_001, 2)))
                    .with("turns", Some(Tree::count(60))),
            ),
        )
        .with(
            "list",
            Some(Tree::List(vec![
                prior.with("summary", Some(Tree::text("--> <!-- X\n```"))),
                Tree::map(),
            ])),
        )
        .with("none", Some(Tree::List(Vec::new())))
        .with("names", Some(Tree::texts(&["def5678".to_owned(), "1e10".to_owned()])));
    assert_eq!(
        write(Mark::CONTRACT, &map),
        "<!-- VIBE_SESSION_CONTRACT
version: 1
job_id: VB-1
budget:
  ceiling_usd: 5.00
  least: 0.000001
  turns: 60
list:
  - stage: plan
    summary: \"--\\x3E \\x3C!-- X\\n```\"
  - {}
none: []
names:
  - def5678
  - \"1e10\"
-->
"
    );
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "(<!--|-->|VIBE_SESSION_CONTRACT|[ \\n\\r\\t`~a:\\[\\]{}&*!|-]|é|\\PC){0,60}") {
        let _ = found(&text);
    }

    #[test]
    fn random_bytes_are_not_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = found(&text);
        let _ = found(&one(&text));
    }
}
