//! Any text as a pipeline's file: its mistakes have places, and what compiles reads messages.
#![no_main]

mod shipped;

use libfuzzer_sys::fuzz_target;
use tipstaff::normalize::compile;
use tipstaff::text::{Problems, Source};

const MESSAGES: &[&str] = &[
    r#"{"a":{"b":"text","c":[1,true,null,{"name":"x","value":"notarealsecret"}]},"id":"1"}"#,
    r#"[{"a":"b","secret":"notarealsecret"},{"a":["b"],"log":"{\"a\":1}"},7,[]]"#,
    "a,secret,id\nb,notarealsecret,1\nc\n",
    r#"{"data":"eyJhIjoiYiJ9","items":{"x":[{"a":1.5e3}],"y":[{}]},"a":"2026-03-02T09:30:00Z"}"#,
    "",
];

fuzz_target!(|text: &str| {
    let mut problems = Problems::default();
    let file = [Source::new("pipeline.yaml", text)];
    let Some(pipelines) = compile(&file, None, &mut problems) else {
        let lines = u32::try_from(text.split(['\n', '\r']).count()).unwrap();
        assert!(!problems.is_empty(), "refused without a word");
        for problem in problems.into_sorted() {
            let at = &problem.at;
            let is_inside = (1..=lines + 1).contains(&at.line) && at.column > 0;
            assert!(is_inside, "{problem} in {lines} lines");
            assert!(!problem.message.is_empty());
        }
        return;
    };
    assert!(problems.is_empty(), "compiled with problems");
    let keys = shipped::keys();
    for text in MESSAGES {
        for name in std::iter::once(None).chain(pipelines.names().map(Some)) {
            let message = shipped::incoming("alerts.any", text.as_bytes());
            shipped::check(&pipelines.read(&message, name, &keys));
        }
    }
});
