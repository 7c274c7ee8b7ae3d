use std::path::Path;

use tipstaff::case::{Millis, Reason};
use tipstaff::config::{Files, load};
use tipstaff::enrich::Enrichers;
use tipstaff::text::Source;

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

/// What caches go by, so that nobody is ruled by what is too old for him.
#[test]
fn the_least_age_that_anybody_asks_of_an_enricher_is_known() {
    let mut files = Files::shipped();
    let least = |files: &Files, enricher: &str| {
        let checked = load(files).expect("no problems");
        let place = checked.enrichers.iter().position(|config| *config.name == *enricher);
        checked.policy.least_ages_ms().nth(place.expect("an enricher")).flatten()
    };
    const HOUR: i64 = 3_600_000;
    assert_eq!(least(&files, "vault"), Some(24 * HOUR));
    assert_eq!(least(&files, "owner"), Some(7 * 24 * HOUR));
    assert_eq!(least(&files, "codeowners"), None);
    let place = "playbooks/boundary.yaml";
    let text = files.get(place).expect("a boundary").source.text.clone();
    let narrowed = text.replace("owner.tier: 7d", "owner.tier: 2h");
    assert_ne!(narrowed, text);
    files.insert(place, Source::new(place, narrowed), None);
    assert_eq!(least(&files, "owner"), Some(2 * HOUR));
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
