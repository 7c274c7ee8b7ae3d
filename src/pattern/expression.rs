use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input};

use super::sequence::Sequence;

/// Bytes of one compiled expression, and of what searching with it may keep. LIMIT: with the number
/// of them, bounds the memory of one file.
const BYTES_MAX: usize = 256 * 1024;
/// LIMIT: the largest table that an expression is compiled to, and what making it may take.
const TABLE_BYTES_MAX: usize = 64 * 1024;
/// Making a table takes as long as some hundred searches without one.
const ASKED_OFTEN: u32 = 256;

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
    Table(Arc<Table>),
}

/// Every step that the expression can take, which needs no cache that threads would have to share.
#[derive(Debug, Default)]
struct Table {
    asked: AtomicU32,
    /// Nothing in it where the steps are too many, or depend on more than the next byte.
    steps: OnceLock<Option<Steps>>,
}

type Steps = dense::DFA<Vec<u32>>;

impl Expression {
    pub fn compile(text: &str) -> Result<Self, regex::Error> {
        let regex =
            RegexBuilder::new(text).size_limit(BYTES_MAX).dfa_size_limit(BYTES_MAX).build()?;
        let way = Sequence::of(text).map_or_else(|| Way::Table(Arc::default()), Way::Sequence);
        Ok(Self { regex, way })
    }

    #[inline]
    pub fn is_found(&self, text: &str) -> bool {
        match &self.way {
            Way::Sequence(sequence) => sequence.is_found(text),
            Way::Table(table) => self.is_found_by(table, text),
        }
    }

    #[inline(never)]
    fn is_found_by(&self, table: &Table, text: &str) -> bool {
        let Some(steps) = table.steps.get() else {
            // Made by one thread, while the others go on without.
            if table.asked.fetch_add(1, Relaxed) == ASKED_OFTEN {
                table.steps.get_or_init(|| steps(self.as_str()));
            }
            return self.regex.is_match(text);
        };
        let input = Input::new(text).anchored(Anchored::No).earliest(true);
        let found = steps.as_ref().and_then(|steps| steps.try_search_fwd(&input).ok());
        found.map_or_else(|| self.regex.is_match(text), |found| found.is_some())
    }

    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    pub fn regex(&self) -> &Regex {
        &self.regex
    }
}

fn steps(text: &str) -> Option<Steps> {
    let limits = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .dfa_size_limit(Some(TABLE_BYTES_MAX))
        .determinize_size_limit(Some(TABLE_BYTES_MAX));
    let states = thompson::Config::new().nfa_size_limit(Some(BYTES_MAX));
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
            expression.is_found("once");
            if let Way::Table(table) = &expression.way {
                assert!(table.steps.get().is_none(), "{pattern}: not for one question");
            }
            for text in std::iter::repeat_n(texts, ASKED_OFTEN as usize).flatten() {
                let found = expression.regex.is_match(text);
                assert_eq!(expression.is_found(text), found, "{pattern} in {text}");
            }
            let steps = match &expression.way {
                Way::Sequence(_) => None,
                Way::Table(table) => table.steps.get().expect("asked often").as_ref(),
            };
            assert_eq!(steps.is_some(), has_table, "{pattern}");
        }
    }
}
