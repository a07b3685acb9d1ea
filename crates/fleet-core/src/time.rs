//! Wall-clock time as it is stored and shown: milliseconds since 1970, RFC 3339 in UTC outside.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// Milliseconds from `earlier` to this moment; 0 when the clock went back.
    pub fn since(self, earlier: Time) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// The date in UTC, `2026-11-21`.
    pub fn date(self) -> String {
        self.stamp().strftime("%Y-%m-%d").to_string()
    }

    /// So many days before it.
    #[must_use]
    pub fn days_before(self, days: u32) -> Time {
        Time(self.0.saturating_sub(i64::from(days) * 86_400_000))
    }

    /// The moment in UTC as a part of a file's name, `20261121-015913`.
    pub fn compact(self) -> String {
        self.stamp().strftime("%Y%m%d-%H%M%S").to_string()
    }

    /// The day in UTC.
    pub fn day(self) -> jiff::civil::Date {
        self.stamp().to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    fn stamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or_default()
    }
}

impl std::fmt::Display for Time {
    /// `2026-11-21T01:59:13Z`; the milliseconds are stored but not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.stamp().strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let stamp: jiff::Timestamp = text.parse().map_err(|_| format!("`{text}` is not an RFC 3339 time"))?;
        Ok(Time(stamp.as_millisecond()))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A length of time for people: `4s`, `3m`, `2h 5m`, `6d 3h`.
pub fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        let time: Time = "2025-05-31T23:05:00Z".parse().expect("a time");
        assert_eq!(time.to_string(), "2025-05-31T23:05:00Z");
        assert_eq!(time.date(), "2025-05-31");
        assert_eq!(time.compact(), "20250531-230500");
    }

    #[test]
    fn ages_are_short() {
        assert_eq!(age(4_900), "4s");
        assert_eq!(age(185_000), "3m");
        assert_eq!(age(7_500_000), "2h 5m");
        assert_eq!(age(540_000_000), "6d 6h");
    }
}
