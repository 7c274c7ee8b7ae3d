//! The JSON Schemas before a validator of somebody else's: they are schemas, the shipped files fit
//! them, and the same files with a mistake do not.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tipstaff::config::{Files, SCHEMAS, schema_kind};

use crate::server::installed;
use crate::yaml::{node, written};

/// Reads `{schemas, documents}` and prints for each document what is wrong with it.
const VALIDATOR: &str = "\
import json, sys
from jsonschema import Draft202012Validator
given = json.load(sys.stdin)
validators = {}
for kind, schema in given['schemas'].items():
    Draft202012Validator.check_schema(schema)
    validators[kind] = Draft202012Validator(schema)
found = [[f'{e.json_path}: {e.message[:200]}' for e in validators[kind].iter_errors(document)]
         for kind, document in given['documents']]
json.dump(found, sys.stdout)
";

/// `jsonschema` of PyPI comes with a program of its own name, beside the interpreter.
fn judged(documents: &[(String, Value)]) -> Option<Vec<Vec<String>>> {
    installed("jsonschema")?;
    let schemas = SCHEMAS
        .iter()
        .map(|(kind, text)| ((*kind).to_owned(), serde_json::from_str::<Value>(text).unwrap()));
    let given = json!({
        "schemas": schemas.collect::<serde_json::Map<_, _>>(),
        "documents": documents,
    });
    let mut child = Command::new(installed("python")?)
        .args(["-c", VALIDATOR])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Keys that are no text, which only tables of pipelines have, become text.
fn as_json(text: &str) -> Value {
    let plain = regex::Regex::new(r"([{,] ?)(-?[0-9]+|true|false|null): ").unwrap();
    let written = written(&node(text));
    let quoted = plain.replace_all(&written, "$1\"$2\": ");
    serde_json::from_str(&quoted).unwrap_or_else(|error| panic!("{error}: {quoted}"))
}

fn documents() -> Vec<(String, String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = Files::shipped();
    let files = shipped.iter().filter_map(|(path, file)| {
        let kind = schema_kind(path)?;
        Some((path.to_owned(), kind.to_owned(), as_json(&file.source.text)))
    });
    let mut found: Vec<(String, String, Value)> = files.collect();
    let deployed = std::fs::read_to_string(root.join("deploy/tipstaff.yaml")).unwrap();
    found.push(("deploy/tipstaff.yaml".to_owned(), "tipstaff".to_owned(), as_json(&deployed)));
    for entry in std::fs::read_dir(root.join("tests/config/every_key")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let kind = name.split('-').next().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        found.push((name, kind, as_json(&text)));
    }
    found
}

#[test]
fn shipped_files_fit_the_schemas() {
    let documents = documents();
    assert!(documents.len() > 40);
    let given: Vec<(String, Value)> =
        documents.iter().map(|(_, kind, value)| (kind.clone(), value.clone())).collect();
    let Some(judged) = judged(&given) else { return };
    for ((name, ..), wrong) in documents.iter().zip(&judged) {
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

#[test]
fn a_file_with_an_unknown_key_or_without_a_name_fits_none() {
    let mut given = Vec::new();
    for (_, kind, value) in documents() {
        let mut strange = value.clone();
        strange.as_object_mut().unwrap().insert("strange".to_owned(), json!(1));
        given.push((kind.clone(), strange));
        let mut nameless = value.clone();
        nameless.as_object_mut().unwrap().remove(if kind == "tipstaff" { "kafka" } else { &kind });
        given.push((kind.clone(), nameless));
        if kind == "playbook" {
            let mut two = value;
            two["rules"][0]["route"] = json!({"queue": "q", "priority": "low"});
            two["rules"][0]["hold"] = json!({"queue": "q", "priority": "low", "for": "1d"});
            given.push((kind, two));
        }
    }
    let Some(judged) = judged(&given) else { return };
    for ((kind, document), wrong) in given.iter().zip(&judged) {
        assert!(!wrong.is_empty(), "{kind}: {document}");
    }
}
