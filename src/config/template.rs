use super::reply_path::ReplyPath;

/// Text with `{name}` of the key's parts and `{call.path}` of earlier replies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Key {
        name: String,
        /// Its slashes part it into segments of a path.
        is_path: bool,
    },
    Reply {
        /// Its number.
        call: usize,
        path: ReplyPath,
    },
}

/// What a template may name.
pub(super) struct Names<'n> {
    pub keys: &'n [String],
    pub paths: &'n [String],
    /// Earlier calls, in order.
    pub calls: &'n [String],
}

impl Template {
    /// Errors: one sentence for people.
    pub(super) fn parse(text: &str, names: &Names<'_>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (inner, after) = inner(after).ok_or_else(|| format!("`{text}` lacks a `}}`"))?;
            pieces.push(piece(inner, names)?);
            rest = after;
        }
        if rest.contains('}') {
            return Err(format!("`{text}` has a `}}` without its `{{`"));
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

/// Up to the brace that closes; a path may have braces of its own.
fn inner(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match (c, depth) {
            ('{', _) => depth += 1,
            ('}', 0) => return Some((text.get(..at)?, text.get(at + 1..)?)),
            ('}', _) => depth -= 1,
            _ => {}
        }
    }
    None
}

fn piece(inner: &str, names: &Names<'_>) -> Result<Piece, String> {
    if let Some((call, path)) = inner.split_once('.') {
        let Some(call) = names.calls.iter().position(|each| each == call) else {
            return Err(format!("there is no call `{call}` before this one"));
        };
        return Ok(Piece::Reply { call, path: ReplyPath::parse(path)? });
    }
    if !names.keys.iter().any(|name| name == inner) {
        let hint = crate::text::suggestion(inner, names.keys.iter().map(String::as_str));
        return Err(format!("no part of the key is named `{inner}`{hint}"));
    }
    let is_path = names.paths.iter().any(|name| name == inner);
    Ok(Piece::Key { name: inner.to_owned(), is_path })
}
