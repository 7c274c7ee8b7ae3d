//! What a message's body may be: packed, several documents, CSV, and with JSON in its strings.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tipstaff::case::{Field, Reason};

use super::planted::{CANARY, forms};
use super::*;

const LINES: &str = "pipeline: lines\ntitle: t\nowner: o\nfrom: {topic: x}\nkind: exposed_key\n\
    detect: [{path: [secret, rows], exists: true}]\neach: [\"$[*]\", \"rows[*]\"]\n\
    redact: [secret]\nmap: {title: a, event.type: {path: type, required: true}}\n";
const OTHER: &str = "pipeline: other\ntitle: t\nowner: o\nfrom: {topic: x}\nkind: exposed_key\n\
    detect: [{path: other, exists: true}]\nmap: {title: other}\n";
const TABLE: &str = "pipeline: table\ntitle: t\nowner: o\nfrom: {topic: x}\nformat: csv\n\
    kind: exposed_key\ndetect: [{path: '[\"Secret Type\"]', exists: true}]\n\
    redact: [Secret]\n\
    map: {title: Note, event.type: {path: '[\"Secret Type\"]', required: true}}\n";
const NESTED: &str = "pipeline: nested\ntitle: t\nowner: o\nfrom: {topic: x}\nkind: exposed_key\n\
    open: [log, {path: \"log[*].inner\", as: json}, {path: \"records[*].data\", as: base64}]\n\
    detect: [{path: [$.log.id, \"$.log[0].id\", \"$.records[0].data[0].id\"], exists: true}]\n\
    each: [\"log[*]\", \"records[*].data[*]\"]\nredact: [secret, log.secret]\n\
    map: {title: {first: [$.log.id, inner.deep, id]}, event.type: {path: text}}\n";

fn compiled(files: &[&str]) -> Pipelines {
    let source = |(index, text): (usize, &&str)| Source::new(format!("{index}.yaml"), *text);
    let files: Vec<Source> = files.iter().enumerate().map(source).collect();
    let mut problems = Problems::default();
    let compiled = tipstaff::normalize::compile(&files, None, &mut problems);
    compiled.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()))
}

fn read(files: &[&str], body: &[u8]) -> Vec<Arrival<'static>> {
    compiled(files).read(&incoming("x", body), None, &keys())
}

/// Of every arrival: `pipeline:title`, or the reason, the words and the place of an unreadable.
fn told(arrivals: &[Arrival<'_>]) -> Vec<String> {
    let of = u32::try_from(arrivals.len()).unwrap();
    let told = arrivals.iter().zip(0..).map(|(arrival, index)| {
        assert_eq!((arrival.origin.index, arrival.origin.of), (index, of));
        match &arrival.body {
            Body::Alert(alert) => {
                let title = alert.text(Field::Title).or(alert.text(Field::NotAnAlert));
                format!("{}:{}", arrival.pipeline, title.unwrap_or_default())
            }
            Body::Unreadable(unreadable) => {
                let place = unreadable.line.zip(unreadable.column);
                let place = place.map_or(String::new(), |(line, at)| format!(" {line}:{at}"));
                format!("{} {}{place}", unreadable.reason, unreadable.detail)
            }
        }
    });
    told.collect()
}

fn line(title: &str) -> String {
    format!("{{\"secret\":\"notareal-{title}\",\"a\":\"{title}\",\"type\":\"t\"}}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn base64(bytes: &[u8], letters: &[u8; 64]) -> String {
    let letter = |bits: u32| char::from(letters[bits as usize & 63]);
    let group = |chunk: &[u8]| {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letters = [bits >> 18, bits >> 12, bits >> 6, bits].map(letter);
        letters.into_iter().take(chunk.len() + 1).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn a_packed_body_is_unpacked_and_stays_the_message_that_came() {
    let packed = gzip(line("a").as_bytes());
    let twice = [gzip(line("a").as_bytes()), gzip(line("b").as_bytes())].concat();
    assert_eq!(told(&read(&[LINES], &packed)), ["lines:a"]);
    assert_eq!(told(&read(&[LINES], &twice)), ["lines:a", "lines:b"]);
    let plain = read(&[LINES], line("a").as_bytes());
    assert_ne!(read(&[LINES], &packed)[0].origin.sha256, plain[0].origin.sha256);

    let bomb = gzip(&vec![b' '; 1024 * 1024 + 1]);
    let zeros = gzip(&vec![0; 1024 * 1024]);
    let cut = &packed[..packed.len() - 9];
    for (body, expected) in [
        (bomb.as_slice(), "too_large more than 1048576 bytes"),
        (&zeros, "empty no byte"),
        (cut, "not_json not gzip"),
        (b"\x1f\x8b", "not_json not gzip"),
        (&[&packed[..], b"{}"].concat(), "not_json not gzip"),
        (&gzip(b""), "empty no byte"),
        (&gzip(b"\n{\"a\":\xff}"), "not_json not UTF-8 2:6"),
        (&gzip(&gzip(b"{}")), "not_json not UTF-8 1:2"),
    ] {
        let arrivals = read(&[LINES], body);
        assert_eq!(told(&arrivals), [expected]);
        let Body::Unreadable(found) = &arrivals[0].body else { panic!() };
        assert_eq!(found.size, body.len() as u64);
        assert_eq!(found.fingerprint, keys().fingerprint(body));
    }
    assert!(bomb.len() < 2000, "small enough to be sent");
}

#[test]
fn a_report_that_failed_is_no_empty_one_and_its_alerts_count() {
    let report = "pipeline: report\ntitle: t\nowner: o\nfrom: {topic: x}\nkind: exposed_key\n\
        incomplete: [{path: \"runs[*].ended\", equals: \"false\"}]\n\
        each: [\"runs[*].found[*]\"]\nmap: {title: a}\n";
    let failed = "incomplete_report the report says that it did not come to an end";
    for (body, expected) in [
        (r#"{"runs":[{"ended":true,"found":[]}]}"#, vec!["report:empty_report"]),
        (r#"{"runs":[{"found":[]}]}"#, vec!["report:empty_report"]),
        (r#"{"runs":[{"ended":false,"found":[]}]}"#, vec![failed]),
        (
            r#"{"runs":[{"ended":true,"found":[{"a":"x"}]},{"ended":false,"found":[{"a":"y"}]}]}"#,
            vec![failed, "report:x", "report:y"],
        ),
    ] {
        assert_eq!(told(&read(&[report], body.as_bytes())), expected, "{body}");
    }
    let many = vec![r#"{"a":"x"}"#; 1000].join(",");
    let full = format!(r#"{{"runs":[{{"ended":false,"found":[{many}]}}]}}"#);
    assert_eq!(
        told(&read(&[report], full.as_bytes())),
        ["too_many more than 1000 alerts in one message"]
    );
}

#[test]
fn the_transport_may_say_that_a_body_is_packed() {
    let headers: &[(&str, &[u8])] = &[("Content-Encoding", b"identity, GZIP")];
    let (packed, plain) = (gzip(line("a").as_bytes()), line("a"));
    for (body, expected) in
        [(packed.as_slice(), "lines:a"), (plain.as_bytes(), "not_json not gzip")]
    {
        let message = Incoming { headers, ..incoming("x", body) };
        assert_eq!(told(&compiled(&[LINES]).read(&message, None, &keys())), [expected]);
    }
}

#[test]
fn each_document_is_read_for_itself() {
    let (a, b) = (line("a"), line("b"));
    let list = format!("[{a},{b}]");
    for (body, expected) in [
        (format!("{a}\n{b}\n"), vec!["lines:a", "lines:b"]),
        (format!("{a}\r\n\r\n \r\n{b}\r\n"), vec!["lines:a", "lines:b"]),
        (format!("{a}{b}"), vec!["lines:a", "lines:b"]),
        (format!("\0\0{a}\n{b}"), vec!["lines:a", "lines:b"]),
        (
            format!("{list}\n{{\"other\":\"o\"}}\n{a}"),
            vec!["lines:a", "lines:b", "other:o", "lines:a"],
        ),
        (format!("{}\n{b}", a.replace(',', ",\n  ")), vec!["lines:a", "lines:b"]),
        ("[]\n[]".into(), vec!["lines:empty_report", "lines:empty_report"]),
        (
            format!("{a}\n{{\"secret\":\"notareal\",\"a\":\"cut\n{b}"),
            vec!["lines:a", "not_json not JSON 2:30", "lines:b"],
        ),
        (format!("{{\"secret\":\n!\n{b}"), vec!["not_json not JSON 2:1", "lines:b"]),
        (
            format!("{a}\n{{\"secret\":1,\"secret\":2}}\n  {{\"hello\":1}}\n{{\"secret\":1}}\n[1]"),
            vec![
                "lines:a",
                "not_json duplicate key 2:13",
                "unknown_shape no pipeline knows its shape 3:3",
                "bad_field `event.type` is missing 4:1",
                "unknown_shape no pipeline knows its shape 5:1",
            ],
        ),
        (
            format!("{a}\n[{a},\n {{\"secret\":1}}]"),
            vec!["lines:a", "lines:a", "bad_field `event.type` is missing 3:2"],
        ),
        (format!("{a} and more"), vec!["not_json something follows the value 1:44"]),
        (format!("{a},\n{b}\n}}"), vec!["not_json not JSON 1:43", "not_json not JSON 3:1"]),
        (format!("{a}\nlog\nlog\n{b}"), vec!["lines:a", "not_json not JSON 2:1", "lines:b"]),
        (format!("{a}\n{}", "[".repeat(99)), vec!["lines:a", "too_deep nested too deep 2:65"]),
        ("{\n  \"a\": 1,\n  {\"b\": 2},\n  oh\n}".into(), vec!["not_json not JSON 3:3"]),
    ] {
        let arrivals = read(&[LINES, OTHER], body.as_bytes());
        assert_eq!(told(&arrivals), expected, "{body}");
        let packed = read(&[LINES, OTHER], &gzip(body.as_bytes()));
        assert_eq!(told(&packed), expected, "packed");
        let mut ids: Vec<&str> = arrivals.iter().map(|each| each.alert_id.as_str()).collect();
        ids.dedup();
        assert_eq!(ids.len(), expected.len(), "every arrival has its own id");
    }
}

#[test]
fn alerts_are_counted_over_the_whole_message() {
    let lines = |count: usize| vec![line("a"); count].join("\n");
    assert_eq!(read(&[LINES], lines(1000).as_bytes()).len(), 1000);
    let list = format!("[{}]", vec![line("a"); 999].join(","));
    assert_eq!(read(&[LINES], format!("{list}{}", line("b")).as_bytes()).len(), 1000);
    for body in [lines(1001), format!("{list}{list}"), "{}".repeat(1001), "[\n".repeat(100_000)] {
        let expected = "too_many more than 1000 alerts in one message";
        assert_eq!(told(&read(&[LINES], body.as_bytes())), [expected]);
    }
}

#[test]
fn csv_is_a_list_of_its_rows() {
    for (body, expected) in [
        (
            "Secret Type,Note\nt,a\r\n\r\nt,\"b, \"\"c\"\"\r\nd\"\n",
            vec!["table:a", "table:b, \"c\"\r\nd"],
        ),
        ("\0\0\n\"Secret Type\", Note\nt , a ", vec!["table:a"]),
        ("Secret Type,Note\nt,\nt,b", vec!["table:", "table:b"]),
        ("Secret Type,Note\n", vec!["table:empty_report"]),
        (
            "Secret Type,Note\nt,a\nt\nt,b,c\n,c\nt,d",
            vec![
                "table:a",
                "not_json a row with another number of cells than the header 3:1",
                "not_json a row with another number of cells than the header 4:1",
                "bad_field `event.type` is missing 5:1",
                "table:d",
            ],
        ),
        (
            "Secret Type,Note\nt,a\nt,\"b\nt,c\n",
            vec!["table:a", "not_json a quote is not closed 3:1"],
        ),
        (
            "Secret Type,Note\nt",
            vec!["not_json a row with another number of cells than the header 2:1"],
        ),
        ("Secret Type,Secret Type\nt,u", vec!["not_json duplicate key"]),
        ("Secret Type,\"Note\nt,a", vec!["not_json a quote is not closed"]),
        ("Type,Note\nt,a", vec!["unknown_shape no pipeline knows its shape"]),
        ("any line of a log", vec!["unknown_shape no pipeline knows its shape"]),
        ("{\"secret\":1,\"type\":2,\"a\":\"json\"}", vec!["lines:json"]),
        ("[{\"Secret Type\":\"t\"}]", vec!["unknown_shape no pipeline knows its shape"]),
    ] {
        assert_eq!(told(&read(&[LINES, TABLE], body.as_bytes())), expected, "{body}");
    }
    let named = |body: &str| {
        let all = compiled(&[LINES, TABLE]);
        told(&all.read(&incoming("elsewhere", body.as_bytes()), Some("table"), &keys()))
    };
    assert_eq!(named("Secret Type,Note\nt,a"), ["table:a"]);
    assert_eq!(named("garbage"), ["unknown_shape no pipeline knows its shape"]);
    assert_eq!(told(&read(&[LINES], b"Secret Type,Note\nt,a")), ["not_json not JSON 1:1"]);
}

#[test]
fn csv_has_the_limits_of_a_message() {
    let rows = |count: usize| format!("Secret Type,Note\n{}", "t,a\n".repeat(count));
    assert_eq!(read(&[TABLE], rows(1000).as_bytes()).len(), 1000);
    for (body, expected) in [
        (rows(1001), "too_many more than 1000 alerts in one message"),
        // Every row repeats the names of its columns.
        (
            format!("{}\n{}", "n".repeat(500_000), "x\n".repeat(900)),
            "too_large more than 1048576 bytes",
        ),
        (
            format!("Secret Type\n\"{}", "\n".repeat(1_000_000)),
            "not_json a quote is not closed 2:1",
        ),
        (format!("Secret Type\n{}", " \n".repeat(500_000)), "table:empty_report"),
    ] {
        assert_eq!(told(&read(&[TABLE], body.as_bytes())), [expected]);
    }
}

const NO_SHAPE: &str = "unknown_shape no pipeline knows its shape";

#[test]
fn strings_are_opened_in_their_order() {
    let log = |text: &str| format!("{{\"log\":{}}}", quoted(text));
    let inner = |json: &str| log(&format!("[{{\"id\":\"i\",\"inner\":{}}}]", quoted(json)));
    let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (body, expected) in [
        (log("{\"id\":\"a\"}"), vec!["nested:a"]),
        (log(" [{\"id\":\"a\"},{\"id\":\"b\"}]\n"), vec!["nested:a", "nested:b"]),
        (
            log("{\"id\":\"a\"}\n{\"id\":\"b\"}{\"id\":\"c\"}"),
            vec!["nested:a", "nested:b", "nested:c"],
        ),
        (inner("{\"deep\":\"d\"}"), vec!["nested:d"]),
        (inner("{\"deep\":"), vec!["nested:i"]),
        (inner(&quoted("{\"deep\":\"d\"}")), vec!["nested:i"]),
        (inner(&lists(60)), vec!["nested:i"]),
        (inner(&lists(62)), vec!["too_deep nested too deep"]),
        (inner(&lists(100)), vec!["too_deep nested too deep"]),
        (log(&lists(100)), vec!["too_deep nested too deep"]),
        ("{\"log\":{\"id\":\"a\"}}".into(), vec!["nested:a"]),
        (log("a line, and no JSON"), vec![NO_SHAPE]),
        (log("{\"id\":\"a\"} and more"), vec![NO_SHAPE]),
        (log("{\"id\":\"a\"}\n{\"id\":"), vec![NO_SHAPE]),
        (log("7 8"), vec![NO_SHAPE]),
        // Two lines of a message, of which each is opened; a fault in what was opened has no place.
        (
            format!("{}\n{}", log("{\"id\":\"a\",\"id\":\"b\"}"), log("{\"id\":\"a\"}")),
            vec!["not_json duplicate key 1:1", "nested:a"],
        ),
        (log("{\"id\":\"a\",\"id\":\"b\"}"), vec!["not_json duplicate key"]),
        (log("[{\"id\":\"a\"},1]"), vec!["nested:a", "unknown_shape an item is no object"]),
        ("{\"log\":\"1\",\"log\":\"2\"}".into(), vec!["not_json duplicate key 1:12"]),
        (line("a"), vec!["lines:a"]),
    ] {
        assert_eq!(told(&read(&[NESTED, LINES], body.as_bytes())), expected, "{body}");
    }
}

#[test]
fn base64_and_gzip_are_taken_off_a_string() {
    let records = |data: &[String]| {
        let records: Vec<_> = data.iter().map(|data| format!("{{\"data\":\"{data}\"}}")).collect();
        format!("{{\"records\":[{}]}}", records.join(","))
    };
    let list = |id: &str| format!("[{{\"id\":\"{id}\",\"text\":\"ÿþ?>\"}}]");
    let standard = |bytes: &[u8]| base64(bytes, STANDARD);
    let two = standard(format!("{}{}", list("a"), list("b")).as_bytes());
    for (data, expected) in [
        (vec![standard(list("a").as_bytes())], vec!["nested:a"]),
        (vec![base64(list("a").as_bytes(), URL_SAFE)], vec!["nested:a"]),
        (
            vec![standard(&gzip(list("a").as_bytes())), standard(list("b").as_bytes())],
            vec!["nested:a", "nested:b"],
        ),
        (vec![two], vec!["unknown_shape no pipeline knows its shape"]),
        (vec![standard(b"[{\"id\":\"\xff\"}]")], vec![NO_SHAPE]),
        (vec![standard(&gzip(list("a").as_bytes())[..20])], vec![NO_SHAPE]),
        (vec!["no base64!".into()], vec![NO_SHAPE]),
        (vec![list("a").replace('"', "\\\"")], vec![NO_SHAPE]),
        (
            vec![standard(&gzip(&vec![b' '; 1024 * 1024 + 1]))],
            vec!["too_large more than 1048576 bytes"],
        ),
        // None is too large by itself.
        (
            vec![standard(&gzip(format!("[{}1]", " ".repeat(1_000_000)).as_bytes())); 2],
            vec!["too_large more than 1048576 bytes"],
        ),
        // None is JSON, so that nothing of them stays, and yet there is an end to it.
        (
            vec![standard(&gzip(&vec![b'x'; 1_000_000])); 400],
            vec!["too_large more than 1048576 bytes"],
        ),
    ] {
        let body = records(&data);
        assert_eq!(told(&read(&[NESTED], body.as_bytes())), expected, "{body:.200}");
        let padded: Vec<String> = data
            .iter()
            .map(|data| format!("{data}{}", "=".repeat((4 - data.len() % 4) % 4)))
            .collect();
        assert_eq!(told(&read(&[NESTED], records(&padded).as_bytes())), expected, "padded");
    }
}

#[test]
fn a_secret_inside_a_body_leaves_in_no_form() {
    for form in forms() {
        let line = format!("{{\"secret\":{},\"a\":{0},\"type\":\"t\"}}", quoted(&form));
        let cell = form.replace('"', "\"\"");
        let csv = format!("Secret Type,Secret,Note\nt,\"{cell}\",\"{cell}\"\nt,\"{cell}\"\n");
        let opened = format!("{{\"id\":{},\"secret\":{0}}}", quoted(&form));
        let opened = format!("{{\"log\":{}}}", quoted(&opened));
        for (body, labels) in [
            (gzip(line.as_bytes()), 1),
            (format!("{line}\n{line},\n{line}").into_bytes(), 2),
            (csv.into_bytes(), 1),
            (opened.clone().into_bytes(), 1),
            (gzip(opened.as_bytes()), 1),
            (gzip(line.as_bytes())[..40].to_vec(), 0),
        ] {
            let arrivals = read(&[LINES, TABLE, NESTED], &body);
            let output = serde_json::to_string(&arrivals).unwrap();
            for shape in forms() {
                assert!(!output.contains(shape.trim()), "{shape} in {output}");
            }
            let label = arrivals.iter().filter_map(alert).filter(|alert| {
                alert.text(Field::Title).is_some_and(|title| title.contains("fp:examples:"))
            });
            assert_eq!(label.count(), labels, "{CANARY} as {form} in {output}");
        }
    }
}

#[test]
fn what_a_body_is_must_be_written_rightly() {
    let with = |more: &str| LINES.replace("detect:", &format!("{more}\ndetect:"));
    for (text, expected) in [
        (with("format: xml"), "`format` is `json` or `csv`"),
        (with("format: csv"), "in CSV each row is an alert: `each` is `$[*]`, or left out"),
        (
            OTHER.replace("detect: [{path: other, exists: true}]", "format: csv"),
            "any text at all is a table",
        ),
        (with("open: [{path: a, as: hex}]"), "`as` is `json` or `base64`"),
        (with("open: [^.a]"), "`open` looks from the top of the document"),
        (with("open: ['@key']"), "`open` looks from the top of the document"),
        (with("open: [a b]"), "a key with other characters"),
        (with("open: [{path: a, is: json}]"), "is"),
    ] {
        let mut problems = Problems::default();
        let files = [Source::new("p.yaml", text.as_str())];
        assert!(tipstaff::normalize::compile(&files, None, &mut problems).is_none(), "{text}");
        let problems: Vec<_> = problems.into_sorted().iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|each| each.contains(expected)), "{expected}: {problems:?}");
    }
}

proptest! {
    #[test]
    fn whatever_the_body_there_is_an_arrival(
        text in r#"(\{"secret":|"a"|"notareal"|\{|\}|\[|\]|,|:|\n|\r\n|Secret Type|"|[ -~]|é|\\u0000){0,30}"#,
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        shape in 0..4,
    ) {
        let plain = [text.as_bytes(), &bytes].concat();
        let body = match shape {
            0 => text.as_bytes().to_vec(),
            1 => plain,
            2 => gzip(&plain),
            _ => [b"\x1f\x8b\x08\0", bytes.as_slice()].concat(),
        };
        let headers: &[(&str, &[u8])] = &[("content-encoding", b"gzip")];
        for headers in [&[][..], headers] {
            let message = Incoming { headers, ..incoming("x", &body) };
            for pipelines in [compiled(&[LINES, OTHER]), compiled(&[NESTED, TABLE])] {
                let arrivals = pipelines.read(&message, None, &keys());
                prop_assert!(!arrivals.is_empty());
                told(&arrivals);
                for arrival in &arrivals {
                    let is_ours = matches!(&arrival.body, Body::Unreadable(unreadable)
                        if unreadable.reason == Reason::RuleFailed);
                    prop_assert!(!is_ours, "the program failed");
                }
            }
        }
    }
}
