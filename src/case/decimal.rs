use std::cmp::Ordering;
use std::fmt;

/// An exact decimal of at most 18 digits: `value × 10^-scale`, without zeros at its end.
///
/// What conditions compare: it is copied, not allocated. Numbers of any size, as JSON may hold
/// them, are the mapping's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    value: i64,
    scale: u32,
}

/// LIMIT: two of these compare within 128 bits.
const DIGITS_MAX: usize = 18;

impl Decimal {
    /// Reads `8`, `-0.50`, `1234.5`; no exponent, no digit missing on either side of the point.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        if whole.len() + fraction.len() > DIGITS_MAX {
            return None;
        }
        let value: i64 = format!("0{whole}{fraction}").parse().ok()?;
        let value = if unsigned.len() < text.len() { -value } else { value };
        Some(Self { value, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// Nothing when it has too many digits.
    pub fn thousandths(value: i64) -> Option<Self> {
        let (sign, digits) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
        Self::parse(&format!("{sign}{}.{:03}", digits / 1000, digits % 1000))
    }

    fn at_scale(self, scale: u32) -> i128 {
        i128::from(self.value) * i128::from(10_i64.pow(scale))
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self { value, scale: 0 }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.value.cmp(&other.value);
        }
        self.at_scale(other.scale).cmp(&other.at_scale(self.scale))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The shortest way to write it.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.value < 0 { "-" } else { "" };
        let scale = usize::try_from(self.scale).unwrap_or(0);
        let digits = format!("{:0width$}", self.value.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at_checked(digits.len() - scale).unwrap_or_default();
        let point = if scale == 0 { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_compared_and_written_exactly() {
        let ascending = [
            "-999999999999999999",
            "-10.5",
            "-2",
            "-0.000000000000000001",
            "0",
            "0.1",
            "0.3",
            "0.300000000000000001",
            "4",
            "8.9",
            "9007199254740993",
            "999999999999999999",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                let (x, y) = (Decimal::parse(a).unwrap(), Decimal::parse(b).unwrap());
                assert_eq!(x.cmp(&y), i.cmp(&j), "{a} {b}");
                assert_eq!(x == y, i == j, "{a} {b}");
            }
            assert_eq!(Decimal::parse(a).unwrap().to_string(), *a);
        }
        assert_eq!(Decimal::parse("0004.500"), Decimal::parse("4.5"));
        assert_eq!(Decimal::parse("-0.0"), Decimal::parse("0"));
        assert!(Decimal::from(i64::MIN) < Decimal::parse("-999999999999999999").unwrap());
        assert!(Decimal::from(i64::MAX) > Decimal::parse("0.000000000000000001").unwrap());
        for bad in ["", "-", "x", "1.", ".5", "1e3", "--1", "+1", "1 ", "1234567890123456789"] {
            assert_eq!(Decimal::parse(bad), None, "{bad}");
        }
    }
}
