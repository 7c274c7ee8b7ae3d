use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

/// A moment: milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 with three digits and
/// `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

const DAY_MS: i64 = 86_400_000;

impl Millis {
    /// 9999-12-31T23:59:59.999Z: the last time that is written with four digits of year.
    pub const LAST: Self = Self(253_402_300_799_999);

    /// Not after [`Self::LAST`]: what is written later can't be read.
    pub fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds).min(Self::LAST.0))
    }

    /// Milliseconds from `earlier` to `self`; negative when `earlier` is later.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 with a zone and up to nine digits of fraction; finer than milliseconds is
    /// cut.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let digits = |from: usize, to: usize| -> Option<i64> {
            let mut number = 0_i64;
            for byte in bytes.get(from..to)? {
                number = number * 10 + i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
            }
            Some(number)
        };
        let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
        let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
        let in_range = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        if !in_range {
            return None;
        }
        let mut at = 19;
        let mut fraction_ms = 0;
        if is(at, b".") {
            let end = (at + 1..bytes.len()).find(|i| !is(*i, b"0123456789")).unwrap_or(bytes.len());
            if end == at + 1 || end > at + 10 {
                return None;
            }
            let kept = (end - at - 1).min(3);
            let scale = [1000, 100, 10, 1].get(kept).copied()?;
            fraction_ms = digits(at + 1, at + 1 + kept)? * scale;
            at = end;
        }
        let offset_minutes = match bytes.get(at)? {
            b'Z' | b'z' if bytes.len() == at + 1 => 0,
            sign @ (b'+' | b'-') if bytes.len() == at + 6 && is(at + 3, b":") => {
                let (hours, minutes) = (digits(at + 1, at + 3)?, digits(at + 4, at + 6)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
            }
            _ => return None,
        };
        let seconds = (hour * 60 + minute - offset_minutes) * 60 + second;
        Some(Self(days_from_civil(year, month, day) * DAY_MS + seconds * 1000 + fraction_ms))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        let ms = ms % 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl Millis {
    /// The same text as `Display`, without its machinery: every record has several times. Nothing
    /// for years of another length.
    fn digits(self) -> Option<[u8; 24]> {
        fn put(text: &mut [u8], mut number: u64) {
            for digit in text.iter_mut().rev() {
                *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        }
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        if !(0..10_000).contains(&year) {
            return None;
        }
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (from, to, number) in [
            (0, 4, year),
            (5, 7, month),
            (8, 10, day),
            (11, 13, ms / 3_600_000),
            (14, 16, ms / 60_000 % 60),
            (17, 19, ms / 1000 % 60),
            (20, 23, ms % 1000),
        ] {
            put(text.get_mut(from..to)?, u64::try_from(number).ok()?);
        }
        Some(text)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.digits().as_ref().and_then(|text| std::str::from_utf8(text).ok()) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

/// A text that is borrowed where it can be: `Cow` alone always copies.
#[derive(serde::Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        Millis::parse(&text).ok_or_else(|| D::Error::custom("not an RFC 3339 time"))
    }
}

/// Reads `90s`, `15m`, `6h`, `30d`, `250ms` as milliseconds; only whole positive numbers.
pub fn parse_duration(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(scale)
}

/// The shortest way to write a duration that `parse_duration` reads back.
pub fn duration_text(milliseconds: i64) -> String {
    for (scale, unit) in [(DAY_MS, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if milliseconds != 0 && milliseconds % scale == 0 {
            return format!("{}{unit}", milliseconds / scale);
        }
    }
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_alike() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2026-11-23T06:30:42.125Z", 1_795_415_442_125),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(Millis::parse(text), Some(Millis(ms)), "{text}");
            assert_eq!(Millis(ms).to_string(), text);
            assert_eq!(serde_json::to_string(&Millis(ms)).unwrap(), format!("\"{text}\""));
        }
        for far in [i64::MIN / 2, i64::MAX / 2, -62_167_219_200_001, 253_402_300_800_000] {
            let text = serde_json::to_string(&Millis(far)).unwrap();
            assert_eq!(text, format!("\"{}\"", Millis(far)));
        }
        assert_eq!(
            Millis::parse("2021-03-13T17:42:00+05:30"),
            Millis::parse("2021-03-13T12:12:00Z")
        );
        for bad in
            ["2021-02-30T00:00:00Z", "2021-01-01T00:00:00", "yesterday", "2021-01-01T24:00:00Z"]
        {
            assert_eq!(Millis::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("15m"), Some(900_000));
        assert_eq!(duration_text(900_000), "15m");
        assert_eq!(duration_text(86_400_000 * 30), "30d");
        for bad in ["15", "m", "-5m", "1.5h", "5 m", "99999999999999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
