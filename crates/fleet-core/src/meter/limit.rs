//! What a service says of its own limits: in headers, and in the body of a refusal.

use crate::Time;

/// A limit of the service, as its headers tell it with a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// What is limited, such as `requests` or `input-tokens`.
    pub name: String,
    /// How much may be used in all, where it is told.
    pub limit: Option<u64>,
    /// How much is left, where it is told.
    pub remaining: Option<u64>,
    /// When all of it is there again, where it is told.
    pub resets: Option<Time>,
}

/// The service refuses because a limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Until when; none where the service does not say.
    pub until: Option<Time>,
}

/// A time to wait, as a body tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Milliseconds from now on.
    For(i64),
    /// A moment.
    Until(Time),
}

/// The latest moment that is believed: what lies further ahead is no reset of a limit.
const FURTHEST_MS: i64 = 366 * 24 * 3600 * 1000;

const ANTHROPIC: &str = "anthropic-ratelimit-";
const OPENAI: &str = "x-ratelimit-";
/// What the two limit.
const NAMES: [&str; 6] = [
    "requests",
    "tokens",
    "input-tokens",
    "output-tokens",
    "unified-5h",
    "unified-7d",
];

/// The limits that the headers of a reply tell. `header` gives a header's value by its name in lower case.
pub fn windows<'a>(header: &dyn Fn(&str) -> Option<&'a str>, now: Time) -> Vec<Window> {
    let mut all = Vec::new();
    for name in NAMES {
        let anthropic = |what: &str| header(&format!("{ANTHROPIC}{name}-{what}"));
        let openai = |what: &str| header(&format!("{OPENAI}{what}-{name}"));
        let field = |what: &str| anthropic(what).or_else(|| openai(what)).map(str::trim);
        let number = |what: &str| field(what).and_then(|text| text.parse().ok());
        let window = Window {
            name: name.to_owned(),
            limit: number("limit"),
            remaining: number("remaining"),
            resets: field("reset").and_then(|text| moment(text, now)),
        };
        if window.limit.is_some() || window.remaining.is_some() || window.resets.is_some() {
            all.push(window);
        }
    }
    all
}

/// Whether a reply with this status is the refusal of a limit, and until when.
pub fn limited<'a>(
    status: u16,
    header: &dyn Fn(&str) -> Option<&'a str>,
    wait: Option<Time>,
    now: Time,
) -> Option<Limited> {
    if status != 429 {
        return None;
    }
    let unified = || header("anthropic-ratelimit-unified-reset").and_then(|text| moment(text, now));
    let millis = || {
        let millis: i64 = header("retry-after-ms")?.trim().parse().ok()?;
        later(now, millis)
    };
    let after = || header("retry-after").and_then(|text| retry_after(text.trim(), now));
    let used_up = || {
        let all = windows(header, now).into_iter();
        all.filter(|window| window.remaining == Some(0))
            .filter_map(|window| window.resets)
            .max()
    };
    Some(Limited {
        until: unified().or(wait).or_else(millis).or_else(after).or_else(used_up),
    })
}

impl Wait {
    /// What a field of a refusal's body tells: Gemini's `RetryInfo`, and what ChatGPT's service tells Codex.
    pub(super) fn of(path: &str, value: super::Found<'_>) -> Option<Wait> {
        match (path.strip_prefix("*/").unwrap_or(path), value) {
            ("error/details/*/retryDelay", super::Found::Text(text, _)) => span(text).map(Wait::For),
            ("error/resets_in_seconds", super::Found::Number(seconds)) => {
                i64::try_from(seconds).ok()?.checked_mul(1000).map(Wait::For)
            }
            ("error/resets_at", super::Found::Number(seconds)) => i64::try_from(seconds)
                .ok()?
                .checked_mul(1000)
                .map(|at| Wait::Until(Time(at))),
            _ => None,
        }
    }

    pub(super) fn until(self, now: Time) -> Option<Time> {
        match self {
            Wait::For(millis) => later(now, millis),
            Wait::Until(at) => near(at, now),
        }
    }
}

/// A moment as one of the services writes it: RFC 3339, seconds since 1970, or a time from now such as `6m0s`.
fn moment(text: &str, now: Time) -> Option<Time> {
    let seconds = || text.parse::<i64>().ok().filter(|seconds| *seconds > 1_000_000_000);
    let exact = text.parse().ok().or_else(|| Some(Time(seconds()?.checked_mul(1000)?)));
    match exact {
        Some(at) => near(at, now),
        None => later(now, span(text)?),
    }
}

/// `retry-after` of RFC 9110: seconds, or a date.
fn retry_after(text: &str, now: Time) -> Option<Time> {
    if let Ok(seconds) = text.parse::<f64>() {
        return later(now, (seconds * 1000.0).ceil() as i64);
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    near(Time(at.timestamp().as_millisecond()), now)
}

/// Milliseconds of a length of time such as `20ms`, `34.07s` or `1h6m0s`.
fn span(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut millis = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, behind) = rest.split_at(end);
        let unit = behind
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let each = match unit {
            "ms" => 1.0,
            "s" => 1000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        };
        millis += number.parse::<f64>().ok()? * each;
        rest = behind;
    }
    Some(f64::ceil(millis) as i64)
}

fn later(now: Time, millis: i64) -> Option<Time> {
    near(Time(now.0.checked_add(millis)?), now)
}

fn near(at: Time, now: Time) -> Option<Time> {
    let ahead = at.0.checked_sub(now.0)?;
    (ahead <= FURTHEST_MS).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_795_000_000_000);

    fn until(headers: &[(&str, &str)]) -> Option<i64> {
        let header = |name: &str| headers.iter().find(|(each, _)| *each == name).map(|(_, value)| *value);
        let limited = limited(429, &header, None, NOW).expect("a limit");
        limited.until.map(|until| until.0 - NOW.0)
    }

    #[test]
    fn a_refusal_says_until_when_in_the_words_of_each_service() {
        let soon = Time(NOW.0 + 90_000).to_string();
        let unix = ((NOW.0 + 7_200_000) / 1000).to_string();
        for (headers, ahead) in [
            (vec![("retry-after", "12")], Some(12_000)),
            (vec![("retry-after-ms", "1500"), ("retry-after", "2")], Some(1500)),
            (
                vec![
                    ("anthropic-ratelimit-unified-reset", unix.as_str()),
                    ("retry-after", "5"),
                ],
                Some(7_200_000),
            ),
            (
                vec![
                    ("anthropic-ratelimit-tokens-remaining", "0"),
                    ("anthropic-ratelimit-tokens-reset", soon.as_str()),
                    ("anthropic-ratelimit-requests-remaining", "7"),
                ],
                Some(90_000),
            ),
            (
                vec![
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "6m0s"),
                ],
                Some(360_000),
            ),
            (
                vec![
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "20ms"),
                ],
                Some(20),
            ),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "1e300")], None),
            (vec![], None),
        ] {
            assert_eq!(until(&headers), ahead, "{headers:?}");
        }
        let date = jiff::Timestamp::from_millisecond(NOW.0 + 60_000).expect("a time");
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert_eq!(until(&[("retry-after", &date)]), Some(60_000), "{date}");
    }

    #[test]
    fn only_a_429_is_a_limit() {
        assert_eq!(limited(529, &|_| Some("5"), None, NOW), None);
    }

    #[test]
    fn what_is_told_with_a_good_reply_is_read_too() {
        let header = |name: &str| match name {
            "anthropic-ratelimit-requests-limit" => Some("50"),
            "anthropic-ratelimit-requests-remaining" => Some("49"),
            _ => None,
        };
        let window = Window {
            name: "requests".to_owned(),
            limit: Some(50),
            remaining: Some(49),
            resets: None,
        };
        assert_eq!(windows(&header, NOW), [window]);
    }

    #[test]
    fn lengths_of_time_are_read_as_they_are_written() {
        for (text, millis) in [
            ("34.07s", Some(34_070)),
            ("1h6m0s", Some(3_960_000)),
            ("s", None),
            ("12", None),
            ("", None),
            ("1x", None),
        ] {
            assert_eq!(span(text), millis, "{text}");
        }
    }
}
