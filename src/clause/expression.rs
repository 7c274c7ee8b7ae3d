use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input};

use super::PATTERN_BYTES_MAX;
use super::sequence::Sequence;

/// LIMIT: the largest table that an expression is compiled to, and what making it may take.
const TABLE_BYTES_MAX: usize = 64 * 1024;

/// A regular expression of which is asked whether it is found.
#[derive(Debug, Clone)]
pub struct Expression {
    regex: Regex,
    way: Way,
}

/// How the answer is found, the quickest that can be had first.
#[derive(Debug, Clone)]
enum Way {
    Sequence(Sequence),
    /// Every step it can take, which needs no cache that threads would have to share.
    Table(Arc<dense::DFA<Vec<u32>>>),
    /// Where those are too many, or depend on more than the next byte.
    Regex,
}

impl Expression {
    pub(super) fn compile(text: &str) -> Result<Self, regex::Error> {
        let regex = RegexBuilder::new(text)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build()?;
        let sequence = Sequence::of(text).map(Way::Sequence);
        let way = sequence.or_else(|| Some(Way::Table(Arc::new(table(text)?))));
        Ok(Self { regex, way: way.unwrap_or(Way::Regex) })
    }

    #[inline]
    pub fn is_found(&self, text: &str) -> bool {
        match &self.way {
            Way::Sequence(sequence) => sequence.is_found(text),
            Way::Table(table) => self.is_found_by(table, text),
            Way::Regex => self.regex.is_match(text),
        }
    }

    #[inline(never)]
    fn is_found_by(&self, table: &dense::DFA<Vec<u32>>, text: &str) -> bool {
        let input = Input::new(text).anchored(Anchored::No).earliest(true);
        let found = table.try_search_fwd(&input);
        found.map_or_else(|_| self.regex.is_match(text), |found| found.is_some())
    }

    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }
}

fn table(text: &str) -> Option<dense::DFA<Vec<u32>>> {
    let limits = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .dfa_size_limit(Some(TABLE_BYTES_MAX))
        .determinize_size_limit(Some(TABLE_BYTES_MAX));
    let states = thompson::Config::new().nfa_size_limit(Some(PATTERN_BYTES_MAX));
    dense::Builder::new().configure(limits).thompson(states).build(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_finds_what_the_regex_finds() {
        let texts = [
            "",
            "a",
            "services/checkout/config/production.env",
            "services/checkout/config/production.env\n",
            "fixtures/äöü.json",
            "one\ntwo",
            "Ünïcödé ſ K",
            "root-admin",
        ];
        for (pattern, has_table) in [
            ("", true),
            ("$", true),
            (r"^services/[a-z-]+/.*\.env$|^root", true),
            (r"(?m)^two$", true),
            (r"(?i)ÜNÏ|k$", true),
            (r"^[^a]*$", false),
            (r"(?-u:\b)admin", true),
            (r"\badmin", false),
            (r"\w{4}", false),
        ] {
            let expression = Expression::compile(pattern).unwrap();
            assert_eq!(matches!(expression.way, Way::Table(_)), has_table, "{pattern}");
            for text in texts {
                let found = expression.regex.is_match(text);
                assert_eq!(expression.is_found(text), found, "{pattern} in {text}");
            }
        }
    }
}
