use super::enricher::inside;
use super::words::listed;
use crate::case::Type;
use crate::text::{At, Fields, Node, Problems, suggestion};

/// Lists of addresses and networks: whether a key is in one of them, and in which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSource {
    pub lists: Vec<AddressList>,
    /// In the order of the enricher's `provides`.
    pub gives: Vec<Given>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressList {
    pub name: String,
    /// From the root of the configuration: `enrichers/threat/tor.txt`.
    pub file: String,
    pub format: ListFormat,
    /// What being in the list means, where its rows do not say.
    pub label: Option<String>,
    /// In CSV, the columns of the address and of the label.
    pub column: Option<String>,
    pub label_column: Option<String>,
    /// Where the file is named.
    pub at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// One address or network a line.
    Plain,
    Csv,
    /// A STIX 2.1 bundle's indicators.
    Stix,
}

/// What a list of addresses says of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    Listed,
    /// The names of all lists that hold it.
    Lists,
    /// Of the narrowest network that holds it.
    Label,
    Network,
    ValidUntil,
}

const GIVEN: &[(&str, Type, Given)] = &[
    ("listed", Type::Bool, Given::Listed),
    ("lists", Type::Text, Given::Lists),
    ("label", Type::Text, Given::Label),
    ("network", Type::Text, Given::Network),
    ("valid_until", Type::Time, Given::ValidUntil),
];

const FORMATS: &[(&str, ListFormat)] =
    &[("plain", ListFormat::Plain), ("csv", ListFormat::Csv), ("stix", ListFormat::Stix)];

const EXTENSIONS: &[(&str, ListFormat)] = &[
    ("txt", ListFormat::Plain),
    ("netset", ListFormat::Plain),
    ("ipset", ListFormat::Plain),
    ("csv", ListFormat::Csv),
    ("json", ListFormat::Stix),
];

pub(super) fn addresses(
    node: &Node,
    folder: &str,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<AddressSource> {
    let mut fields = Fields::of(node, "`addresses`", problems)?;
    fields.require("lists", problems);
    let nodes = fields.list("lists", problems);
    let lists: Vec<AddressList> =
        nodes.iter().filter_map(|node| list(node, folder, problems)).collect();
    fields.finish(problems);
    for (index, list) in lists.iter().enumerate() {
        if lists.iter().take(index).any(|earlier| earlier.name == list.name) {
            problems.add(&list.at, format!("another list is called `{}`", list.name));
        }
    }
    if nodes.is_empty() {
        problems.add(&node.at, "`lists` must name at least one list");
    }
    let gives = provides.iter().map(|(name, of)| given(name, *of, &node.at, problems));
    let gives = gives.collect::<Option<Vec<Given>>>()?;
    (!lists.is_empty()).then_some(AddressSource { lists, gives })
}

fn given(name: &str, of: Type, at: &At, problems: &mut Problems) -> Option<Given> {
    let Some((_, wanted, given)) = GIVEN.iter().find(|(known, ..)| *known == name) else {
        let hint = suggestion(name, GIVEN.iter().map(|(known, ..)| *known));
        problems.add(at, format!("a list of addresses does not provide `{name}`{hint}"));
        return None;
    };
    if *wanted != of {
        problems.add(at, format!("`{name}` of a list of addresses is {}", wanted.name()));
    }
    Some(*given)
}

fn list(node: &Node, folder: &str, problems: &mut Problems) -> Option<AddressList> {
    let mut fields = Fields::of(node, "a list", problems)?;
    let name = fields.require_text("name", problems);
    let file = fields.require("file", problems);
    let text = fields.text("file", problems);
    let format = match fields.get("format") {
        Some(node) => listed(node, "format", FORMATS, problems),
        None => file.and_then(|file| guessed(file, problems)),
    };
    let label = fields.text("label", problems).map(str::to_owned);
    let column = fields.get("column");
    let column_text = fields.text("column", problems).map(str::to_owned);
    let label_node = fields.get("label_column");
    let label_column = fields.text("label_column", problems).map(str::to_owned);
    let at = fields.at.clone();
    fields.finish(problems);
    match (format, column) {
        (Some(ListFormat::Csv), None) => {
            problems.add(&at, "a CSV list needs the `column` of its addresses");
        }
        (Some(ListFormat::Plain | ListFormat::Stix), Some(node)) => {
            problems.add(&node.at, "only CSV has columns");
        }
        _ => {}
    }
    if let (Some(ListFormat::Plain | ListFormat::Stix), Some(node)) = (format, label_node) {
        problems.add(&node.at, "only CSV has columns");
    }
    let path = inside(folder, text?);
    if path.is_none() {
        problems.add(&file?.at, "the file must be in or under the enricher's folder");
    }
    Some(AddressList {
        name: name?.to_owned(),
        file: path?,
        format: format?,
        label,
        column: column_text,
        label_column,
        at: file?.at.clone(),
    })
}

fn guessed(file: &Node, problems: &mut Problems) -> Option<ListFormat> {
    let extension = file.text()?.rsplit_once('.').map(|(_, extension)| extension);
    let found = EXTENSIONS.iter().find(|(each, _)| Some(*each) == extension);
    if found.is_none() {
        problems.add(&file.at, "must end in .txt, .csv or .json, or `format` must say what it is");
    }
    found.map(|(_, format)| *format)
}
