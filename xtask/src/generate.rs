//! `cargo xtask gen`: the reference pages and the skills for agents, as the program itself writes them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::args::Args;
use crate::run::{Run, io, root, target};
use crate::{Failure, Result, drill, failed, meters, prompts, restrictions, states};

pub(crate) const USAGE: &str = "usage: cargo xtask gen [--check]

Writes docs/reference/ and skills/ from the code. --check writes nothing and fails if a file is not as it would be
written.";

/// A file that is made, from the root of the repository. The program tells the skills so.
#[derive(serde::Deserialize)]
struct Made {
    path: String,
    text: String,
    executable: bool,
}

/// The pages that `fleet __gen NAME` prints.
const PAGES: &[&str] = &[
    "cli",
    "forecasts",
    "tasks",
    "crew-report.schema.json",
    "config",
    "exit-codes",
    "operations",
    "plan-rules",
    "plan-spec",
    "fleet.schema.json",
    "contract-rules",
    "contract.schema.json",
    "report.schema.json",
];

pub(crate) fn main(mut args: Args) -> Result<()> {
    let check = args.flag("--check");
    args.end()?;
    Run::cargo("build")
        .args(["--quiet", "--package", "fleet", "--bins"])
        .pass()?;
    let fleet = target().join("debug/fleet");
    let mut differ = Vec::new();
    let printed = |name: &&'static str| Ok((*name, Run::new(&fleet, &root()).args(["__gen", name]).text()?));
    let mut pages = PAGES.iter().map(printed).collect::<Result<Vec<_>>>()?;
    pages.push(("meter", meters::page()?));
    pages.push(("prompts", prompts::page()?));
    pages.push(("reboot-drill", drill::page()?));
    pages.push(("restrictions", restrictions::page()?));
    pages.push(("states", states::page()?));
    let pages = pages.into_iter().map(|(name, text)| Made {
        path: format!("docs/reference/{}", file_name(name)),
        text,
        executable: false,
    });
    let skills = Run::new(&fleet, &root()).args(["__gen", "skills"]).text()?;
    let skills: Vec<Made> =
        serde_json::from_str(&skills).map_err(|error| Failure::Failed(format!("the skills are no JSON: {error}")))?;
    let skills = skills.into_iter().map(|skill| Made {
        path: format!("skills/{}", skill.path),
        ..skill
    });
    for Made {
        path: name,
        text: wanted,
        executable,
    } in pages.chain(skills)
    {
        let path = root().join(&name);
        let present = fs::read_to_string(&path).unwrap_or_default();
        if present == wanted && (!executable || is_executable(&path)) {
            continue;
        }
        if check {
            differ.push(format!("{name}:{}", first_difference(&present, &wanted)));
            continue;
        }
        let dir = path.parent().unwrap_or(&path);
        fs::create_dir_all(dir).map_err(io("make", dir))?;
        fs::write(&path, wanted).map_err(io("write", &path))?;
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(io("write", &path))?;
        println!("wrote {name}");
    }
    if differ.is_empty() {
        return Ok(());
    }
    failed(format!(
        "not as the code has it; run `cargo xtask gen`\n{}",
        differ.join("\n")
    ))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
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
