use crate::case::Millis;
use crate::text::{Node, Problems};

use super::read::one_or_more;

/// When something may be done, in UTC: `mon-fri 08:00-18:00`, or the times alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hours {
    /// As it is written.
    pub text: String,
    /// From Monday.
    days: [bool; 7],
    from_minute: i64,
    to_minute: i64,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_A_DAY: i64 = 24 * 60;
/// 1970-01-01 was a Thursday.
const EPOCH_DAY: i64 = 3;

impl Hours {
    pub fn parse(text: &str) -> Option<Self> {
        let (days, times) = match text.split_once(' ') {
            Some((days, times)) => (days_of(days)?, times),
            None => ([true; 7], text),
        };
        let (from, to) = times.split_once('-')?;
        let (from_minute, to_minute) = (minute_of(from)?, minute_of(to)?);
        let is_range = from_minute != to_minute && from_minute < MINUTES_A_DAY;
        is_range.then(|| Self { text: text.to_owned(), days, from_minute, to_minute })
    }

    /// The first minute is in, the last is out. What ends before it begins goes on past midnight
    /// and belongs to the day on which it began.
    pub fn hold_at(&self, now: Millis) -> bool {
        let minutes = now.0.div_euclid(60_000);
        let (day, minute) = (minutes.div_euclid(MINUTES_A_DAY), minutes.rem_euclid(MINUTES_A_DAY));
        let is_on = |day: i64| {
            let index = usize::try_from((day + EPOCH_DAY).rem_euclid(7)).unwrap_or_default();
            self.days.get(index).copied().unwrap_or(false)
        };
        if self.from_minute < self.to_minute {
            return is_on(day) && (self.from_minute..self.to_minute).contains(&minute);
        }
        (is_on(day) && minute >= self.from_minute) || (is_on(day - 1) && minute < self.to_minute)
    }
}

/// `mon-fri`, `fri-mon` or one day.
fn days_of(text: &str) -> Option<[bool; 7]> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let place = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = (place(first)?, place(last)?);
    let mut days = [false; 7];
    for (index, day) in days.iter_mut().enumerate() {
        *day = (index + 7 - first) % 7 <= (last + 7 - first) % 7;
    }
    Some(days)
}

fn minute_of(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|_| is_plain)
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let fits = (hour < 24 && minute < 60) || (hour, minute) == (24, 0);
    fits.then_some(hour * 60 + minute)
}

/// One text or a list: each must hold.
pub(super) fn hours(node: &Node, problems: &mut Problems) -> Vec<Hours> {
    let mut found = Vec::new();
    for item in one_or_more(node, "the list of `hours`", problems) {
        match item.text().and_then(Hours::parse) {
            Some(hours) => found.push(hours),
            None => {
                problems.add(&item.at, "`hours` must be like `mon-fri 08:00-18:00` (UTC)");
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_of_their_days_and_go_past_midnight() {
        // 2026-01-01 is a Thursday.
        for (text, time, expected) in [
            ("08:00-18:00", "2026-01-01T08:00:00Z", true),
            ("08:00-18:00", "2026-01-01T07:59:59Z", false),
            ("08:00-18:00", "2026-01-01T18:00:00Z", false),
            ("mon-fri 08:00-18:00", "2026-01-02T12:00:00Z", true),
            ("mon-fri 08:00-18:00", "2026-01-03T12:00:00Z", false),
            ("08:30-18:45", "2026-01-01T08:29:59Z", false),
            ("08:30-18:45", "2026-01-01T08:30:00Z", true),
            ("08:30-18:45", "2026-01-01T18:44:59Z", true),
            ("08:30-18:45", "2026-01-01T18:45:00Z", false),
            ("thu 00:00-24:00", "2026-01-01T23:59:59Z", true),
            ("thu 00:00-24:00", "2026-01-02T00:00:00Z", false),
            ("sat-mon 08:00-18:00", "2026-01-05T09:00:00Z", true),
            ("sat-mon 08:00-18:00", "2026-01-06T09:00:00Z", false),
            ("fri 22:00-06:00", "2026-01-03T05:59:00Z", true),
            ("fri 22:00-06:00", "2026-01-03T06:00:00Z", false),
            ("fri 22:00-06:00", "2026-01-02T05:59:00Z", false),
            ("fri 22:00-06:00", "2026-01-02T22:00:00Z", true),
            ("wed 08:00-18:00", "1969-12-31T09:00:00Z", true),
        ] {
            let hours = Hours::parse(text).unwrap();
            assert_eq!(hours.hold_at(Millis::parse(time).unwrap()), expected, "{text} {time}");
        }
    }

    #[test]
    fn what_is_no_hours_is_none() {
        for text in
            ["", "8-18", "8:00-18:00", "08:00", "25:00-26:00", "mo 08:00-18:00", "08:60-09:00"]
        {
            assert_eq!(Hours::parse(text), None, "{text}");
        }
        for text in ["08:00-09:60", "08:61-10:00", "08:00-24:01", "08:00-25:00", "08:00-24:60"] {
            assert_eq!(Hours::parse(text), None, "{text}");
        }
        for text in ["08:00-08:00", "24:00-08:00", "mon-fri", "mon-fri  08:00-18:00", "+8:00-18:00"]
        {
            assert_eq!(Hours::parse(text), None, "{text}");
        }
    }
}
