//! The JSON Schemas refuse what the loader refuses where it stands: a value that is gone, an empty
//! text, list or mapping. Each value of each file that holds every key is tried.

use serde_json::Value;
use tipstaff::config::{Files, SCHEMAS, schema_kind};
use tipstaff::text::{Data, Node};

use crate::schemas::{Place, changed, every_key, of_key, problems, schema};
use crate::yaml::{node, written};

fn is_of(of: &str, node: &Node) -> bool {
    match of {
        "null" => node.data == Data::Null,
        "boolean" => matches!(node.data, Data::Bool(_)),
        "integer" => matches!(node.data, Data::Int(_)),
        "number" => matches!(node.data, Data::Int(_) | Data::Decimal(_)),
        "string" => matches!(node.data, Data::Text(_)),
        "array" => matches!(node.data, Data::List(_)),
        "object" => matches!(node.data, Data::Map(_)),
        other => panic!("no type {other}"),
    }
}

/// What the schemas use of JSON Schema; more of it is a mistake of this test.
const KEYWORDS: [&str; 24] = [
    "$schema",
    "title",
    "$defs",
    "$ref",
    "description",
    "type",
    "enum",
    "const",
    "pattern",
    "minLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "items",
    "contains",
    "properties",
    "required",
    "patternProperties",
    "additionalProperties",
    "minProperties",
    "propertyNames",
    "anyOf",
    "oneOf",
];

fn fits(root: &Value, schema: &Value, node: &Node) -> bool {
    let Some(schema_of) = schema.as_object() else { return schema.as_bool().unwrap() };
    let one = |(keyword, of): (&String, &Value)| {
        let number = |of: &Value| usize::try_from(of.as_u64().unwrap()).unwrap();
        let all = |of: &Value, wanted: fn(usize) -> bool| {
            wanted(of.as_array().unwrap().iter().filter(|one| fits(root, one, node)).count())
        };
        match (&**keyword, &node.data) {
            ("$ref", _) => {
                let name = of.as_str().unwrap();
                fits(root, root.pointer(name.trim_start_matches('#')).expect(name), node)
            }
            ("type", _) => match of {
                Value::Array(any) => any.iter().any(|of| is_of(of.as_str().unwrap(), node)),
                of => is_of(of.as_str().unwrap(), node),
            },
            ("enum", _) => of.as_array().unwrap().iter().any(|of| of.as_str() == node.text()),
            ("const", _) => of.as_str() == node.text(),
            ("anyOf", _) => all(of, |count| count > 0),
            ("oneOf", _) => all(of, |count| count == 1),
            ("pattern", Data::Text(text)) => {
                regex::Regex::new(of.as_str().unwrap()).unwrap().is_match(text)
            }
            ("minLength", Data::Text(text)) => text.chars().count() >= number(of),
            ("minimum", Data::Int(value)) => *value >= of.as_i64().unwrap(),
            ("maximum", Data::Int(value)) => *value <= of.as_i64().unwrap(),
            ("minItems", Data::List(items)) => items.len() >= number(of),
            ("maxItems", Data::List(items)) => items.len() <= number(of),
            ("items", Data::List(items)) => items.iter().all(|item| fits(root, of, item)),
            ("contains", Data::List(items)) => items.iter().any(|item| fits(root, of, item)),
            ("minProperties", Data::Map(entries)) => entries.len() >= number(of),
            ("propertyNames", Data::Map(entries)) => {
                entries.iter().all(|(key, _)| fits(root, of, key))
            }
            ("required", Data::Map(entries)) => {
                let has = |key: &Value| entries.iter().any(|(name, _)| name.text() == key.as_str());
                of.as_array().unwrap().iter().all(has)
            }
            // Of all three at once.
            ("properties" | "patternProperties" | "additionalProperties", Data::Map(entries)) => {
                entries.iter().all(|(key, value)| {
                    let key = written(key).trim_matches('"').to_owned();
                    let of = of_key(schema, &key);
                    of.map_or(schema["additionalProperties"] != false, |of| fits(root, of, value))
                })
            }
            (keyword, _) => KEYWORDS.contains(&keyword) || panic!("what is `{keyword}`?"),
        }
    };
    schema_of.iter().all(one)
}

/// Every value inside, and the values to try in its place.
fn probes(node: &Node, place: &Place, found: &mut Vec<(Place, Data)>) {
    let inner: Vec<&Node> = match &node.data {
        Data::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
        Data::List(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let empty = match &node.data {
        Data::Map(_) => Some(Data::Map(Vec::new())),
        Data::List(_) => Some(Data::List(Vec::new())),
        Data::Text(_) => Some(Data::Text(String::new())),
        _ => None,
    };
    found.extend([Some(Data::Null), empty].into_iter().flatten().map(|data| (place.clone(), data)));
    for (index, value) in inner.into_iter().enumerate() {
        probes(value, &[place.as_slice(), &[index]].concat(), found);
    }
}

/// `deny/0/when = ""`
fn shown(node: &Node, place: &[usize]) -> String {
    let Some((first, rest)) = place.split_first() else { return format!(" = {}", written(node)) };
    match &node.data {
        Data::Map(entries) => {
            let (key, value) = &entries[*first];
            format!("/{}{}", written(key).trim_matches('"'), shown(value, rest))
        }
        Data::List(items) => format!("/{first}{}", shown(&items[*first], rest)),
        other => panic!("{other:?} holds nothing"),
    }
}

/// Where the value stands, and its key.
fn ats(node: &Node, place: &[usize]) -> Vec<String> {
    let at = |node: &Node| format!(":{}:{}: ", node.at.line, node.at.column);
    let Some((first, rest)) = place.split_first() else { return vec![at(node)] };
    match &node.data {
        Data::Map(entries) if rest.is_empty() => {
            let (key, value) = &entries[*first];
            vec![at(key), at(value)]
        }
        Data::Map(entries) => ats(&entries[*first].1, rest),
        Data::List(items) => ats(&items[*first], rest),
        other => panic!("{other:?} holds nothing"),
    }
}

/// What only names and the words of other places tell is beyond a schema.
const BEYOND: [&str; 7] = [
    "never ``",
    "is not in `provides`",
    "is called ``",
    "there is no action ``",
    "is named ``",
    "does not say where",
    "has no rule ``",
];

#[test]
fn shipped_files_fit_the_schemas() {
    let mut count = 0;
    for (path, file) in Files::shipped().iter() {
        let Some(kind) = schema_kind(path) else { continue };
        let root = schema(kind);
        assert!(fits(&root, &root, &node(&file.source.text)), "{path}");
        count += 1;
    }
    assert!(count > 40, "{count}");
}

#[test]
fn what_is_empty_is_refused_by_the_loader_and_by_the_schema_or_by_none() {
    let mut wrong = Vec::new();
    let mut refused = 0;
    for (kind, text) in every_key() {
        let (root, whole) = (schema(kind), node(&text));
        assert!(fits(&root, &root, &whole), "{kind}");
        let mut all = Vec::new();
        probes(&whole, &Vec::new(), &mut all);
        for (place, data) in all {
            let text = changed(&whole, &place, &|node| node.data = data.clone());
            let (told, changed) = (problems(kind, &text), node(&text));
            let ats = ats(&changed, &place);
            let is_of_it = |line: &&String| ats.iter().any(|at| line.contains(at));
            let mut there = told.iter().filter(is_of_it);
            let is_there = there.any(|line| !BEYOND.iter().any(|part| line.contains(part)));
            let takes = fits(&root, &root, &changed);
            refused += usize::from(is_there && !takes);
            let what = shown(&changed, &place);
            if !takes && told.is_empty() {
                wrong.push(format!("{kind}{what}: only the schema refuses it"));
            } else if takes && is_there {
                wrong.push(format!("{kind}{what}: only the loader refuses it: {told:?}"));
            }
        }
    }
    assert!(SCHEMAS.len() * 50 < refused, "{refused}");
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
