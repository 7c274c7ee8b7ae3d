use std::path::Path;

use tipstaff::case::{Millis, Reason};
use tipstaff::config::{Files, load};
use tipstaff::enrich::Enrichers;

/// The date of nothing: facts of tables that give no age are this old.
const NOW: Millis = Millis(1_795_000_000_000);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn all_shipped_files_are_right() {
    let files = Files::shipped();
    let checked = load(&files).expect("no problems");
    let names: Vec<&str> = checked.enrichers.iter().map(|config| &*config.name).collect();
    assert_eq!(
        names,
        [
            "aws_iam",
            "codeowners",
            "identity",
            "owner",
            "registry",
            "repository",
            "rotation",
            "threat",
            "vault",
        ]
    );
    assert_eq!(Enrichers::new(&checked.enrichers, &files, NOW).expect("right tables").len(), 9);
}

#[test]
fn the_example_of_a_deployment_is_right_and_is_the_shipped_policy() {
    let files = Files::read(&root().join("deploy"));
    let checked = load(&files).expect("no problems");
    assert_eq!(checked.service.expect("a service").instance, "tipstaff-1");
    assert_eq!(checked.policy_hash, load(&Files::shipped()).expect("no problems").policy_hash);
}

#[test]
fn every_table_format_is_shown_once() {
    let shipped = Files::shipped();
    for extension in [".csv", ".yaml", ".ndjson"] {
        let is_table = |path: &&str| {
            path.starts_with("enrichers/")
                && path.ends_with(extension)
                && !path.ends_with("enricher.yaml")
        };
        assert!(shipped.paths().any(|path| is_table(&path)), "{extension}");
    }
}

#[test]
fn the_readme_explains_every_reason() {
    let readme = std::fs::read_to_string(root().join("playbooks/README.md")).expect("a file");
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.code(), reason.about());
        assert!(readme.contains(&row), "{row}");
    }
}
