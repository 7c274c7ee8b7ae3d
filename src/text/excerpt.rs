use std::fmt;

use super::plain::plain;

/// A line of a file, made fit to be shown, and which of its characters are meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Excerpt {
    line: String,
    before: usize,
    chars: usize,
}

/// A longer line is cut around its mistake.
const WIDTH_MAX: usize = 110;
const BEFORE_MAX: usize = 70;

impl Excerpt {
    /// `column` counts from 1. Without `chars` the word or quoted text at the column is meant.
    pub(super) fn of(line: &str, column: u32, chars: Option<usize>) -> Option<Self> {
        let before = usize::try_from(column).ok()?.saturating_sub(1);
        let rest: Vec<char> = line.chars().skip(before).take(WIDTH_MAX).collect();
        let chars = chars.unwrap_or_else(|| width(&rest)).min(rest.len()).max(1);
        let cut = if before > BEFORE_MAX { before - BEFORE_MAX + 10 } else { 0 };
        let start = if cut > 0 { "…" } else { "" };
        let shown: String = line.chars().skip(cut).take(WIDTH_MAX).collect();
        let end = if line.chars().nth(cut + WIDTH_MAX).is_some() { "…" } else { "" };
        let shown = plain(&format!("{start}{shown}{end}"));
        let chars = chars.min(cut + WIDTH_MAX - before);
        let before = before - cut + usize::from(cut > 0);
        Some(Self { line: shown.trim_end().to_owned(), before, chars })
    }

    /// Without a line break at the end.
    pub(super) fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        number: u32,
        help: Option<&str>,
    ) -> fmt::Result {
        let number = number.to_string();
        let (margin, space) = (" ".repeat(number.len()), " ".repeat(self.before));
        writeln!(f, "{margin} |\n{number} | {}", self.line)?;
        write!(f, "{margin} | {space}{}", "^".repeat(self.chars))?;
        help.map_or(Ok(()), |help| write!(f, "\n{margin} = {help}"))
    }
}

/// How many characters the word or the quoted text at the start has.
fn width(rest: &[char]) -> usize {
    let Some(first) = rest.first() else { return 1 };
    if matches!(first, '"' | '\'') {
        let end = rest.iter().skip(1).position(|c| c == first);
        return end.map_or(1, |end| end + 2);
    }
    let is_word = |c: &&char| c.is_alphanumeric() || "_.-/$*@".contains(**c);
    rest.iter().take_while(is_word).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, column: u32, chars: Option<usize>) -> String {
        struct Shown(Excerpt);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(f, 12, Some("did you mean `b`?"))
            }
        }
        Shown(Excerpt::of(line, column, chars).unwrap()).to_string()
    }

    #[test]
    fn the_caret_is_as_wide_as_what_is_wrong() {
        let help = "   = did you mean `b`?";
        let lines = |line: &str, caret: &str| format!("   |\n12 | {line}\n   | {caret}\n{help}");
        assert_eq!(shown("a: bad.name == 1", 4, None), lines("a: bad.name == 1", "   ^^^^^^^^"));
        assert_eq!(shown("a: 'x y' z", 4, None), lines("a: 'x y' z", "   ^^^^^"));
        assert_eq!(shown("a: 'x y z", 4, None), lines("a: 'x y z", "   ^"));
        assert_eq!(shown("é: == 1", 4, Some(2)), lines("é: == 1", "   ^^"));
        assert_eq!(shown("a:", 3, None), lines("a:", "  ^"), "at the end");
        assert_eq!(shown("a\t\u{1b}\u{202e}b", 5, None), lines("a \u{b7}\u{b7}b", "    ^"));
        let cut = "x".repeat(WIDTH_MAX);
        let carets = format!("{}{}", " ".repeat(60), "^".repeat(WIDTH_MAX - 60));
        assert_eq!(shown(&cut.repeat(3), 61, Some(200)), lines(&format!("{cut}…"), &carets));
        let carets = format!("{}{}", " ".repeat(61), "^".repeat(WIDTH_MAX - 60));
        let both = format!("…{cut}…");
        assert_eq!(shown(&cut.repeat(3), 101, Some(200)), lines(&both, &carets));
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let line = format!("{} bad {}", "x".repeat(500), "y".repeat(500));
        let shown = shown(&line, 502, None);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[1].chars().count() < 130 && lines[1].contains("… bad".trim_start_matches('…'))
        );
        let at = lines[2].find('^').unwrap();
        let below: String = lines[1].chars().skip(at).take(3).collect();
        assert_eq!((below.as_str(), lines[2].matches('^').count()), ("bad", 3));
    }
}
