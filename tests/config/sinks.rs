//! Sinks: what their files may say, and what only the whole configuration knows of them.

use std::path::Path;

use tipstaff::config::sink::WORDS;
use tipstaff::config::{Files, load};
use tipstaff::text::Source;

const SINK: &str = "sink: desk\nowner: soc\nservice: desk\nqueues: [soc-triage]\n\
                    request: {method: POST, path: /x, body: {a: \"{{case.summary}}\"}}\n";

const SERVICE: &str = "kafka: {bootstrap.servers: \"k:9\"}\nfingerprint: {id: k1, key: {env: K}}\n";

/// What `check` says of a sink and of `tipstaff.yaml`, among the shipped files.
fn told(sink: &str, service: &str) -> Vec<String> {
    let mut files = Files::shipped();
    files.insert("playbooks/sinks/desk.yaml", Source::new("desk.yaml", sink), None);
    files.insert("tipstaff.yaml", Source::new("t.yaml", format!("{SERVICE}{service}")), None);
    let problems = load(&files).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_mistake_is_told_where_it_stands() {
    assert_eq!(told(SINK, ""), Vec::<String>::new());
    for (from, to, expected) in [
        ("owner: soc\n", "", "desk.yaml:1:1: `owner` is missing"),
        ("owner", "ownr", "desk.yaml:2:1: unknown key `ownr`, did you mean `owner`?"),
        ("soc-triage", "soc-triag", "did you mean `soc-triage`?"),
        (
            "{{case.summary}}",
            "ab {{ case.sumary }}",
            "desk.yaml:5:52: a case has no `case.sumary`, did you mean `case.summary`?",
        ),
        (
            "{{case.summary}}",
            "{{owner.tem}}",
            "a case has no `owner.tem`, did you mean `owner.team`?",
        ),
        ("{{case.summary}}", "{{case.summary", "`{{` lacks its `}}` on this line"),
        ("{{case.summary}}", "x {{case}}", "`{{case}}` is the whole case: it stands alone"),
        ("/x", "/x?y", "must be a path from `/` on"),
        ("/x", "//evil", "must be a path from `/` on"),
        (
            "body:",
            "headers: {Authorization: x}, body:",
            "`Authorization` is not for a sink's file to set",
        ),
        ("body:", "leaves: {b: {max: 3}}, body:", "`body` has no text at `b`"),
        ("sink: desk", "sink: other", "`other` must be named like its file `desk.yaml`"),
        ("queues:", "update: {method: PUT, path: /x}\nqueues:", "`update` goes with `find`"),
    ] {
        assert!(SINK.contains(from), "{from}");
        let found = told(&SINK.replacen(from, to, 1), "");
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn what_is_switched_on_must_be_there_with_its_service() {
    let desk = "services: {desk: {url: \"https://d.example.com\"}}\n";
    assert_eq!(told(SINK, &format!("{desk}sinks: [desk]\n")), Vec::<String>::new());
    let found = told(SINK, &format!("{desk}sinks: [dsk]\n"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("no file `playbooks/sinks/dsk.yaml`, did you mean `desk`?"));
    let found = told(SINK, "services: {desc: {url: \"https://d.example.com\"}}\nsinks: [desk]\n");
    assert!(
        found[0].contains("`services` has no `desk`, which `desk` sends to, did you mean `desc`?"),
        "{found:?}"
    );
    let found = told(
        SINK,
        "services: {d: {url: \"https://d\", bearer: {env: A}, webhook_secret: {env: B}}}\n",
    );
    assert!(found[0].contains("a service has one of bearer, basic, aws, webhook_secret"));
}

const CALLBACK: &str = "callback: {verify: bearer, case: case, user: user, people: {u: sam}}\n";
const HOOKS: &str = "webhooks:\n  listen: 127.0.0.1:8443\n  pipelines: {}\n  callbacks:\n    \
    key: {file: k}\n    sinks: {desk: {secrets: [{env: A}]}}\n";

#[test]
fn a_callback_names_people_who_may_and_what_is_offered_is_there() {
    let with = |sink: &str, service: &str| told(&format!("{SINK}{sink}"), service);
    assert_eq!(with(CALLBACK, ""), Vec::<String>::new());
    let orders = "orders: {allowed_signers: people}\n";
    let hooks = format!("{HOOKS}{orders}");
    let is_told = |found: Vec<String>, expected: &str| {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    };
    // The shipped boundary lets nobody order anything.
    is_told(with(CALLBACK, &hooks), "desk.yaml:6:64: the boundary lets `sam` not order `ack`");
    is_told(with(CALLBACK, HOOKS), "`callbacks` go with `orders`");
    is_told(with("", &hooks), "playbooks/sinks/desk.yaml has no `callback`");
    let other = hooks.replace("desk:", "dsk:");
    is_told(with(CALLBACK, &other), "there is no sink `dsk`, did you mean `desk`?");
    for (from, to, expected) in [
        ("bearer", "github", "`verify` must be one of slack, standard-webhooks, bearer"),
        ("case: case", "case: \"c[*]\"", "`case` must be one place"),
        ("{u: sam}", "{}", "`people` needs at least one"),
        ("people", "when: {\"a[\": x}, people", "lacks a `]`"),
        ("bearer", "bearer, header: X", "`header` goes with `verify: header`"),
    ] {
        is_told(with(&CALLBACK.replacen(from, to, 1), ""), expected);
    }
}

#[test]
fn the_reference_names_every_placeholder() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/sinks/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.contains('.'));
    let rows: Vec<&str> = rows.collect();
    let wanted: Vec<String> = WORDS
        .iter()
        .map(|word| format!("| `{}` | {} | {} |", word.name, word.of.name(), word.about))
        .collect();
    assert_eq!(rows, wanted);
}
