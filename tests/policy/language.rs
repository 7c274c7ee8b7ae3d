//! The page about the language is what its table says.

use std::path::Path;

use tipstaff::clause::reference;

use crate::support::clause;

#[test]
fn the_page_about_the_language_is_made_from_its_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/LANGUAGE.md");
    if std::env::var_os("TIPSTAFF_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap();
    let differs = page.lines().zip(reference().lines().map(str::to_owned)).find(|(a, b)| a != b);
    assert!(
        page == reference(),
        "playbooks/LANGUAGE.md is not what src/clause/table.rs gives; the first difference: {differs:?}. \
         Write it anew: TIPSTAFF_WRITE_REFERENCE=1 cargo test --test policy language"
    );
}

#[test]
fn the_limits_that_the_page_names_hold() {
    let page = reference();
    assert!(page.contains("at most 4096 bytes, nests at most 32 deep"));
    let fits = format!("nhi.id == '{}'", "x".repeat(4096 - 12));
    assert!(clause(&fits).is_ok());
    assert!(clause(&format!("{fits} ")).unwrap_err()[0].contains("longer than 4096 bytes"));
    let nested = |depth: usize| format!("{}has(nhi.id){}", "(".repeat(depth), ")".repeat(depth));
    assert!(clause(&nested(31)).is_ok());
    assert!(clause(&nested(32)).unwrap_err()[0].contains("nested deeper than 32"));
    for (start, link) in [("observed_at", " - duration('1s')"), ("has(nhi.id)", ".x()")] {
        let long = format!("{start}{}", link.repeat(40));
        assert!(clause(&long).unwrap_err()[0].contains("nested deeper than 32"), "{long}");
    }
    let list = |items: usize| format!("event.count in [{}]", vec!["1"; items].join(","));
    assert!(clause(&list(256)).is_ok());
    assert!(clause(&list(257)).unwrap_err()[0].contains("more than 256 items"));
}
