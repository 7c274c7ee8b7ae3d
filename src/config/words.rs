use crate::case::{duration_text, parse_duration};
use crate::text::{Fields, Node, Problems, suggestion};

/// A duration in milliseconds, between two limits.
pub(super) fn duration(
    fields: &mut Fields<'_>,
    key: &'static str,
    (least, most): (i64, i64),
    problems: &mut Problems,
) -> Option<i64> {
    let node = fields.get(key)?;
    let read = node.text().and_then(parse_duration);
    let fits = read.filter(|value| (least..=most).contains(value));
    if fits.is_none() {
        let (least, most) = (duration_text(least), duration_text(most));
        problems.add(&node.at, format!("`{key}` must be a duration from {least} to {most}"));
    }
    fits
}

/// A whole number between two limits.
pub(super) fn number<N: TryFrom<i64>>(
    fields: &mut Fields<'_>,
    key: &'static str,
    (least, most): (i64, i64),
    problems: &mut Problems,
) -> Option<N> {
    let at = fields.get(key)?.at.clone();
    let value = fields.int(key, problems)?;
    let fits = Some(value).filter(|value| (least..=most).contains(value));
    let fits = fits.and_then(|value| N::try_from(value).ok());
    if fits.is_none() {
        problems.add(&at, format!("`{key}` must be from {least} to {most}"));
    }
    fits
}

/// One of a list of words.
pub(super) fn listed<T: Copy>(
    node: &Node,
    key: &str,
    words: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let word = node.text().unwrap_or_default();
    let found = words.iter().find(|(each, _)| *each == word).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let hint = suggestion(word, names.iter().copied());
        problems.add(&node.at, format!("`{key}` must be one of {}{hint}", names.join(", ")));
    }
    found
}
