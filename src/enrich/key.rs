use crate::case::{Alert, Field};
use crate::config::{EnricherConfig, KeySpec};

/// Stands between the parts of a composite key; a part that holds it makes no key.
pub(super) const JOINT: char = '\u{1f}';

/// The key of one alert, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// The alert does not have the field: `unknown(no_key)`, never a lookup of nothing (INV-11).
    Missing,
    Single(&'a str),
    /// Stands in the buffer.
    Joined,
}

/// The key of its parts.
pub fn joined(parts: &[&str]) -> String {
    parts.join(JOINT.encode_utf8(&mut [0; 4]))
}

/// The same, of as many parts as the enricher's key has.
///
/// Errors: what it is looked up by.
pub fn key_of_parts(config: &EnricherConfig, parts: &[&str]) -> Result<String, String> {
    let paths = |fields: &[Field], joint: &str| {
        fields.iter().map(|field| field.path()).collect::<Vec<_>>().join(joint)
    };
    let (wanted, names) = match &config.key {
        KeySpec::All(fields) => (fields.len(), paths(fields, ", ")),
        KeySpec::First(fields) => (1, paths(fields, " or ")),
    };
    if wanted == parts.len() {
        return Ok(joined(parts));
    }
    Err(format!("`{}` is looked up by {names}", config.name))
}

pub fn key_of<'a>(alert: &'a Alert<'a>, spec: &KeySpec, joined: &mut String) -> Key<'a> {
    let part = |field: &Field| alert.text(*field).filter(|text| !text.is_empty());
    match spec {
        KeySpec::All(fields) => {
            if let [field] = fields.as_slice() {
                return part(field).map_or(Key::Missing, Key::Single);
            }
            joined.clear();
            for (index, field) in fields.iter().enumerate() {
                let Some(text) = part(field).filter(|text| !text.contains(JOINT)) else {
                    return Key::Missing;
                };
                if index > 0 {
                    joined.push(JOINT);
                }
                joined.push_str(text);
            }
            Key::Joined
        }
        KeySpec::First(fields) => fields.iter().find_map(part).map_or(Key::Missing, Key::Single),
    }
}
