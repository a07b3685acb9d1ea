//! What the benchmark tells: a table, a page and JSON.

use std::fmt::Write;
use std::fs;

use serde::Serialize;
use serde_json::json;

use super::sample::{Sample, Summary};
use super::stage::Stage;
use crate::Result;
use crate::run::Run;

/// What follows this line on the page is written by hand and kept.
const NOTES: &str = "<!-- what follows is written by hand and kept -->";

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: &'static str,
    what: String,
    unit: Unit,
    ours: Option<Summary>,
    /// What the floor is, and its numbers.
    floor: Option<(String, Option<Summary>)>,
    bound: Option<Bound>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Milliseconds,
    Mebibytes,
    Percent,
    /// How many.
    Count,
}

/// What a row must not pass, and what it should reach.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Bound {
    /// Times the floor, else in the row's unit.
    is_ratio: bool,
    bar: f64,
    aim: f64,
}

/// The machine that everything was measured on.
#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    file_system: String,
    git: String,
    tmux: String,
}

/// A run of the benchmark.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    machine: Machine,
    command: String,
}

impl Bound {
    pub(crate) fn ratio(bar: f64, aim: f64) -> Self {
        Self {
            is_ratio: true,
            bar,
            aim,
        }
    }

    pub(crate) fn absolute(bar: f64, aim: f64) -> Self {
        Self {
            is_ratio: false,
            bar,
            aim,
        }
    }
}

impl Row {
    pub(crate) fn new(name: &'static str, what: &str, unit: Unit, ours: &Sample) -> Self {
        Self {
            name,
            what: what.to_owned(),
            unit,
            ours: ours.summary(),
            floor: None,
            bound: None,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// A row of milliseconds.
    pub(crate) fn times(name: &'static str, what: &str, ours: &Sample) -> Self {
        Self::new(name, what, Unit::Milliseconds, ours)
    }

    pub(crate) fn floor(mut self, what: &str, sample: &Sample) -> Self {
        self.floor = Some((what.to_owned(), sample.summary()));
        self
    }

    pub(crate) fn bound(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self
    }

    /// Median by median.
    fn ratio(&self) -> Option<f64> {
        let (_, floor) = self.floor.as_ref()?;
        Some(self.ours?.median / (*floor)?.median)
    }

    /// Whether the bar and the aim are met.
    fn met(&self) -> Option<(bool, bool)> {
        let bound = self.bound?;
        let value = if bound.is_ratio {
            self.ratio()?
        } else {
            self.ours?.median
        };
        Some((value <= bound.bar, value <= bound.aim))
    }

    fn cells(&self) -> [String; 7] {
        let number = |summary: Option<Summary>| summary.map_or("none".to_owned(), |summary| self.unit.show(summary));
        let bounds = |pick: fn(&Bound) -> f64| match self.bound {
            Some(bound) if bound.is_ratio => format!("{} x", pick(&bound)),
            Some(bound) => format!("{} {}", pick(&bound), self.unit.sign()).trim_end().to_owned(),
            None => String::new(),
        };
        [
            format!("`{}` {}", self.name, self.what),
            number(self.ours),
            self.floor
                .as_ref()
                .map_or(String::new(), |(what, floor)| format!("{} {what}", number(*floor))),
            // Where a row is already net of its floor, or far from it in kind, the ratio says nothing.
            self.ratio()
                .filter(|_| self.bound.is_none_or(|bound| bound.is_ratio))
                .map_or(String::new(), |ratio| format!("{ratio:.2} x")),
            bounds(|bound| bound.bar),
            bounds(|bound| bound.aim),
            match self.met() {
                Some((true, true)) => "yes, the aim too",
                Some((true, false)) => "yes",
                Some((false, _)) => "no",
                None => "",
            }
            .to_owned(),
        ]
    }
}

impl Unit {
    fn sign(self) -> &'static str {
        match self {
            Unit::Milliseconds => "ms",
            Unit::Mebibytes => "MiB",
            Unit::Percent => "% of a core",
            Unit::Count => "",
        }
    }

    /// `12.3 ms (11.8–14.0)`
    fn show(self, summary: Summary) -> String {
        // Three digits that mean something.
        let digits = if summary.median >= 100.0 {
            0
        } else if summary.median >= 10.0 {
            1
        } else {
            2
        };
        let Summary {
            median,
            p10,
            p90,
            count,
        } = summary;
        match count {
            _ if self == Unit::Count => format!("{median:.0}"),
            1 => format!("{median:.digits$} {}", self.sign()),
            _ => format!("{median:.digits$} {} ({p10:.digits$}–{p90:.digits$})", self.sign()),
        }
    }
}

impl Report {
    /// Without rows yet.
    pub(crate) fn of_this_machine(stage: &Stage) -> Result<Self> {
        let said = |program: &str, args: &[&str]| -> Result<String> {
            Ok(Run::new(program, stage.world.root())
                .args(args)
                .text()?
                .trim()
                .to_owned())
        };
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        // That the second part of a run measures what the first has built says nothing.
        let second = crate::alone::inside().is_some();
        let args = std::env::args().skip(1);
        let args: Vec<String> = args.filter(|arg| !(second && arg == "--no-build")).collect();
        Ok(Self {
            rows: Vec::new(),
            machine: Machine {
                cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
                processor: model.map_or("unknown".to_owned(), |(_, model)| model.to_owned()),
                kernel: format!("{} {}", said("uname", &["-s"])?, said("uname", &["-r"])?),
                file_system: said("stat", &["-f", "-c", "%T", "."])?,
                git: said("git", &["--version"])?
                    .trim_start_matches("git version ")
                    .to_owned(),
                tmux: said("tmux", &["-V"])?.trim_start_matches("tmux ").to_owned(),
            },
            command: format!("cargo xtask {}", args.join(" ")),
        })
    }

    /// The table of Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| what | fleet | floor | ratio | bar | aim | met |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.cells().join(" | "));
        }
        text
    }

    /// The page; `present` is the one that it replaces, whose notes it keeps.
    pub(crate) fn page(&self, present: &str) -> String {
        let notes = present.split_once(NOTES).map_or("\n", |(_, notes)| notes);
        let Machine {
            cores,
            processor,
            kernel,
            file_system,
            git,
            tmux,
        } = &self.machine;
        format!(
            "# Benchmarks\n\n\
             Made by `{}`. Each row stands beside its floor, what one would do without fleet, measured in the same run\n\
             and in turns with it, so that both see the same machine. A number is a median, in parentheses what one in\n\
             ten is below and one in ten above. Rows with a ratio decide by the ratio of the medians; the others by\n\
             their own value. Every round starts from a clean repository; both tmux servers already run.\n\n\
             {}\n\
             Measured on: {cores} cores, {processor}; {kernel}; {file_system}; git {git}; tmux {tmux}.\n\n\
             {NOTES}{notes}",
            self.command,
            self.table(),
        )
    }

    /// Everything, for programs.
    pub(crate) fn json(&self) -> String {
        let row = |row: &Row| {
            let floor = row
                .floor
                .as_ref()
                .map(|(what, summary)| json!({ "what": what, "numbers": summary }));
            json!({
                "name": row.name, "what": row.what, "unit": row.unit, "ours": row.ours, "floor": floor,
                "ratio": row.ratio(), "bound": row.bound, "met": row.met().map(|met| met.0),
                "aim_met": row.met().map(|met| met.1),
            })
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        let report = json!({ "command": self.command, "machine": self.machine, "rows": rows });
        format!("{report:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: Vec<Row>) -> Report {
        let machine = Machine {
            cores: 2,
            processor: "p".into(),
            kernel: "k".into(),
            file_system: "f".into(),
            git: "g".into(),
            tmux: "t".into(),
        };
        Report {
            rows,
            machine,
            command: "cargo xtask bench".into(),
        }
    }

    fn row(ours: &[f64], floor: &[f64], bound: Bound) -> Row {
        Row::times("x", "what", &Sample::of(ours.iter().copied()))
            .floor("git", &Sample::of(floor.iter().copied()))
            .bound(bound)
    }

    #[test]
    fn a_ratio_or_the_value_itself_decides() {
        assert_eq!(row(&[15.0], &[10.0], Bound::ratio(1.5, 1.3)).met(), Some((true, false)));
        assert_eq!(
            row(&[16.0], &[10.0], Bound::ratio(1.5, 1.3)).met(),
            Some((false, false))
        );
        assert_eq!(
            row(&[3.0], &[1.0], Bound::absolute(10.0, 3.0)).met(),
            Some((true, true))
        );
        assert_eq!(row(&[3.0], &[], Bound::ratio(9.0, 9.0)).met(), None);
    }

    #[test]
    fn a_line_has_ours_the_floor_and_the_verdict() {
        let table = report(vec![row(&[12.0, 12.0, 15.0], &[10.0], Bound::ratio(1.5, 1.1))]).table();
        let line = table.lines().nth(2).unwrap();
        assert_eq!(
            line,
            "| `x` what | 12.0 ms (12.0–14.4) | 10.0 ms git | 1.20 x | 1.5 x | 1.1 x | yes |"
        );
    }

    #[test]
    fn the_page_keeps_what_was_written_by_hand() {
        let report = report(Vec::new());
        let first = report.page("");
        let edited = format!("{first}\n## Why\n\nBecause.\n");
        assert_eq!(report.page(&edited), edited);
    }

    #[test]
    fn json_has_every_number() {
        let report = report(vec![row(&[2.0], &[1.0], Bound::ratio(1.5, 1.1))]);
        let value: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(value["rows"][0]["ratio"], 2.0);
        assert_eq!(value["rows"][0]["floor"]["numbers"]["median"], 1.0);
        assert_eq!(value["rows"][0]["met"], false);
    }
}
