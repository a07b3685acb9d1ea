//! How thorough work is meant to be, and what follows from that: one data file, `intensity/intensities.json`.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::word::{Effort, words};

words! {
    /// How thorough work is meant to be.
    Intensity {
        /// The cheapest model that can do it, and nobody looks again.
        Quick = "quick",
        /// What the program would choose by itself.
        Standard = "standard",
        /// A strong model, and a review.
        Thorough = "thorough",
        /// The strongest model, and reviews until nothing is found, but for a few rounds.
        Exhaustive = "exhaustive",
    }
}

#[expect(clippy::derivable_impls, reason = "the words are made by a macro")]
impl Default for Intensity {
    fn default() -> Self {
        Intensity::Standard
    }
}

/// What an intensity chooses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The intensity.
    pub intensity: Intensity,
    /// In a sentence.
    pub about: String,
    /// How many rounds of review a stage that is reviewed may take.
    pub review_rounds: u32,
    /// The choice for each provider; for others the program chooses.
    pub providers: Vec<Choice>,
}

/// What an intensity chooses at one provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The provider.
    pub provider: String,
    /// Its model; none where the program chooses.
    #[serde(default)]
    pub model: Option<String>,
    /// How long it thinks; none where it takes no such word.
    #[serde(default)]
    pub effort: Option<Effort>,
}

/// Every intensity, from the least to the most thorough.
pub fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        serde_json::from_str(include_str!("intensity/intensities.json")).expect("a test reads the same file")
    })
}

impl Intensity {
    /// Every intensity, from the least to the most thorough.
    pub const ALL: &[Intensity] = &[
        Intensity::Quick,
        Intensity::Standard,
        Intensity::Thorough,
        Intensity::Exhaustive,
    ];

    /// What it chooses.
    pub fn row(self) -> &'static Row {
        &rows()[self as usize]
    }

    /// What it chooses at `provider`; none where the program chooses.
    pub fn choice(self, provider: &str) -> Option<&'static Choice> {
        self.row().providers.iter().find(|choice| choice.provider == provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::model::provider;

    #[test]
    fn every_intensity_has_its_row_and_chooses_models_that_are_known() {
        let names: Vec<Intensity> = rows().iter().map(|row| row.intensity).collect();
        assert_eq!(names, Intensity::ALL);
        for row in rows() {
            for choice in &row.providers {
                let provider = provider(&choice.provider).expect("a known provider");
                let known = |name: &String| {
                    let named =
                        |model: &crate::plan::model::Model| model.name == *name || model.alias.as_ref() == Some(name);
                    provider.models.iter().any(named)
                };
                assert!(choice.model.as_ref().is_none_or(known), "{choice:?}");
                assert!(choice.effort.is_none() || provider.effort, "{choice:?}");
            }
        }
    }

    #[test]
    fn more_thorough_is_never_fewer_reviews() {
        assert!(rows().is_sorted_by_key(|row| row.review_rounds));
    }
}
