use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::TableFormat;
use crate::text::{At, Data, Node, Problems, Source, read, suggestion};

/// One row: a cell for each column that was asked for, nothing where it is empty or missing.
pub(super) struct Row<'r> {
    pub cells: Vec<Option<Cow<'r, str>>>,
    /// Was told already, and holds nothing.
    is_malformed: bool,
    place: &'r dyn Fn(Option<usize>) -> At,
}

impl Row<'_> {
    /// Where a cell stands, or the row. Computed only for problems.
    pub fn at(&self, cell: Option<usize>) -> At {
        (self.place)(cell)
    }
}

/// A table whose first mistakes are all of one kind need not tell each of them.
const PROBLEMS_MAX: usize = 20;

/// Hands each row of a table to `take`, which says whether to go on. `is_list` says of which columns
/// a cell may be a list: its text is then that of a JSON array.
///
/// Errors: adds what is no row of this format, and columns that the table does not have.
pub(super) fn each_row(
    source: &Source,
    format: TableFormat,
    columns: &[&str],
    is_list: &dyn Fn(usize) -> bool,
    problems: &mut Problems,
    take: &mut dyn FnMut(&Row<'_>, &mut Problems) -> bool,
) {
    let limit = problems.len() + PROBLEMS_MAX;
    let mut take = |row: &Row<'_>, problems: &mut Problems| {
        let goes_on = row.is_malformed || take(row, problems);
        let is_enough = problems.len() >= limit;
        if is_enough {
            problems
                .add(&row.at(None), "the rest of this table is not checked before these are right");
        }
        goes_on && !is_enough
    };
    match format {
        TableFormat::Csv => csv_rows(source, columns, problems, &mut take),
        TableFormat::Yaml => yaml_rows(source, columns, is_list, problems, &mut take),
        TableFormat::Ndjson => ndjson_rows(source, columns, is_list, problems, &mut take),
    }
}

fn at(source: &Source, line: usize, column: usize) -> At {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    At { path: source.path.clone(), line: number(line), column: number(column) }
}

/// Empty is absent, in every format.
pub(super) fn filled(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return None;
    }
    if trimmed.len() == text.len() {
        return Some(text);
    }
    Some(Cow::Owned(trimmed.to_owned()))
}

fn csv_rows(
    source: &Source,
    columns: &[&str],
    problems: &mut Problems,
    take: &mut dyn FnMut(&Row<'_>, &mut Problems) -> bool,
) {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(source.text.as_bytes());
    let Ok(header) = reader.headers().cloned() else {
        return problems.add(&at(source, 1, 1), "the first line is no CSV header");
    };
    let order: Vec<Option<usize>> = columns
        .iter()
        .map(|column| {
            let mut found = header.iter().enumerate().filter(|(_, name)| name.trim() == *column);
            let (first, second) = (found.next(), found.next());
            if first.is_none() {
                let hint = suggestion(column, header.iter());
                problems
                    .add(&at(source, 1, 1), format!("the table has no column `{column}`{hint}"));
            }
            if let Some((index, _)) = second {
                let place = csv_place(&source.text, 0, 1, Some(index));
                problems.add(
                    &at(source, place.0, place.1),
                    format!("column `{column}` stands here again"),
                );
            }
            first.map(|(index, _)| index)
        })
        .collect();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).unwrap_or(false) {
        let start = record.position().map_or((0, 1), |place| (place.byte(), place.line()));
        let start = (usize::try_from(start.0).unwrap_or(0), usize::try_from(start.1).unwrap_or(1));
        let place = |cell: Option<usize>| {
            let index = cell.and_then(|cell| order.get(cell).copied().flatten());
            let (line, column) = csv_place(&source.text, start.0, start.1, index);
            at(source, line, column)
        };
        let is_malformed = record.len() != header.len();
        if is_malformed {
            let (have, want) = (record.len(), header.len());
            problems.add(&place(None), format!("the row has {have} cells, the header {want}"));
        }
        let cell = |index: &Option<usize>| {
            index.and_then(|index| record.get(index)).and_then(|text| filled(Cow::Borrowed(text)))
        };
        let row = Row { cells: order.iter().map(cell).collect(), is_malformed, place: &place };
        if !take(&row, problems) {
            return;
        }
    }
}

/// Line and column, from 1, of a cell of the record that starts at a byte.
fn csv_place(text: &str, start: usize, line: usize, cell: Option<usize>) -> (usize, usize) {
    let (mut line, mut column, mut cells_left) = (line, 1, cell.unwrap_or(0));
    let (mut is_quoted, mut has_started) = (false, false);
    for c in text.get(start..).unwrap_or_default().chars() {
        let is_break = c == '\n' || c == '\r';
        let is_end = has_started && is_break && !is_quoted;
        if is_end || cells_left == 0 && (has_started || !is_break) {
            break;
        }
        has_started |= !is_break;
        column += 1;
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells_left = cells_left.saturating_sub(1),
            '\n' => (line, column) = (line + 1, 1),
            '\r' if !is_quoted => column = 1,
            _ => {}
        }
    }
    (line, column)
}

fn yaml_rows(
    source: &Source,
    columns: &[&str],
    is_list: &dyn Fn(usize) -> bool,
    problems: &mut Problems,
    take: &mut dyn FnMut(&Row<'_>, &mut Problems) -> bool,
) {
    let Some(node) = read(source, problems) else { return };
    let Data::List(items) = &node.data else {
        return problems
            .add(&node.at, format!("a table must be a list of rows, not {}", node.kind()));
    };
    let mut seen = Columns::of(columns);
    for item in items {
        let (entries, is_malformed) = match &item.data {
            Data::Map(entries) => (entries.as_slice(), false),
            _ => (&[][..], true),
        };
        if is_malformed {
            problems.add(&item.at, format!("a row must be a mapping, not {}", item.kind()));
        }
        entries.iter().for_each(|(key, _)| seen.see(key.text().unwrap_or_default()));
        let nodes: Vec<Option<&Node>> = columns
            .iter()
            .map(|column| entries.iter().find(|(key, _)| key.text() == Some(column)))
            .map(|entry| entry.map(|(_, value)| value))
            .collect();
        let place = |cell: Option<usize>| {
            let node = cell.and_then(|cell| nodes.get(cell).copied().flatten());
            node.map_or_else(|| item.at.clone(), |node| node.at.clone())
        };
        let cells = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| node.and_then(|node| yaml_cell(node, is_list(index), problems)));
        let row = Row { cells: cells.collect(), is_malformed, place: &place };
        if !take(&row, problems) {
            return;
        }
    }
    seen.finish(&node.at, problems);
}

fn yaml_cell<'n>(node: &'n Node, is_list: bool, problems: &mut Problems) -> Option<Cow<'n, str>> {
    let text = match &node.data {
        Data::Null => return None,
        Data::Text(text) | Data::Decimal(text) => Cow::Borrowed(text.as_str()),
        Data::Int(value) => Cow::Owned(value.to_string()),
        Data::Bool(value) => Cow::Owned(value.to_string()),
        Data::List(items) if is_list && items.iter().all(|item| item.text().is_some()) => {
            let texts: Vec<Option<&str>> = items.iter().map(Node::text).collect();
            Cow::Owned(serde_json::to_string(&texts).unwrap_or_default())
        }
        Data::List(_) | Data::Map(_) => {
            problems.add(&node.at, format!("a cell must be one value, not {}", node.kind()));
            return None;
        }
    };
    filled(text)
}

fn ndjson_rows(
    source: &Source,
    columns: &[&str],
    is_list: &dyn Fn(usize) -> bool,
    problems: &mut Problems,
    take: &mut dyn FnMut(&Row<'_>, &mut Problems) -> bool,
) {
    let mut seen = Columns::of(columns);
    for (index, line) in source.text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let here = |column| at(source, index + 1, column);
        let read = serde_json::from_str::<Members<'_>>(line);
        if let Err(error) = &read {
            problems.add(&here(error.column().max(1)), "not a JSON object on one line");
        }
        let is_malformed = read.is_err();
        let members = read.map_or_else(|_| Vec::new(), |Members(members)| members);
        members.iter().for_each(|(name, _)| seen.see(name));
        let values: Vec<Option<&RawValue>> = columns
            .iter()
            .map(|column| members.iter().find(|(name, _)| name == column))
            .map(|member| member.map(|(_, value)| *value))
            .collect();
        let column_of = |value: &RawValue| {
            let bytes = value.get().as_ptr().addr() - line.as_ptr().addr();
            line.get(..bytes).map_or(1, |before| before.chars().count() + 1)
        };
        let place = |cell: Option<usize>| {
            let value = cell.and_then(|cell| values.get(cell).copied().flatten());
            here(value.map_or(1, column_of))
        };
        let mut cells = Vec::with_capacity(values.len());
        for (index, raw) in values.iter().enumerate() {
            let text = raw.map(|raw| json_cell(raw.get(), is_list(index)));
            if let (Some(raw), Some(None)) = (*raw, &text) {
                problems.add(&here(column_of(raw)), "a cell must be one value");
            }
            cells.push(text.flatten().and_then(filled));
        }
        let row = Row { cells, is_malformed, place: &place };
        if !take(&row, problems) {
            return;
        }
    }
    seen.finish(&at(source, 1, 1), problems);
}

/// The text of a scalar; `null` is empty. Nothing for an object, nor for a list where none may be.
pub(super) fn json_cell(raw: &str, is_list: bool) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
        b'[' if is_list => Some(Cow::Borrowed(raw)),
        b'{' | b'[' => None,
        b'n' => Some(Cow::Borrowed("")),
        _ => Some(Cow::Borrowed(raw)),
    }
}

/// The members of one JSON object in their order, each name once.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Members<'_> {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(each, _)| each == name).map(|(_, value)| value.get())
    }
}

/// Nothing when these are not the bytes of one JSON object.
pub(super) fn members(json: &[u8]) -> Option<Members<'_>> {
    serde_json::from_slice(json).ok()
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if members.iter().any(|(each, _)| *each == name) {
                return Err(serde::de::Error::custom("a name stands twice"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// Which columns any row had: one that none had is a misspelt name, not an absent value.
struct Columns<'c> {
    missing: Vec<&'c str>,
    others: Vec<String>,
    has_rows: bool,
}

/// Names kept for a suggestion.
const OTHERS_MAX: usize = 64;

impl<'c> Columns<'c> {
    fn of(columns: &[&'c str]) -> Self {
        Self { missing: columns.to_vec(), others: Vec::new(), has_rows: false }
    }

    fn see(&mut self, name: &str) {
        self.has_rows = true;
        self.missing.retain(|column| *column != name);
        if self.others.len() < OTHERS_MAX && !self.others.iter().any(|each| each == name) {
            self.others.push(name.to_owned());
        }
    }

    fn finish(self, at: &At, problems: &mut Problems) {
        for column in self.missing.iter().filter(|_| self.has_rows) {
            let hint = suggestion(column, self.others.iter().map(String::as_str));
            problems.add(at, format!("no row of the table has `{column}`{hint}"));
        }
    }
}
