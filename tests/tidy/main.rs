//! What reviewers would have to say again and again: sizes, words, and who may know whom.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod layers;
mod planted;
mod rules;
mod text;

use std::path::{Path, PathBuf};

use layers::LAYERS;
use rules::Finding;
use text::Text;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> Text {
    let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    Text::new(name, &std::fs::read_to_string(path).unwrap())
}

fn texts() -> Vec<Text> {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn assert_none(findings: &[Finding]) {
    let lines: Vec<String> =
        findings.iter().map(|finding| format!("{}: {}", finding.place, finding.what)).collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}

#[test]
fn every_source_file_keeps_the_rules() {
    let findings: Vec<Finding> = texts().iter().flat_map(rules::all).collect();
    assert_none(&findings);
}

#[test]
fn every_reason_is_explained_to_the_authors_of_playbooks() {
    let reasons = read(&root().join("src/case/reason.rs"));
    let table = std::fs::read_to_string(root().join("playbooks/README.md")).unwrap();
    assert_ne!(rules::unexplained(&reasons, ""), []);
    assert_none(&rules::unexplained(&reasons, &table));
}

#[test]
fn the_map_of_the_crate_is_the_table_of_layers() {
    let map = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: Vec<&str> = map
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|line| line.trim_end_matches(';'))
        .collect();
    let layers: Vec<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    assert_eq!(modules, layers);
}

#[test]
fn a_layer_imports_only_what_stands_above_it() {
    for (index, (module, _)) in LAYERS.iter().enumerate() {
        for (other, _) in &LAYERS[index + 1..] {
            assert!(!layers::may_import(module, other), "{module} imports {other}");
        }
    }
}
