//! What a review says: one line `verdict: lgtm`, `verdict: iterate` or `verdict: escalate`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a review came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is accepted.
    Lgtm,
    /// Another round.
    Iterate,
    /// A person has to look.
    Escalate,
    /// There is no review.
    Missing,
    /// There is a review, and no verdict in it, or more than one.
    Unclear,
}

impl Said {
    /// As it is stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Said::Lgtm => "lgtm",
            Said::Iterate => "iterate",
            Said::Escalate => "escalate",
            Said::Missing => "missing",
            Said::Unclear => "unclear",
        }
    }

    /// Whether it is one of the three words.
    pub const fn is_clear(self) -> bool {
        matches!(self, Said::Lgtm | Said::Iterate | Said::Escalate)
    }
}

/// The verdict in the text of a review; none for no text.
///
/// A line counts that holds nothing else, apart from the marks that Markdown puts around it. The same verdict twice is
/// one; two that differ are none.
pub fn read(review: Option<&str>) -> Said {
    let Some(review) = review else { return Said::Missing };
    let mut said = review.lines().filter_map(line);
    match (said.next(), said.next()) {
        (Some(first), second) if second.is_none_or(|second| second == first) && said.all(|each| each == first) => first,
        _ => Said::Unclear,
    }
}

fn line(line: &str) -> Option<Said> {
    let marks = |c: char| c.is_whitespace() || "*_`#>-".contains(c);
    let lower = line.trim_matches(marks).to_ascii_lowercase();
    let (key, word) = lower.split_once(':')?;
    if key.trim_matches(marks) != "verdict" {
        return None;
    }
    match word.trim_matches(marks).trim_end_matches('.') {
        "lgtm" => Some(Said::Lgtm),
        "iterate" => Some(Said::Iterate),
        "escalate" => Some(Said::Escalate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_decides() {
        for (review, said) in [
            ("verdict: lgtm", Said::Lgtm),
            ("# Review\n\nVerdict: ITERATE\n\n- fix it", Said::Iterate),
            ("**verdict: escalate**\n", Said::Escalate),
            ("- `verdict: lgtm`\r\n", Said::Lgtm),
            ("**Verdict:** iterate.", Said::Iterate),
            ("verdict: lgtm\nverdict: lgtm", Said::Lgtm),
            ("verdict: lgtm\nverdict: iterate", Said::Unclear),
            ("verdict: lgtm\nverdict: lgtm\nverdict: iterate", Said::Unclear),
            ("my verdict: lgtm", Said::Unclear),
            ("verdict: lgtm or iterate", Said::Unclear),
            ("looks good to me", Said::Unclear),
            ("", Said::Unclear),
        ] {
            assert_eq!(read(Some(review)), said, "{review:?}");
        }
        assert_eq!(read(None), Said::Missing);
    }
}
