//! A command line, taken apart flag by flag.

use crate::{Failure, Result};

/// What is left of the command line.
#[derive(Debug)]
pub(crate) struct Args(Vec<String>);

impl Args {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        Self(words.collect())
    }

    pub(crate) fn asks_for_help(&self) -> bool {
        self.0.iter().any(|word| word == "--help" || word == "-h")
    }

    /// Takes the flag `name`; true if it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// Takes `name VALUE` or `name=VALUE`.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>> {
        let glued = format!("{name}=");
        let Some(at) = self.0.iter().position(|word| word == name || word.starts_with(&glued)) else {
            return Ok(None);
        };
        let word = self.0.remove(at);
        if let Some(value) = word.strip_prefix(&glued) {
            return Ok(Some(value.to_owned()));
        }
        if self.0.get(at).is_none_or(|value| value.starts_with('-')) {
            return Err(Failure::Usage(format!("`{name}` needs a value")));
        }
        Ok(Some(self.0.remove(at)))
    }

    /// The rest, in which no flag may be left.
    pub(crate) fn words(self) -> Result<Vec<String>> {
        match self.0.iter().find(|word| word.starts_with('-')) {
            Some(word) => Err(Failure::Usage(format!("`{word}` is not known"))),
            None => Ok(self.0),
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<()> {
        match self.words()?.first() {
            Some(word) => Err(Failure::Usage(format!("`{word}` is not expected"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args::new(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn flags_values_and_words_come_in_any_order() {
        let mut args = args(&["one", "--repo", "/r", "--keep", "--harness=x", "two"]);
        assert!(args.flag("--keep") && !args.flag("--keep"));
        assert_eq!(args.value("--repo").unwrap().as_deref(), Some("/r"));
        assert_eq!(args.value("--harness").unwrap().as_deref(), Some("x"));
        assert_eq!(args.value("--none").unwrap(), None);
        assert_eq!(args.words().unwrap(), ["one", "two"]);
    }

    #[test]
    fn what_is_left_over_is_an_error_that_names_it() {
        assert_eq!(
            args(&["--typo"]).end(),
            Err(Failure::Usage("`--typo` is not known".into()))
        );
        assert_eq!(
            args(&["extra"]).end(),
            Err(Failure::Usage("`extra` is not expected".into()))
        );
        assert_eq!(
            args(&["--repo", "--keep"]).value("--repo"),
            Err(Failure::Usage("`--repo` needs a value".into()))
        );
    }
}
