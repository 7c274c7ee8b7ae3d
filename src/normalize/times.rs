use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveTime};

use crate::case::Millis;

/// How a detector writes a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    Rfc3339,
    EpochMs,
    EpochS,
    Rfc1123,
    /// In chrono's `%` notation; without a zone it is UTC, without a time of day midnight.
    Pattern(Vec<Item<'static>>),
}

impl TimeFormat {
    /// Errors: the words that are known.
    pub(super) fn named(name: &str) -> Result<Self, &'static str> {
        match name {
            "rfc3339" => Ok(Self::Rfc3339),
            "epoch_ms" => Ok(Self::EpochMs),
            "epoch_s" => Ok(Self::EpochS),
            "rfc1123" => Ok(Self::Rfc1123),
            pattern => {
                let items = StrftimeItems::new(pattern).parse_to_owned();
                items.ok().filter(|_| pattern.contains('%')).map(Self::Pattern).ok_or(
                    "a time format is `rfc3339`, `epoch_ms`, `epoch_s`, `rfc1123` or a pattern \
                     like `%Y-%m-%d %H:%M:%S`",
                )
            }
        }
    }

    /// Nothing when it is no such time, or one that detectors write for "none": the year 1, the
    /// epoch.
    pub(super) fn read(&self, text: &str) -> Option<Millis> {
        let text = text.trim();
        let time = match self {
            Self::Rfc3339 => Millis::parse(text)?,
            Self::EpochMs => Millis(text.parse().ok()?),
            Self::EpochS => epoch_seconds(text)?,
            Self::Rfc1123 => Millis(DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis()),
            Self::Pattern(items) => Millis(by_pattern(text, items)?),
        };
        (1..=Millis::LAST.0).contains(&time.0).then_some(time)
    }
}

fn epoch_seconds(text: &str) -> Option<Millis> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    let milliseconds = seconds.parse::<i64>().ok()?.checked_mul(1000)?;
    milliseconds.checked_add(thousandths.parse().ok()?).map(Millis)
}

fn by_pattern(text: &str, pattern: &[Item<'static>]) -> Option<i64> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, pattern.iter()).ok()?;
    if let Ok(time) = parsed.to_datetime() {
        return Some(time.timestamp_millis());
    }
    let naive = parsed.to_naive_datetime_with_offset(0).ok().or_else(|| {
        let date = parsed.to_naive_date().ok()?;
        Some(date.and_time(NaiveTime::MIN))
    });
    naive.map(|time| time.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> Option<String> {
        TimeFormat::named(format).unwrap().read(text).map(|time| time.to_string())
    }

    #[test]
    fn times_in_the_wild_are_read() {
        for (format, text, expected) in [
            ("rfc3339", "2021-04-19T22:42:05+03:00", "2021-04-19T19:42:05.000Z"),
            ("rfc3339", "2200-01-17T00:00:00.1234567Z", "2200-01-17T00:00:00.123Z"),
            ("epoch_ms", "1655424000123", "2022-06-17T00:00:00.123Z"),
            ("epoch_s", "1655424000", "2022-06-17T00:00:00.000Z"),
            ("epoch_s", "1655424000.5", "2022-06-17T00:00:00.500Z"),
            ("rfc1123", "Fri, 17 Jun 2022 00:00:00 GMT", "2022-06-17T00:00:00.000Z"),
            ("%Y-%m-%d %H:%M:%S%.f", "2022-06-22 18:18:29.015", "2022-06-22T18:18:29.015Z"),
            (
                "%a %b %d %H:%M:%S %Y %z",
                "Sat Mar 13 17:42:00 2021 +0530",
                "2021-03-13T12:12:00.000Z",
            ),
            ("%m-%d-%Y", "10-19-2003", "2003-10-19T00:00:00.000Z"),
        ] {
            assert_eq!(read(format, text).as_deref(), Some(expected), "{format} {text}");
        }
    }

    #[test]
    fn no_time_is_no_time() {
        for (format, text) in [
            ("rfc3339", "0001-01-01T00:00:00Z"),
            ("rfc3339", "1970-01-01T00:00:00Z"),
            ("rfc3339", "redacted"),
            ("rfc3339", ""),
            ("epoch_ms", "9223372036854775807"),
            ("epoch_s", "9223372036854775807"),
            ("epoch_s", "1.x"),
            ("%m-%d-%Y", "13-40-2003"),
        ] {
            assert_eq!(read(format, text), None, "{format} {text}");
        }
        assert!(TimeFormat::named("iso").is_err() && TimeFormat::named("%Q").is_err());
    }
}
