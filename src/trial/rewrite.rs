use crate::text::At;

use super::run::Difference;
use crate::policy::Expected;

/// One line of an expectation as it was and as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub at: At,
    pub was: String,
    /// Nothing: it was taken out.
    pub is: Option<String>,
}

/// A piece of the text, in characters, and what takes its place.
struct Edit {
    from: usize,
    to: usize,
    with: String,
    change: Change,
}

/// The text of a file with the expectations of these differences changed to what came out, and
/// nothing else: comments and layout stay.
///
/// Errors: those whose place can't be changed by itself, such as a list over several lines.
pub fn rewrite<'d>(
    text: &str,
    differences: &[&'d Difference],
) -> (String, Vec<Change>, Vec<&'d Expected>) {
    let chars: Vec<char> = text.chars().collect();
    let mut in_order = differences.to_vec();
    in_order.sort_by_key(|each| (each.written.key_at.line, each.written.key_at.column));
    let mut written = String::new();
    let (mut at, mut changes, mut left) = (0, Vec::new(), Vec::new());
    for difference in in_order {
        let Some(edit) = edit(&chars, difference, at) else {
            left.push(&difference.written);
            continue;
        };
        written.extend(chars.get(at..edit.from).unwrap_or_default());
        written.push_str(&edit.with);
        at = edit.to;
        changes.push(edit.change);
    }
    written.extend(chars.get(at..).unwrap_or_default());
    (written, changes, left)
}

/// What is before `begin` has been changed already.
fn edit(chars: &[char], difference: &Difference, begin: usize) -> Option<Edit> {
    let written = &difference.written;
    let from = place(chars, &written.key_at)?;
    let to = end(chars, place(chars, &written.value_at)?)?;
    let was: String = chars.get(from..to)?.iter().collect();
    if was.contains('\n') {
        return None;
    }
    let change = |is: Option<String>| Change { at: written.key_at.clone(), was: was.clone(), is };
    match &difference.mended {
        Some((key, value)) => {
            let is = format!("{key}: {}", scalar(key, value));
            Some(Edit { from, to, with: is.clone(), change: change(Some(is)) })
        }
        None => {
            let (from, to) = with_its_separator(chars, (from, to), begin)?;
            Some(Edit { from, to, with: String::new(), change: change(None) })
        }
    }
}

/// Verdicts are a list; everything else is a name.
fn scalar(key: &str, value: &str) -> String {
    if key == "refused_by" { format!("[{value}]") } else { value.to_owned() }
}

fn place(chars: &[char], at: &At) -> Option<usize> {
    let mut from = 0;
    for _ in 1..at.line {
        from += chars.get(from..)?.iter().position(|c| *c == '\n')? + 1;
    }
    Some(from + usize::try_from(at.column).ok()?.saturating_sub(1))
}

/// Behind the value that starts here: quoted, a list in brackets, or a plain word.
fn end(chars: &[char], from: usize) -> Option<usize> {
    let rest = chars.get(from..)?;
    let behind = |close: char| rest.iter().skip(1).position(|c| *c == close).map(|at| at + 2);
    let length = match rest.first()? {
        '"' => behind('"')?,
        '\'' => behind('\'')?,
        '[' => behind(']')?,
        _ => {
            let plain = rest.iter().take_while(|c| !",}]#\n\r".contains(**c)).count();
            let blank = rest.get(..plain)?.iter().rev().take_while(|c| c.is_whitespace()).count();
            plain - blank
        }
    };
    Some(from + length)
}

/// The comma beside it that is still there, or in a mapping of lines the whole line.
fn with_its_separator(
    chars: &[char],
    (from, to): (usize, usize),
    begin: usize,
) -> Option<(usize, usize)> {
    let before = chars.get(begin..from)?.iter().rev().take_while(|c| **c == ' ').count();
    let follows = |c: char| chars.get(to) == Some(&c);
    if begin < from - before && chars.get(from - before - 1) == Some(&',') {
        return Some((from - before - 1, to));
    }
    if follows(',') {
        let blank = chars.get(to + 1..)?.iter().take_while(|c| **c == ' ').count();
        return Some((from, to + 1 + blank));
    }
    let starts_line = before == from || chars.get(from - before - 1) == Some(&'\n');
    (starts_line && follows('\n')).then_some((from - before, to + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written at `key`, which stands in the text once, and what it should be.
    fn difference(
        text: &str,
        key: &'static str,
        mended: Option<(&'static str, &str)>,
    ) -> Difference {
        let from = text.find(&format!("{key}: ")).unwrap();
        let line = text[..from].matches('\n').count() + 1;
        let column = from - text[..from].rfind('\n').map_or(0, |at| at + 1) + 1;
        let at = |column: usize| At {
            path: "f.yaml".into(),
            line: u32::try_from(line).unwrap(),
            column: u32::try_from(column).unwrap(),
        };
        Difference {
            step: None,
            what: key,
            expected: String::new(),
            got: String::new(),
            written: Expected {
                what: key,
                value: String::new(),
                key_at: at(column),
                value_at: at(column + key.len() + 2),
            },
            mended: mended.map(|(key, value)| (key, value.to_owned())),
        }
    }

    #[test]
    fn only_what_differs_is_changed() {
        for (text, key, mended, expected) in [
            (
                "e: {route: a, rule: b} # c\n",
                "route",
                Some(("hold", "x")),
                "e: {hold: x, rule: b} # c\n",
            ),
            (
                "e: {route: a, rule: \"b\"}\n",
                "rule",
                Some(("rule", "c")),
                "e: {route: a, rule: c}\n",
            ),
            ("e: {route: a, priority: low}\n", "priority", None, "e: {route: a}\n"),
            ("e: {priority: low, route: a}\n", "priority", None, "e: {route: a}\n"),
            (
                "e:\n  route: a  # why\n  rule: b\n",
                "route",
                Some(("route", "z")),
                "e:\n  route: z  # why\n  rule: b\n",
            ),
            ("e:\n  route: a\n  priority: low\n", "priority", None, "e:\n  route: a\n"),
            (
                "e: {refused_by: [a, b], x: y}\n",
                "refused_by",
                Some(("refused_by", "c")),
                "e: {refused_by: [c], x: y}\n",
            ),
        ] {
            let difference = difference(text, key, mended);
            let (written, changes, left) = rewrite(text, &[&difference]);
            assert_eq!((written.as_str(), changes.len(), left.len()), (expected, 1, 0), "{text}");
        }
    }

    /// Each takes one comma with it, wherever in the list they stand.
    #[test]
    fn several_that_go_leave_what_can_be_read() {
        let text = "e: {priority: low, queue: q, route: a, rule: b, blocked: c}\n";
        for (keys, expected) in [
            (&["priority", "queue"][..], "e: {route: a, rule: b, blocked: c}\n"),
            (&["queue", "priority"], "e: {route: a, rule: b, blocked: c}\n"),
            (&["queue", "rule"], "e: {priority: low, route: a, blocked: c}\n"),
            (&["rule", "blocked"], "e: {priority: low, queue: q, route: a}\n"),
            (&["priority", "queue", "rule", "blocked"], "e: {route: a}\n"),
        ] {
            let all: Vec<Difference> = keys.iter().map(|key| difference(text, key, None)).collect();
            let (written, changes, left) = rewrite(text, &all.iter().collect::<Vec<_>>());
            assert_eq!(written, expected, "{keys:?}");
            assert_eq!((changes.len(), left.len()), (keys.len(), 0));
        }
    }

    #[test]
    fn a_list_over_lines_is_left_to_its_author() {
        let text = "e: {route: a, refused_by: [a,\n  b]}\n";
        let difference = difference(text, "refused_by", Some(("refused_by", "c")));
        let (written, changes, left) = rewrite(text, &[&difference]);
        assert_eq!((written.as_str(), changes.len(), left.len()), (text, 0, 1));
    }
}
