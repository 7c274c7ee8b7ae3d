use memchr::memchr;
use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind, Look, Repetition};

use super::same::{after, before};
use super::sixteen::holds;

/// What an expression asks of a text from its first byte on, where nothing has to be tried twice:
/// fixed parts, and runs of characters that can end in one place only.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    parts: Box<[Part]>,
    /// Whether nothing may follow.
    ends: bool,
}

#[derive(Debug, Clone)]
// With a tag of its own: to read it out of what is inside takes five instructions.
#[repr(u8)]
enum Part {
    Fixed(Box<[u8]>),
    /// As long as it can be.
    Run(Run),
    /// All up to what the text ends with.
    Last(Run, Box<[u8]>),
}

/// How many bytes there may be, and which.
#[derive(Debug, Clone)]
struct Run {
    of: Set,
    least: usize,
    most: usize,
}

#[derive(Debug, Clone)]
enum Set {
    AllBut(u8),
    Listed(Box<[bool; 256]>),
}

impl Sequence {
    /// Nothing where the expression asks for more than this.
    pub fn of(pattern: &str) -> Option<Self> {
        if !pattern.contains('^') && !pattern.contains(r"\A") {
            return None;
        }
        let hir = regex_syntax::parse(pattern).ok()?;
        let HirKind::Concat(all) = hir.kind() else { return None };
        let [start, middle @ ..] = all.as_slice() else { return None };
        if !matches!(start.kind(), HirKind::Look(Look::Start)) {
            return None;
        }
        let (middle, ends) = match middle {
            [middle @ .., last] if matches!(last.kind(), HirKind::Look(Look::End)) => {
                (middle, true)
            }
            middle => (middle, false),
        };
        let mut parts = Vec::with_capacity(middle.len());
        let mut left = middle;
        while let [part, rest @ ..] = left {
            left = rest;
            let run = match part.kind() {
                HirKind::Literal(literal) => {
                    parts.push(Part::Fixed(literal.0.clone()));
                    continue;
                }
                _ => Run::of(part)?,
            };
            let is_settled = run.least == run.most && run.of.is_ascii();
            match rest {
                [next, ..] if is_settled || run.of.ends_before(next) => parts.push(Part::Run(run)),
                [next] if ends => {
                    let HirKind::Literal(literal) = next.kind() else { return None };
                    parts.push(Part::Last(run, literal.0.clone()));
                    left = &[];
                }
                [] => parts.push(Part::Run(run)),
                _ => return None,
            }
        }
        Some(Self { parts: parts.into(), ends })
    }

    #[inline(never)]
    pub fn is_found(&self, text: &str) -> bool {
        let mut rest = text.as_bytes();
        for part in &self.parts {
            let after = match part {
                Part::Fixed(fixed) => after(rest, fixed),
                Part::Run(run) => run.after(rest),
                Part::Last(run, last) => {
                    return before(rest, last).is_some_and(|rest| {
                        rest.len() >= run.least && rest.len() <= run.most && run.of.has_all(rest)
                    });
                }
            };
            let Some(after) = after else { return false };
            rest = after;
        }
        !self.ends || rest.is_empty()
    }
}

impl Run {
    fn of(part: &Hir) -> Option<Self> {
        let (class, least, most) = match part.kind() {
            HirKind::Class(class) => (class, 1, Some(1)),
            HirKind::Repetition(Repetition { min, max, sub, .. }) => match sub.kind() {
                HirKind::Class(class) => (class, *min, *max),
                _ => return None,
            },
            _ => return None,
        };
        let of = Set::of(class)?;
        // A character may be several bytes long, and bytes are counted.
        if !of.is_ascii() && (least > 1 || most.is_some()) {
            return None;
        }
        let most = most.map_or(Some(usize::MAX), |most| usize::try_from(most).ok())?;
        Some(Self { of, least: usize::try_from(least).ok()?, most })
    }

    /// What follows it.
    fn after<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let length = self.of.length(text.get(..self.most).unwrap_or(text));
        (length >= self.least).then(|| text.get(length..))?
    }
}

impl Set {
    /// Of characters beyond ASCII it has all or none: their bytes are not told apart.
    fn of(class: &Class) -> Option<Self> {
        let Class::Unicode(class) = class else { return None };
        let is_all =
            |range: &ClassUnicodeRange| range.start() <= '\u{80}' && range.end() == char::MAX;
        if !class.ranges().iter().all(|range| range.end().is_ascii() || is_all(range)) {
            return None;
        }
        let listed: [bool; 256] = std::array::from_fn(|byte| {
            let char = u8::try_from(byte).map_or(char::MAX, char::from);
            class.ranges().iter().any(|range| range.start() <= char && char <= range.end())
        });
        let mut missing = (0..=u8::MAX).zip(listed).filter(|(_, is)| !is).map(|(byte, _)| byte);
        match (missing.next(), missing.next()) {
            (Some(one), None) => Some(Self::AllBut(one)),
            _ => Some(Self::Listed(Box::new(listed))),
        }
    }

    fn has(&self, byte: u8) -> bool {
        self.length(&[byte]) == 1
    }

    fn is_ascii(&self) -> bool {
        !self.has(u8::MAX)
    }

    /// Whether a run of it can not go on into what comes next.
    fn ends_before(&self, next: &Hir) -> bool {
        match next.kind() {
            HirKind::Literal(literal) => literal.0.first().is_some_and(|first| !self.has(*first)),
            _ => false,
        }
    }

    fn has_all(&self, text: &[u8]) -> bool {
        match self {
            Self::AllBut(one) => !holds(text, [*one]),
            Self::Listed(_) => self.length(text) == text.len(),
        }
    }

    /// Of the run at the beginning.
    fn length(&self, text: &[u8]) -> usize {
        match self {
            Self::AllBut(one) => length_before(*one, text),
            Self::Listed(listed) => {
                let is_other = |byte: &u8| listed.get(usize::from(*byte)) != Some(&true);
                // Four at a time: one by one, the loop takes longer than the looking.
                let (fours, rest) = text.as_chunks::<4>();
                for (index, four) in fours.iter().enumerate() {
                    if let Some(at) = four.iter().position(is_other) {
                        return index * 4 + at;
                    }
                }
                let at = rest.iter().position(is_other).unwrap_or(rest.len());
                text.len() - rest.len() + at
            }
        }
    }
}

#[inline(never)]
fn length_before(one: u8, text: &[u8]) -> usize {
    memchr(one, text).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[test]
    fn what_has_to_be_tried_twice_is_left_to_others() {
        for pattern in [
            r"^services/[a-z-]+/.*\.env$",
            "^AKIA[A-Z0-9]{16}$",
            "^arn:aws:iam::[0-9]{12}:(?:user)/[^/]+$",
            "^[a-z]{2,5}-[0-9]*",
            "^[^:]+:.*$",
        ] {
            assert!(Sequence::of(pattern).is_some(), "{pattern}");
        }
        for pattern in
            ["a", "a$", "^a|b", "^.*b", "^.*ab", "^[a-z]*a[0-9]", r"^\d+$", "^(ab)+$", "^é{2}$", ""]
        {
            assert!(Sequence::of(pattern).is_none(), "{pattern}");
        }
    }

    const PARTS: &[&str] = &[
        "a",
        "ab",
        "b",
        "é",
        "\\.",
        "[ab]",
        "[ab]+",
        "[ab]*",
        "[ab]?",
        "[ab]{2}",
        "[ab]{1,2}",
        "[^a]",
        "[^a]+",
        "[^a]*",
        "[^a]*?",
        ".",
        ".*",
        ".+",
        "(?s:.)*",
        "[b-é]*",
        "[b-é]{2}",
        "(ab)+",
        "(b)",
    ];

    proptest! {
        /// The regex crate is the oracle.
        #[test]
        fn it_finds_what_the_expression_finds(
            parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..5),
            end in prop::sample::select(vec!["", "$"]),
            texts in prop::collection::vec("[abcé.\n]{0,7}|[bcé.]{7,20}[a\n]?", 12),
        ) {
            let pattern = format!("^{}{end}", parts.concat());
            if let Some(sequence) = Sequence::of(&pattern) {
                let regex = Regex::new(&pattern).unwrap();
                for text in &texts {
                    let found = regex.is_match(text);
                    prop_assert_eq!(sequence.is_found(text), found, "{} in {:?}", pattern, text);
                }
            }
        }
    }
}
