use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input};

use super::PATTERN_BYTES_MAX;

/// LIMIT: the largest table that an expression is compiled to, and what making it may take.
const TABLE_BYTES_MAX: usize = 64 * 1024;

/// A regular expression of which is asked whether it is found.
#[derive(Debug, Clone)]
pub struct Expression {
    regex: Regex,
    /// Every step it can take, which needs no cache that threads would have to share; nothing
    /// where that is too many or depends on more than the next byte.
    table: Option<Arc<dense::DFA<Vec<u32>>>>,
}

impl Expression {
    pub(super) fn compile(text: &str) -> Result<Self, regex::Error> {
        let regex = RegexBuilder::new(text)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build()?;
        Ok(Self { regex, table: table(text).map(Arc::new) })
    }

    #[inline(never)]
    pub fn is_found(&self, text: &str) -> bool {
        let by_table = self.table.as_ref().and_then(|table| {
            table.try_search_fwd(&Input::new(text).anchored(Anchored::No).earliest(true)).ok()
        });
        by_table.map_or_else(|| self.regex.is_match(text), |found| found.is_some())
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
            (r"^services/[a-z-]+/.*\.env$", true),
            (r"(?m)^two$", true),
            (r"(?i)ÜNÏ|k$", true),
            (r"^[^a]*$", true),
            (r"(?-u:\b)admin", true),
            (r"\badmin", false),
            (r"\w{4}", false),
        ] {
            let expression = Expression::compile(pattern).unwrap();
            assert_eq!(expression.table.is_some(), has_table, "{pattern}");
            for text in texts {
                let found = expression.regex.is_match(text);
                assert_eq!(expression.is_found(text), found, "{pattern} in {text}");
            }
        }
    }
}
