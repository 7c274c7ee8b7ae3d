//! The JSON Schemas say what the loader says: at every mapping that a file can hold, the same keys,
//! the same ones required, and words that the loader knows. An outside validator checks the shipped
//! files against them: `tests/peers/schemas.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tipstaff::case::FIELDS;
use tipstaff::config::{Files, SCHEMAS, ServiceConfig, load, schema_kind};
use tipstaff::text::{Data, Node, Problems, Source};

use crate::yaml::{node, written};

/// A key that nobody could mean.
const STRANGE: &str = "~~~~~~~~~~~~~~~~~~~~~~~~";

/// Each has every key that its kind of file can have, or together they have.
pub fn every_key() -> Vec<(&'static str, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/every_key");
    let mut found = Vec::new();
    for (kind, _) in SCHEMAS {
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        let of_kind = names
            .iter()
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(kind));
        found.extend(of_kind.map(|path| (kind, std::fs::read_to_string(path).unwrap())));
    }
    found
}

pub fn schema(kind: &str) -> Value {
    let (_, text) = SCHEMAS.iter().find(|(name, _)| *name == kind).unwrap();
    serde_json::from_str(text).unwrap()
}

/// What the loader says about a file of this kind, among shipped files of the other kinds.
pub fn problems(kind: &str, text: &str) -> Vec<String> {
    if kind == "tipstaff" {
        let mut problems = Problems::default();
        ServiceConfig::read(&Source::new("tipstaff.yaml", text), &mut problems);
        return problems.into_sorted().iter().map(ToString::to_string).collect();
    }
    let place = match kind {
        "boundary" => "playbooks/boundary.yaml",
        "playbook" => "playbooks/every.yaml",
        "action" => "playbooks/actions/every.yaml",
        "sink" => "playbooks/sinks/every.yaml",
        "enricher" => "enrichers/every/enricher.yaml",
        _ => "pipelines/every/pipeline.yaml",
    };
    let mut files = Files::default();
    for (path, file) in Files::shipped().iter() {
        if matches!(schema_kind(path), Some("boundary" | "action" | "enricher")) {
            files.insert(path, file.source.clone(), None);
        }
    }
    files.insert("pipelines/every/examples/one.json", Source::new("one.json", "{}"), None);
    files.insert(place, Source::new("every.yaml", text), None);
    let found = load(&files).err().unwrap_or_default();
    found.iter().map(ToString::to_string).filter(|line| line.starts_with("every.yaml")).collect()
}

/// A mapping or value inside a file: the index of each entry or item on the way to it.
pub type Place = Vec<usize>;

/// The schemas that a place may have, without references and alternatives.
fn alternatives<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    if let Some(name) = schema["$ref"].as_str() {
        return alternatives(root, root.pointer(name.trim_start_matches('#')).expect(name));
    }
    match schema["anyOf"].as_array() {
        Some(any) if schema["type"].is_null() => {
            any.iter().flat_map(|one| alternatives(root, one)).collect()
        }
        _ => vec![schema],
    }
}

/// Schemas of the entries of a mapping with this key.
pub fn of_key<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let named = schema["properties"].get(key);
    let by_pattern = || {
        let patterns = schema["patternProperties"].as_object()?;
        patterns.iter().find(|(p, _)| regex::Regex::new(p).unwrap().is_match(key)).map(|(_, of)| of)
    };
    let others = || schema.get("additionalProperties").filter(|other| other.is_object());
    named.or_else(by_pattern).or_else(others)
}

#[derive(Default)]
struct Visited<'s> {
    /// By the schema's address, with every place that has it.
    objects: BTreeMap<usize, (&'s Value, Vec<Place>)>,
    words: Vec<(&'s Value, Place)>,
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

impl<'s> Visited<'s> {
    fn visit(&mut self, root: &'s Value, schema: &'s Value, node: &Node, place: &Place) {
        for one in alternatives(root, schema) {
            let inner = |index| [place.as_slice(), &[index]].concat();
            match &node.data {
                Data::Map(entries) if one["type"] == "object" => {
                    let of = self.objects.entry(address(one)).or_insert((one, Vec::new()));
                    of.1.push(place.clone());
                    for (index, (key, value)) in entries.iter().enumerate() {
                        let key = written(key).trim_matches('"').to_owned();
                        let of = of_key(one, &key);
                        let of = of.unwrap_or_else(|| panic!("the schema has no `{key}`: {one}"));
                        self.visit(root, of, value, &inner(index));
                    }
                }
                Data::List(items) if one["type"] == "array" => {
                    for (index, item) in items.iter().enumerate() {
                        self.visit(root, &one["items"], item, &inner(index));
                    }
                }
                Data::Text(_) if one["enum"].is_array() => self.words.push((one, place.clone())),
                _ => {}
            }
        }
    }
}

/// Every mapping that a schema speaks of.
fn objects<'s>(root: &'s Value, schema: &'s Value, found: &mut BTreeMap<usize, &'s Value>) {
    for one in alternatives(root, schema) {
        let holds_more = one["type"] == "object" || one["type"] == "array";
        if !holds_more || found.insert(address(one), one).is_some() {
            continue;
        }
        if one["type"] == "object" {
            let properties = one["properties"].as_object().into_iter().flat_map(|all| all.values());
            properties.for_each(|of| objects(root, of, found));
            let patterns = one["patternProperties"].as_object();
            patterns
                .into_iter()
                .flat_map(|all| all.values())
                .for_each(|of| objects(root, of, found));
            objects(root, &one["additionalProperties"], found);
        } else {
            objects(root, &one["items"], found);
        }
    }
}

fn at<'n>(node: &'n mut Node, place: &[usize]) -> &'n mut Node {
    let Some((first, rest)) = place.split_first() else { return node };
    match &mut node.data {
        Data::Map(entries) => at(&mut entries[*first].1, rest),
        Data::List(items) => at(&mut items[*first], rest),
        other => panic!("{other:?} holds nothing"),
    }
}

/// The file with something done at a place.
pub fn changed(node: &Node, place: &[usize], change: &dyn Fn(&mut Node)) -> String {
    let mut node = node.clone();
    change(at(&mut node, place));
    written(&node)
}

fn with_strange_key(node: &mut Node) {
    let at = node.at.clone();
    let Data::Map(entries) = &mut node.data else { panic!("a mapping") };
    let key = Node { at: at.clone(), byte: 0, data: Data::Text(STRANGE.to_owned()) };
    entries.push((key, Node { at, byte: 0, data: Data::Int(1) }));
}

fn without_key(key: &str) -> impl Fn(&mut Node) {
    move |node| {
        let Data::Map(entries) = &mut node.data else { panic!("a mapping") };
        entries.retain(|(name, _)| name.text() != Some(key));
    }
}

/// The keys that the loader asks for there; nothing where it takes any.
fn known(kind: &str, node: &Node, place: &[usize]) -> Option<BTreeSet<String>> {
    let told = problems(kind, &changed(node, place, &with_strange_key));
    let told = told.iter().find_map(|line| line.split_once(&format!("unknown key `{STRANGE}`")))?;
    let list = told.1.strip_prefix("; known here: ").expect("a list");
    Some(list.split(", ").map(str::to_owned).collect())
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flat_map(|all| all.keys().cloned()).collect()
}

#[test]
fn every_key_file_is_right() {
    for (kind, text) in every_key() {
        assert_eq!(problems(kind, &text), Vec::<String>::new(), "{kind}\n{text}");
        assert_eq!(problems(kind, &written(&node(&text))), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn the_file_with_every_key_of_a_boundary_has_them_all() {
    let (_, text) = every_key().into_iter().find(|(kind, _)| *kind == "boundary").unwrap();
    let (root, node) = (schema("boundary"), node(&text));
    let mut visited = Visited::default();
    visited.visit(&root, &root, &node, &Vec::new());
    let mut wrong = Vec::new();
    for (of, places) in visited.objects.values() {
        let mut unseen = names(&of["properties"]);
        for place in places {
            let mut whole = node.clone();
            let Data::Map(entries) = &at(&mut whole, place).data else { panic!("no mapping") };
            unseen.retain(|name| entries.iter().all(|(key, _)| key.text() != Some(name)));
        }
        wrong.extend((!unseen.is_empty()).then(|| format!("{unseen:?} of {of}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the loader asked for in the mappings that one schema is about.
struct Asked<'s> {
    of: &'s Value,
    keys: BTreeSet<String>,
    takes_any: bool,
}

#[test]
fn the_loader_and_the_schemas_know_the_same_keys() {
    let mut wrong = Vec::new();
    for (kind, _) in SCHEMAS {
        let root = schema(kind);
        let mut all = BTreeMap::new();
        objects(&root, &root, &mut all);
        all.retain(|_, one| one["type"] == "object");
        let mut asked: BTreeMap<usize, Asked<'_>> = BTreeMap::new();
        for (_, text) in every_key().into_iter().filter(|(of, _)| *of == kind) {
            let node = node(&text);
            let mut visited = Visited::default();
            visited.visit(&root, &root, &node, &Vec::new());
            for (address, (of, places)) in visited.objects {
                let new = Asked { of, keys: BTreeSet::new(), takes_any: false };
                let asked = asked.entry(address).or_insert(new);
                for place in &places {
                    match known(kind, &node, place) {
                        Some(keys) => asked.keys.extend(keys),
                        None => asked.takes_any = true,
                    }
                }
            }
        }
        all.retain(|address, _| !asked.contains_key(address));
        wrong.extend(all.values().map(|one| format!("{kind}: no file of `every_key` has: {one}")));
        wrong.extend(asked.values().filter_map(|asked| difference(kind, asked)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(kind: &str, asked: &Asked<'_>) -> Option<String> {
    let of = asked.of;
    // Mappings by name of an alert's fields are told in other words: see below.
    if of.get("patternProperties").is_some() || is_of_a_group(of) {
        return None;
    }
    let (named, is_closed) = (names(&of["properties"]), of["additionalProperties"] == false);
    let fits = match asked.takes_any {
        true => of["additionalProperties"].is_object(),
        false => is_closed && named == asked.keys,
    };
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| format!("{:?}", one - other);
    let (here, there) = (only(&named, &asked.keys), only(&asked.keys, &named));
    (!fits).then(|| {
        format!(
            "{kind}: only the schema {here}, only the loader {there}, any: {}: {of}",
            asked.takes_any
        )
    })
}

/// Of an alert's part: `nhi: {id: x}`.
fn is_of_a_group(of: &Value) -> bool {
    let in_tests = &schema("playbook")["$defs"]["alert"]["properties"];
    FIELDS.iter().any(|info| in_tests[info.group] == *of)
}

/// Keys of which one must be there.
fn choices(of: &Value) -> BTreeSet<String> {
    let branches = of["oneOf"].as_array().into_iter().chain(of["anyOf"].as_array()).flatten();
    let keys = branches.flat_map(|branch| branch["required"].as_array()).flatten();
    keys.map(|key| key.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_schema_requires_the_loader_requires() {
    let mut wrong = Vec::new();
    for (kind, text) in every_key() {
        let (root, node) = (schema(kind), node(&text));
        let mut visited = Visited::default();
        visited.visit(&root, &root, &node, &Vec::new());
        for (of, places) in visited.objects.values() {
            let required = of["required"].as_array().into_iter().flatten();
            let required: Vec<&str> = required.map(|key| key.as_str().unwrap()).collect();
            let choices = choices(of);
            for (key, place) in
                names(&of["properties"]).iter().flat_map(|key| places.iter().map(move |p| (key, p)))
            {
                let told = problems(kind, &changed(&node, place, &without_key(key)));
                let missed = format!("`{key}` is missing");
                let is_missed = told.iter().any(|line| line.contains(&missed));
                if required.contains(&&**key) && told.is_empty() {
                    wrong.push(format!("{kind}: nobody misses `{key}`: {of}"));
                } else if !required.contains(&&**key) && !choices.contains(key) && is_missed {
                    wrong.push(format!("{kind}: `{key}` is required: {of}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_words_of_a_schema_are_the_loaders() {
    let mut listed = 0;
    for (kind, text) in every_key() {
        let (root, node) = (schema(kind), node(&text));
        let mut visited = Visited::default();
        visited.visit(&root, &root, &node, &Vec::new());
        for (of, place) in &visited.words {
            let strange = |node: &mut Node| node.data = Data::Text("~~~".to_owned());
            let told = problems(kind, &changed(&node, place, &strange));
            assert!(!told.is_empty(), "{kind}: any word passes: {of}");
            let words = of["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
            let words: BTreeSet<&str> = words.collect();
            let lists = told.iter().filter_map(|line| line.split_once("one of "));
            for (_, list) in lists.filter(|(_, list)| !list.contains(['`', ':'])) {
                listed += 1;
                assert_eq!(list.split(", ").collect::<BTreeSet<_>>(), words, "{kind}: {told:#?}");
            }
        }
    }
    assert!(listed > 15, "the loader listed its words {listed} times");
}

#[test]
fn the_fields_of_an_alert_are_all_there() {
    let (playbook, pipeline) = (schema("playbook"), schema("pipeline"));
    let in_tests = names(&playbook["$defs"]["alert"]["properties"]);
    let mapped = names(&pipeline["properties"]["map"]["properties"]);
    let groups: BTreeSet<String> = FIELDS.iter().map(|info| info.group.to_owned()).collect();
    let paths: BTreeSet<String> = FIELDS.iter().map(|info| info.path.to_owned()).collect();
    assert_eq!(in_tests, paths.union(&groups).cloned().collect::<BTreeSet<_>>());
    for group in &groups {
        let of_group =
            FIELDS.iter().filter(|info| info.group == group).map(|info| info.name.to_owned());
        let told = names(&playbook["$defs"]["alert"]["properties"][group]["properties"]);
        assert_eq!(told, of_group.collect::<BTreeSet<_>>());
    }
    let text = every_key().into_iter().find(|(kind, _)| *kind == "pipeline").unwrap().1;
    for path in &paths {
        let with_field = format!("{text}\n").replacen("map:\n", &format!("map:\n  {path}: a\n"), 1);
        let told = problems("pipeline", &with_field);
        let is_refused = told.iter().any(|line| line.contains("is filled by intake"));
        assert_eq!(mapped.contains(path), !is_refused, "{path}: {told:#?}");
    }
    assert!(mapped.is_subset(&paths));
    let keys = &schema("enricher")["$defs"]["key_field"]["anyOf"][0]["enum"];
    let texts = FIELDS.iter().filter(|info| info.of == tipstaff::case::Type::Text);
    let texts: Vec<Value> = texts.map(|info| Value::from(info.path)).collect();
    assert_eq!(keys.as_array(), Some(&texts));
}
