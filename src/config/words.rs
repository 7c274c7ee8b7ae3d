use crate::case::{duration_text, parse_duration};
use crate::text::{Data, Fields, Node, Problems, suggestion};

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

/// A number of bytes, plain or with `KiB` or `MiB`, between two limits.
pub(super) fn bytes(
    fields: &mut Fields<'_>,
    key: &'static str,
    (least, most): (usize, usize),
    problems: &mut Problems,
) -> Option<usize> {
    let node = fields.get(key)?;
    let read = match &node.data {
        Data::Int(value) => usize::try_from(*value).ok(),
        _ => node.text().and_then(bytes_of),
    };
    let fits = read.filter(|value| (least..=most).contains(value));
    if fits.is_none() {
        let help = format!("`{key}` must be from {least} to {most} bytes, as in 512KiB or 1MiB");
        problems.add(&node.at, help);
    }
    fits
}

fn bytes_of(text: &str) -> Option<usize> {
    let units = [("KiB", 1024), ("MiB", 1024 * 1024)];
    let (digits, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    digits.trim_end().parse::<usize>().ok()?.checked_mul(unit)
}
