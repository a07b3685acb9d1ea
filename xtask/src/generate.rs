//! `cargo xtask gen`: the reference pages, as the program itself writes them.

use std::fs;

use crate::args::Args;
use crate::run::{Run, io, root, target};
use crate::{Result, drill, failed, prompts, restrictions, states};

pub(crate) const USAGE: &str = "usage: cargo xtask gen [--check]

Writes docs/reference/ from the code. --check writes nothing and fails if a page is not as it would be written.";

/// The pages that `fleet __gen NAME` prints.
const PAGES: &[&str] = &[
    "cli",
    "config",
    "exit-codes",
    "operations",
    "plan-rules",
    "fleet.schema.json",
];

pub(crate) fn main(mut args: Args) -> Result<()> {
    let check = args.flag("--check");
    args.end()?;
    Run::cargo("build")
        .args(["--quiet", "--package", "fleet", "--bins"])
        .pass()?;
    let fleet = target().join("debug/fleet");
    let dir = root().join("docs/reference");
    let mut differ = Vec::new();
    let printed = |name: &&'static str| Ok((*name, Run::new(&fleet, &root()).args(["__gen", name]).text()?));
    let mut pages = PAGES.iter().map(printed).collect::<Result<Vec<_>>>()?;
    pages.push(("prompts", prompts::page()?));
    pages.push(("reboot-drill", drill::page()?));
    pages.push(("restrictions", restrictions::page()?));
    pages.push(("states", states::page()?));
    for (name, wanted) in pages {
        let name = file_name(name);
        let path = dir.join(&name);
        let present = fs::read_to_string(&path).unwrap_or_default();
        if present == wanted {
            continue;
        }
        if check {
            differ.push(format!("docs/reference/{name}:{}", first_difference(&present, &wanted)));
        } else {
            fs::create_dir_all(&dir).map_err(io("make", &dir))?;
            fs::write(&path, wanted).map_err(io("write", &path))?;
            println!("wrote docs/reference/{name}");
        }
    }
    if differ.is_empty() {
        return Ok(());
    }
    failed(format!(
        "not as the code has it; run `cargo xtask gen`\n{}",
        differ.join("\n")
    ))
}

/// A page is Markdown unless its name says what it is.
fn file_name(page: &str) -> String {
    match page.contains('.') {
        true => page.to_owned(),
        false => format!("{page}.md"),
    }
}

/// `LINE: is …, should be …` for the first line that differs.
fn first_difference(present: &str, wanted: &str) -> String {
    let (mut present, mut wanted) = (present.lines(), wanted.lines());
    for line in 1.. {
        match (present.next(), wanted.next()) {
            (None, None) => return format!("{line}: differs in the last line break"),
            (is, should) if is != should => {
                let said = |line: Option<&str>| line.map_or("nothing".to_owned(), |line| format!("`{line}`"));
                return format!("{line}: is {}, should be {}", said(is), said(should));
            }
            _ => {}
        }
    }
    unreachable!("a text has fewer lines than numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), "2: is `b`, should be `c`");
        assert_eq!(first_difference("a\n", "a\nc\n"), "2: is nothing, should be `c`");
        assert_eq!(first_difference("a", "a\n"), "2: differs in the last line break");
    }
}
