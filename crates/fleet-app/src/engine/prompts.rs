//! What a step is told.

use std::path::Path;

use fleet_core::Result;
use fleet_core::money::Usd;
use fleet_core::plan::{Research, Shape};
use fleet_core::run::{Key, Part};
use fleet_host::supervise::prompt::check_text;

use super::{Engine, layout};

/// A step whose program was cut off goes on with its conversation by this.
const GO_ON: &str = "Your work was interrupted from outside. Go on where you stopped, to the end of your task. \
                     Do not repeat what is done already.";

/// More of a review than this is not passed on.
const LONGEST_FEEDBACK: usize = 64 * 1024;

impl Engine<'_> {
    /// The prompt of the step `key`, for which `hold` is reserved.
    pub(super) fn prompt(&self, key: Key, goes_on: bool, hold: Usd) -> Result<String> {
        let text = match (&self.plan.shape, key.part) {
            (_, Part::Measure) => String::new(),
            (_, Part::Ask) => ask(key.round),
            _ if goes_on => GO_ON.to_owned(),
            (Shape::Autoresearch(research), _) => self.program(research, key.round)?,
            (Shape::Pipeline(pipeline), _) => self.stage_prompt(pipeline, key, hold)?,
            _ => self.task(key)?,
        };
        match text.is_empty() {
            true => Ok(text),
            false => check_text(&text),
        }
    }

    fn task(&self, key: Key) -> Result<String> {
        let id = self.plan.worker_id(key.worker);
        let path = layout::worker_dir(&self.run.root, id).join("prompt.md");
        let mut text = self.read(&path)?;
        let is_reviewer = matches!(&self.plan.shape, Shape::Iterative(rounds) if rounds.reviewer == key.worker);
        if let Some(before) = self.round_before(key.round, key.part)
            && let Some(review) = layout::read_review(&self.run.root, before, &self.plan)
        {
            let about = match is_reviewer {
                true => "This is what you said in the round before. See whether it was done.",
                false => "The reviewer said this after the round before. Do what concerns your task.",
            };
            let review: String = review.chars().take(LONGEST_FEEDBACK).collect();
            text.push_str(&format!(
                "\n\n## Feedback of round {before}\n\n{about}\n\n<review>\n{}\n</review>\n",
                review.trim().replace("</review>", "< /review>")
            ));
        }
        if matches!(self.plan.shape, Shape::Iterative(_)) {
            text.push_str(&format!("\n\nThis is round {}.", key.round));
        }
        if is_reviewer {
            text.push_str(&format!(" Your review goes to `iterations/{}/review.md`.", key.round));
        }
        Ok(text)
    }

    fn program(&self, research: &Research, round: u32) -> Result<String> {
        let mut text = self.read(&self.run.root.join(&research.program))?;
        let word = research.direction.as_str();
        text.push_str(&format!("\n\n## Round {round}\n\nThe goal is to {word} the metric."));
        if let Some(best) = self.seen.best(research) {
            text.push_str(&format!(" The best so far is {best}."));
        }
        let first = round.saturating_sub(10).max(1);
        for earlier in first..round {
            let kept = self.seen.rounds.get(&earlier).and_then(|round| round.kept) == Some(true);
            let metric = self
                .seen
                .metric(earlier)
                .map_or_else(|| "not measured".to_owned(), |metric| metric.to_string());
            let word = if kept { "kept" } else { "discarded" };
            text.push_str(&format!("\n- round {earlier}: {metric}, {word}"));
        }
        text.push_str(
            "\n\nMake one change, and commit it with a message that says what it is. fleet measures afterwards with a \
             fixed command, and keeps the change if the metric is better; otherwise it is taken back. Do not change \
             how it is measured.\n",
        );
        let stuck = self.seen.rounds_without_progress();
        if research.plateau.is_some_and(|plateau| stuck >= plateau) {
            text.push_str(&format!(
                "\nThe last {stuck} rounds brought nothing. Search the web for other approaches first, and try one that \
                 differs from those above.\n"
            ));
        }
        Ok(text)
    }

    fn read(&self, path: &Path) -> Result<String> {
        if path.exists() && !path.is_file() {
            return Err(layout::no_prompt(path, &"it is no file"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| layout::no_prompt(path, &error))?;
        let root = self.run.root.to_string_lossy();
        Ok(text.replace("${FLEET_ROOT}", &root).replace("$FLEET_ROOT", &root))
    }
}

fn ask(round: u32) -> String {
    format!(
        "Your verdict is missing. Write the file `iterations/{round}/review.md` now. It must contain exactly one of the \
         lines `verdict: lgtm`, `verdict: iterate` or `verdict: escalate`, and below it what is to be fixed. Do nothing \
         else."
    )
}
