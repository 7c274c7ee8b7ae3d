//! Proof that the rules can fail: each finds what is planted here, and nothing beside it.

use crate::rules::{Finding, all, unexplained};
use crate::text::Text;

/// Places, and what is wrong there.
type Expected = &'static [(&'static str, &'static str)];

/// A path, a source, and what must be found; nothing where all is right.
const PLANTED: &[(&str, &str, Expected)] = &[
    (
        "src/case/a.rs",
        "use crate::policy::Rule;\n",
        &[("src/case/a.rs:1", "`case` imports `policy`")],
    ),
    ("src/case/a.rs", "use crate::case::Id;\nuse super::alert;\n", &[]),
    (
        "src/clause/a.rs",
        "use crate::{\n    case::{self, decide::Id},\n    text,\n    audit,\n};\n",
        &[("src/clause/a.rs:4", "`clause` imports `audit`")],
    ),
    (
        "src/json/a.rs",
        "fn f() -> crate::text::At { g() }\n",
        &[("src/json/a.rs:1", "`json` imports `text`")],
    ),
    (
        "src/ingest/a.rs",
        "use crate::enrich::Key;\n",
        &[("src/ingest/a.rs:1", "`ingest` imports `enrich`")],
    ),
    (
        "src/enrich/a.rs",
        "use crate::ingest::Doubt;\n",
        &[("src/enrich/a.rs:1", "`enrich` imports `ingest`")],
    ),
    (
        "src/enrich/a.rs",
        "use crate::pipeline::Lane;\n",
        &[("src/enrich/a.rs:1", "`enrich` imports `pipeline`")],
    ),
    (
        "src/audit/mod.rs",
        "use super::policy;\n",
        &[("src/audit/mod.rs:1", "leaves its module by `super`: say `crate::`")],
    ),
    (
        "src/audit/a.rs",
        "fn f() { super::super::policy::f() }\n",
        &[("src/audit/a.rs:1", "leaves its module by `super`: say `crate::`")],
    ),
    ("src/app/a.rs", "use crate::cli::say;\n", &[("src/app/a.rs:1", "`app` imports `cli`")]),
    ("src/cli/a.rs", "use crate::app::load;\n// use crate::nothing in particular\n", &[]),
    ("src/text/a.rs", "fn f() {\n    unsafe { g() }\n}\n", &[("src/text/a.rs:2", "`unsafe`")]),
    ("src/ingest/binding.rs", "fn f() { unsafe { g() } }\n", &[]),
    ("src/ingest/a.rs", "#![deny(unsafe_code)]\n// unsafe\nconst A: &str = \"unsafe\";\n", &[]),
    (
        "src/app/a.rs",
        "use rdkafka_sys as sys;\n",
        &[("src/app/a.rs:1", "`rdkafka` outside `src/ingest`")],
    ),
    (
        "src/decide/a.rs",
        "fn f() { tracing::info!(\"a\") }\n",
        &[("src/decide/a.rs:1", "`tracing` in a core module")],
    ),
    ("src/config/a.rs", "use tokio::fs;\n", &[("src/config/a.rs:1", "`tokio` in a core module")]),
    ("src/config/disk.rs", "use std::fs;\n", &[]),
    ("src/normalize/a.rs", "const A: &str = r#\"tokio \"clap\" tracing\"#;\n", &[]),
    (
        "src/cli/a.rs",
        "let p = PermitRecord { id };\n",
        &[("src/cli/a.rs:1", "makes a permit's record")],
    ),
    ("src/case/ruling.rs", "pub struct PermitRecord<'a> {}\nfn f() -> PermitRecord {}\n", &[]),
    ("src/decide/boundary.rs", "let p = PermitRecord { id };\n", &[]),
    ("src/app/a.rs", "fn f() { todo!() }\n", &[("src/app/a.rs:1", "the word `todo`")]),
    ("src/app/a.rs", "fn f() { dbg!(todo) }\n", &[("src/app/a.rs:1", "the word `dbg`")]),
    (
        "src/app/a.rs",
        "mod utils;\nfn load_v2() {}\n",
        &[("src/app/a.rs:1", "the word `utils`"), ("src/app/a.rs:2", "the word `load_v2`")],
    ),
    (
        "src/app/a.rs",
        "// TODO: later\n/* a /* FIXME */ b */\n// \\uXXXX\n",
        &[("src/app/a.rs:1", "the word `TODO`"), ("src/app/a.rs:2", "the word `FIXME`")],
    ),
    (
        "src/app/a.rs",
        "const A: char = '\"';\nlet b: &'static str = \"\\\"TODO\"; // XXX\n",
        &[("src/app/a.rs:2", "the word `XXX`")],
    ),
    (
        "src/app/a.rs",
        "let c = IntCounter::new(\"tipstaff_alerts_total\", \"\");\n",
        &[("src/app/a.rs:1", "the metric `tipstaff_alerts_total`")],
    ),
    (
        "src/app/a.rs",
        "use prometheus::Registry;\n",
        &[("src/app/a.rs:1", "the metric `prometheus`")],
    ),
    ("src/observe/a.rs", "use prometheus::Registry;\nconst A: &str = \"tipstaff_a\";\n", &[]),
];

fn found(path: &str, source: &str) -> Vec<Finding> {
    all(&Text::new(path, source))
}

fn expected(place: &str, what: &str) -> Finding {
    Finding { place: place.to_owned(), what: what.to_owned() }
}

#[test]
fn what_is_planted_is_found_and_nothing_else() {
    for (path, source, planted) in PLANTED {
        let planted: Vec<Finding> =
            planted.iter().map(|(place, what)| expected(place, what)).collect();
        assert_eq!(found(path, source), planted, "{source}");
    }
}

#[test]
fn a_file_of_501_lines_is_found() {
    assert_eq!(found("src/app/a.rs", &"\n".repeat(500)), []);
    let long = [expected("src/app/a.rs:501", "a file of 501 lines")];
    assert_eq!(found("src/app/a.rs", &"\n".repeat(501)), long);
}

#[test]
fn a_function_of_71_lines_is_found_whatever_its_strings_hold() {
    let function = |lines: usize| {
        let body = "    f(\"}\", '}', b'{', r#\"}\"#); // }\n".repeat(lines - 2);
        format!("trait T {{ fn g(&self) -> [u8; 2]; }}\nfn h(f: fn(u8) -> u8) {{\n{body}}}\n")
    };
    assert_eq!(found("src/app/a.rs", &function(70)), []);
    let long = [expected("src/app/a.rs:2", "a function of 71 lines")];
    assert_eq!(found("src/app/a.rs", &function(71)), long);
}

#[test]
fn a_line_of_101_columns_is_found_unless_a_string_makes_it_long() {
    let comment = |columns: usize| format!("//{}\n", "ü".repeat(columns - 2));
    let string = format!("const A: &str = \"{}\";\n", "a".repeat(200));
    assert_eq!(found("src/app/a.rs", &(comment(100) + &string)), []);
    let long = [expected("src/app/a.rs:2", "101 columns")];
    assert_eq!(found("src/app/a.rs", &(string + &comment(101))), long);
}

#[test]
fn a_reason_without_a_row_is_found() {
    let reasons =
        "reasons! {\n    NoRule \"no_rule\" \"Nothing.\",\n    Empty \"empty\" \"No byte.\",\n}\n";
    let reasons = Text::new("src/case/reason.rs", reasons);
    let missing = [expected("src/case/reason.rs:3", "no row explains `empty`")];
    assert_eq!(unexplained(&reasons, "| `no_rule` | Nothing. |\n"), missing);
    assert_eq!(unexplained(&reasons, "| `no_rule` | a |\n| `empty` | b |\n"), []);
}
