//! The rules. Each looks at one file and gives what it found.

use crate::layers::{is_core, is_module, may_import};
use crate::text::{Class, Text};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// Crates that touch the world.
const SHELL_CRATES: &[&str] =
    &["tokio", "reqwest", "moka", "openssl", "axum", "prometheus", "rdkafka", "tracing", "clap"];

#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub place: String,
    pub what: String,
}

pub const RULES: &[fn(&Text) -> Vec<Finding>] =
    &[sizes, functions, columns, words, imports, crates, unsafe_code, permits, metrics];

pub fn all(text: &Text) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule(text)).collect()
}

fn finding(text: &Text, line: usize, what: impl Into<String>) -> Finding {
    Finding { place: format!("{}:{line}", text.path), what: what.into() }
}

pub fn sizes(text: &Text) -> Vec<Finding> {
    let lines = text.lines();
    let is_long = lines > FILE_LINES_MAX;
    is_long.then(|| finding(text, lines, format!("a file of {lines} lines"))).into_iter().collect()
}

pub fn functions(text: &Text) -> Vec<Finding> {
    let code: Vec<char> = text.only(Class::Code).chars().collect();
    let mut found = Vec::new();
    for (at, name) in names(&code).filter(|(_, name)| name == "fn") {
        let Some(open) = body(&code, at + name.len()) else { continue };
        let (first, last) = (text.line_of(at), text.line_of(close(&code, open)));
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            found.push(finding(text, first, format!("a function of {lines} lines")));
        }
    }
    found
}

/// Where the braces of a function open. A pointer's type and a trait's declaration have none.
fn body(code: &[char], from: usize) -> Option<usize> {
    let mut depth = 0;
    let is_named = code[from..].iter().find(|c| !c.is_whitespace()).is_some_and(|c| *c != '(');
    for (at, c) in code.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return is_named.then_some(at),
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

fn close(code: &[char], open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len() - 1
}

pub fn columns(text: &Text) -> Vec<Finding> {
    let long = text.widths().filter(|(_, width)| *width > COLUMNS_MAX);
    long.map(|(line, width)| finding(text, line, format!("{width} columns"))).collect()
}

pub fn words(text: &Text) -> Vec<Finding> {
    let code: Vec<char> = text.only(Class::Code).chars().collect();
    let comment: Vec<char> = text.only(Class::Comment).chars().collect();
    let in_code = names(&code).filter(|(at, name)| {
        let is_macro = code.get(at + name.chars().count()) == Some(&'!');
        name.contains("utils")
            || name.contains("_v2")
            || (is_macro && ["todo", "dbg"].contains(&name.as_str()))
    });
    let in_comments = names(&comment)
        .filter(|(_, name)| ["TODO", "FIXME", "XXX"].contains(&name.trim_matches('_')));
    let found = in_code.chain(in_comments);
    found.map(|(at, name)| finding(text, text.line_of(at), format!("the word `{name}`"))).collect()
}

pub fn imports(text: &Text) -> Vec<Finding> {
    let module = text.module();
    let mut found = Vec::new();
    for (at, other) in imported(text) {
        let line = text.line_of(at);
        if other == "super" {
            found.push(finding(text, line, "leaves its module by `super`: say `crate::`"));
        } else if !may_import(module, &other) {
            found.push(finding(text, line, format!("`{module}` imports `{other}`")));
        }
    }
    found
}

/// Every module of the crate that is named by a path, and `super` for a path that climbs out of its own.
fn imported(text: &Text) -> Vec<(usize, String)> {
    let code: Vec<char> = text.only(Class::Code).chars().collect();
    let is_root = text.path.ends_with("/mod.rs");
    let mut found = Vec::new();
    for (at, name) in names(&code).filter(|(_, name)| name == "crate" || name == "super") {
        for (next, other) in heads(&code, at + name.len()) {
            if name == "crate" {
                found.push((next, other));
            } else if other == "super" || (is_root && is_module(&other)) {
                found.push((at, "super".to_owned()));
            }
        }
    }
    found
}

/// The names that follow a `::`: one, or those of a group in braces.
fn heads(code: &[char], from: usize) -> Vec<(usize, String)> {
    let Some(after) = skip(code, from, "::") else { return Vec::new() };
    let Some(inside) = skip(code, after, "{") else {
        return names(&code[after..]).take(1).map(|(at, name)| (after + at, name)).collect();
    };
    let group = &code[inside..close(code, inside - 1)];
    let mut depth = 0;
    let mut is_head = true;
    let mut heads = Vec::new();
    for (at, name) in parts(group) {
        match name.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => is_head = true,
            _ if is_head && name.starts_with(is_name) => {
                heads.push((inside + at, name));
                is_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn skip(code: &[char], from: usize, what: &str) -> Option<usize> {
    let space = code.get(from..)?.iter().take_while(|c| c.is_whitespace()).count();
    let start = from + space;
    let end = start + what.chars().count();
    (code.get(start..end)?.iter().copied().eq(what.chars())).then_some(end)
}

pub fn crates(text: &Text) -> Vec<Finding> {
    let code: Vec<char> = text.only(Class::Code).chars().collect();
    let mut found = Vec::new();
    for (at, name) in names(&code) {
        let line = text.line_of(at);
        if name.starts_with("rdkafka") && text.module() != "ingest" {
            found.push(finding(text, line, "`rdkafka` outside `src/ingest`"));
        } else if is_core(text.module())
            && text.path != "src/config/disk.rs"
            && SHELL_CRATES.contains(&name.as_str())
        {
            found.push(finding(text, line, format!("`{name}` in a core module")));
        }
    }
    found
}

pub fn unsafe_code(text: &Text) -> Vec<Finding> {
    let code: Vec<char> = text.only(Class::Code).chars().collect();
    let found = names(&code).filter(|(_, name)| name == "unsafe");
    let found = found.filter(|_| text.path != "src/ingest/binding.rs");
    found.map(|(at, _)| finding(text, text.line_of(at), "`unsafe`")).collect()
}

/// INV-5: a permit in a record comes from the boundary check alone.
pub fn permits(text: &Text) -> Vec<Finding> {
    let code: Vec<char> = text.only(Class::Code).chars().collect();
    let parts = parts(&code);
    let mut found = Vec::new();
    for (index, (at, name)) in parts.iter().enumerate() {
        let next = parts.get(index + 1).map(|(_, part)| part.as_str());
        let before = index.checked_sub(1).map(|index| parts[index].1.as_str());
        let is_made = name == "PermitRecord" && next == Some("{") && before != Some(">");
        if is_made && text.path != "src/decide/boundary.rs" {
            found.push(finding(text, text.line_of(*at), "makes a permit's record"));
        }
    }
    found
}

pub fn metrics(text: &Text) -> Vec<Finding> {
    if text.module() == "observe" {
        return Vec::new();
    }
    let code: Vec<char> = text.only(Class::Code).chars().collect();
    let literals: Vec<char> = text.only(Class::Literal).chars().collect();
    let makers = names(&code).filter(|(_, name)| name == "prometheus");
    // A label's or topic's name has no reason to look like a metric's.
    let literal = names(&literals).filter(|(_, name)| name.starts_with("tipstaff_"));
    let found = makers.chain(literal);
    found
        .map(|(at, name)| finding(text, text.line_of(at), format!("the metric `{name}`")))
        .collect()
}

/// Codes of `src/case/reason.rs` that a table of codes does not hold.
pub fn unexplained(reasons: &Text, table: &str) -> Vec<Finding> {
    let literals = reasons.only(Class::Literal);
    let raw: String = reasons.chars.iter().collect();
    let mut found = Vec::new();
    for ((number, raw), literals) in (1..).zip(raw.lines()).zip(literals.lines()) {
        let is_row = raw.trim_start().starts_with(char::is_uppercase) && raw.ends_with("\",");
        let code = literals.split_whitespace().next().unwrap_or_default();
        if is_row && !table.contains(&format!("| `{code}` |")) {
            found.push(finding(reasons, number, format!("no row explains `{code}`")));
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Names, each with its place.
fn names(code: &[char]) -> impl Iterator<Item = (usize, String)> {
    parts(code).into_iter().filter(|(_, part)| part.starts_with(is_name))
}

/// Names and single marks, each with its place.
fn parts(code: &[char]) -> Vec<(usize, String)> {
    let mut parts: Vec<(usize, String)> = Vec::new();
    let mut joins = false;
    for (at, c) in code.iter().enumerate() {
        match parts.last_mut() {
            Some((_, name)) if joins && is_name(*c) => name.push(*c),
            _ if !c.is_whitespace() => parts.push((at, c.to_string())),
            _ => {}
        }
        joins = is_name(*c);
    }
    parts
}
