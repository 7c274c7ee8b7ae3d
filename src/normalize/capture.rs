//! What `capture` takes out of a text.

use std::ops::Range;

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::pattern::Expression;

#[derive(Debug, Clone)]
pub(super) struct Capture {
    whole: Expression,
    way: Way,
}

/// How the group is found. Searching for where it is takes ten times as long as searching for
/// whether there is a match.
#[derive(Debug, Clone)]
enum Way {
    /// It is all of the text.
    Whole,
    /// It is all of the text, which is something and of these bytes.
    Run(Bytes),
    /// It is what the text ends with after another character: the bytes that it may have.
    Last(Bytes),
    /// It is all of the text, of these bytes, but what this finds at its end, as it rarely does.
    AllBut(Bytes, Expression),
    Search,
}

type Bytes = Box<[bool; 256]>;

impl Capture {
    pub(super) fn new(whole: Expression) -> Self {
        let way = regex_syntax::parse(whole.as_str()).ok().and_then(|hir| Way::of(&hir));
        Self { whole, way: way.unwrap_or(Way::Search) }
    }

    /// The first group, or all that matches.
    pub(super) fn find(&self, text: &str) -> Option<Range<usize>> {
        match &self.way {
            Way::Whole => return self.whole.is_found(text).then_some(0..text.len()),
            Way::Run(bytes) => {
                let is_run = !text.is_empty() && text.bytes().all(|byte| has(bytes, byte));
                return is_run.then_some(0..text.len());
            }
            Way::Last(bytes) => {
                let length = text.bytes().rev().take_while(|byte| has(bytes, *byte)).count();
                return self.whole.is_found(text).then(|| text.len() - length..text.len());
            }
            Way::AllBut(bytes, end) if !end.is_found(text) => {
                return text.bytes().all(|byte| has(bytes, byte)).then_some(0..text.len());
            }
            Way::AllBut(..) | Way::Search => {}
        }
        let regex = self.whole.regex();
        if regex.captures_len() == 1 {
            return Some(regex.find(text)?.range());
        }
        let found = regex.captures(text)?;
        Some(found.get(1).or_else(|| found.get(0))?.range())
    }
}

impl Way {
    fn of(hir: &Hir) -> Option<Self> {
        let HirKind::Concat(parts) = hir.kind() else { return None };
        let [before @ .., last, end] = parts.as_slice() else { return None };
        if !matches!(end.kind(), HirKind::Look(Look::End)) {
            return None;
        }
        let is_start = |part: &Hir| matches!(part.kind(), HirKind::Look(Look::Start));
        let is_whole = parts.first().is_some_and(is_start);
        if is_whole && hir.properties().explicit_captures_len() == 0 {
            let run = if let [_] = before { run_of(last) } else { None };
            let run = run.filter(|(min, _)| *min == 1);
            return Some(run.map_or(Self::Whole, |(_, bytes)| Self::Run(bytes)));
        }
        if let Some((1, bytes)) = first_group(last) {
            return ends_outside(before, &bytes).then_some(Self::Last(bytes));
        }
        let (HirKind::Repetition(rare), [start, group]) = (last.kind(), before) else {
            return None;
        };
        let is_optional = (rare.min, rare.max, rare.greedy) == (0, Some(1), true);
        let rare = Hir::concat(vec![rare.sub.as_ref().clone(), end.clone()]);
        match first_group(group) {
            Some((0, bytes)) if is_start(start) && is_optional => {
                Some(Self::AllBut(bytes, Expression::compile(&rare.to_string()).ok()?))
            }
            _ => None,
        }
    }
}

/// How long the first group is at least, and of which bytes, if it is a run without another end.
fn first_group(part: &Hir) -> Option<(u32, Bytes)> {
    let HirKind::Capture(group) = part.kind() else { return None };
    if group.index == 1 { run_of(&group.sub) } else { None }
}

fn run_of(part: &Hir) -> Option<(u32, Bytes)> {
    let HirKind::Repetition(run) = part.kind() else { return None };
    let HirKind::Class(class) = run.sub.kind() else { return None };
    if run.max.is_none() { Some((run.min, bytes_of(class)?)) } else { None }
}

/// Of characters beyond ASCII it must have all or none: their bytes are not told apart.
fn bytes_of(class: &Class) -> Option<Bytes> {
    let Class::Unicode(class) = class else { return None };
    let mut bytes = Box::new([false; 256]);
    for range in class.ranges() {
        let is_rest = range.start() <= '\u{80}' && range.end() == char::MAX;
        if !range.end().is_ascii() && !is_rest {
            return None;
        }
        for (byte, is_of_it) in (0..=u8::MAX).zip(bytes.iter_mut()) {
            let char = if byte.is_ascii() { char::from(byte) } else { char::MAX };
            *is_of_it |= range.start() <= char && char <= range.end();
        }
    }
    Some(bytes)
}

fn has(bytes: &Bytes, byte: u8) -> bool {
    bytes.get(usize::from(byte)) == Some(&true)
}

/// Whether every match of the parts is something and ends with none of the bytes.
fn ends_outside(parts: &[Hir], bytes: &Bytes) -> bool {
    let Some((last, before)) = parts.split_last() else { return false };
    match last.kind() {
        HirKind::Literal(literal) => literal.0.last().is_some_and(|last| !has(bytes, *last)),
        HirKind::Class(class) => bytes_of(class).is_some_and(|class| {
            !class.iter().zip(bytes.iter()).any(|(one, other)| *one && *other)
        }),
        HirKind::Capture(group) => ends_outside(std::slice::from_ref(&group.sub), bytes),
        HirKind::Concat(parts) => ends_outside(parts, bytes),
        HirKind::Alternation(ways) => {
            ways.iter().all(|way| ends_outside(std::slice::from_ref(way), bytes))
        }
        HirKind::Repetition(run) => {
            ends_outside(std::slice::from_ref(&run.sub), bytes)
                && (run.min > 0 || ends_outside(before, bytes))
        }
        HirKind::Empty | HirKind::Look(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_group_is_searched_for_where_nothing_else_tells_it() {
        for (pattern, way) in [
            (":user/(?:.*/)?([^/]+)$", "Last"),
            (":(?:user/(?:.*/)?|federated-user/)([^/]+)$", "Last"),
            ("^arn:([0-9]+)$", "Last"),
            ("^[0-9]+$", "Run"),
            ("^[0-9]*$", "Whole"),
            (r"^(.*?)(?:20\d{6}(?:v\d+)?)?$", "AllBut"),
            (":federated-user/(.+)$", "Search"),
            (":role/(?:.*)?([^/]+)$", "Search"),
            (":(user)/([^/]+)$", "Search"),
            (":user/([^/]+)", "Search"),
            ("([^/]+)$", "Search"),
            ("(a*)b?$", "Search"),
        ] {
            let capture = Capture::new(Expression::compile(pattern).unwrap());
            assert!(format!("{:?}", capture.way).starts_with(way), "{pattern}");
        }
    }

    const PARTS: &[&str] =
        &["a", "b/", "/", "é", "[ab]", "[^a]", ".*", ".*/", "(?:b|/)", "(?:a?/)?", "/+", "[/é]*"];

    const GROUPS: &[&str] = &[
        "([^/]+)",
        "([^/]*)",
        "([ab]+)",
        "([^/é]+)",
        "(.+)",
        "(.*?)(?:ab?)?",
        "(.*)(?:b/)?",
        "([ab]*?)/?",
        "[ab/]*",
        "[ab/]+",
        "[^/é]+",
        ".+",
    ];

    proptest! {
        /// The regex crate is the oracle.
        #[test]
        fn it_captures_what_the_expression_captures(
            start in prop::sample::select(vec!["", "^"]),
            before in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..4),
            group in prop::sample::select(GROUPS.to_vec()),
            texts in prop::collection::vec("[ab/é\n]{0,7}", 12),
        ) {
            let pattern = format!("{start}{}{group}$", before.concat());
            let capture = Capture::new(Expression::compile(&pattern).unwrap());
            for text in &texts {
                let found = capture.whole.regex().captures(text);
                let expected = found.and_then(|f| Some(f.get(1).or(f.get(0))?.range()));
                prop_assert_eq!(capture.find(text), expected, "{} in {:?}", pattern, text);
            }
        }
    }
}
