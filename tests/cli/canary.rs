use std::fmt::Write as _;

use serde_json::json;

use super::planting::Format;
use super::*;

/// Fits no scanner's pattern and has what writings differ in.
const CANARY: &str = "notareal+canary/value=\"q\" \\é ==";

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | three.get(i).map_or(0, |b| u32::from(*b)));
        for digit in 0..=three.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

fn percent(keep: fn(u8) -> bool, upper: bool) -> String {
    let mut text = String::new();
    for byte in CANARY.bytes() {
        match byte {
            byte if keep(byte) => text.push(char::from(byte)),
            byte if upper => write!(text, "%{byte:02X}").unwrap(),
            byte => write!(text, "%{byte:02x}").unwrap(),
        }
    }
    text
}

fn forms() -> Vec<String> {
    let json = |text: &str| serde_json::to_string(text).unwrap().trim_matches('"').to_owned();
    let base64 = base64(CANARY.as_bytes());
    vec![
        CANARY.to_owned(),
        json(CANARY),
        json(&json(CANARY)),
        CANARY.escape_debug().to_string(),
        CANARY.escape_unicode().to_string(),
        percent(|byte| byte.is_ascii_alphanumeric(), true),
        percent(|byte| byte.is_ascii_alphanumeric(), false),
        percent(|_| false, true),
        base64.replace('+', "-").replace('/', "_"),
        base64,
        // The part that every form but the encoded ones has.
        "notareal".to_owned(),
    ]
}

/// The input must be ruled, and nothing that comes out may hold the canary.
fn assert_nothing_leaks(input: &str, arguments: &[&str], is_seen: fn(&Ran) -> bool) {
    let mut command = program(&[&["decide", "--now", NOW], arguments, &["-"]].concat());
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    let ran = ran(command, input.as_bytes());
    assert_eq!(ran.code, DONE, "{}", ran.err);
    assert!(is_seen(&ran), "{input}: {}{}", ran.out, ran.err);
    for form in forms() {
        assert!(!ran.out.contains(&form), "{form} of {input} in {}", ran.out);
        assert!(!ran.err.contains(&form), "{form} of {input} in {}", ran.err);
    }
}

#[test]
fn the_forms_are_what_a_careless_program_would_write() {
    assert_eq!(base64(b"notareal+"), "bm90YXJlYWwr");
    assert_eq!(base64(b"no"), "bm8");
    assert!(percent(|byte| byte.is_ascii_alphanumeric(), true).starts_with("notareal%2Bcanary%2F"));
}

/// INV-6, from outside.
#[test]
fn a_secret_in_an_alert_is_a_fingerprint_wherever_it_is_repeated() {
    for form in &forms()[..10] {
        let finding = json!([{
            "RuleID": "generic-api-key", "Description": format!("found {form}"), "Secret": CANARY,
            "Match": format!("key = {CANARY}"), "File": format!("a/{form}"), "Commit": "c0ffee",
            "Message": format!("{form} added"), "Link": format!("https://git.example.com/?q={form}"),
            "Tags": [form], "Fingerprint": format!("c0ffee:a/{form}:r:1"),
        }]);
        let is_ruled =
            |ran: &Ran| ran.err.is_empty() && ran.out.contains("\"pipeline\":\"gitleaks\"");
        assert_nothing_leaks(&finding.to_string(), &[], is_ruled);
    }
}

#[test]
fn a_message_that_cannot_be_read_is_never_quoted() {
    let are_dead = |ran: &Ran| {
        let told = [ran.out.matches("\"dead_letter\""), ran.err.matches("unreadable: ")];
        told.map(Iterator::count) == [6, 6]
    };
    for form in &forms()[..10] {
        let text = json!(form).to_string();
        let broken = [
            // A whole document: those that follow are lines.
            text.clone(),
            format!("{{{text}: "),
            format!("{{{text}: nul}}"),
            format!("{{\"a\": {text}}}"),
            format!("{{\"Secret\": {text}, \"RuleID\": \"r\""),
            form.clone(),
        ];
        assert_nothing_leaks(&broken.join("\n"), &[], are_dead);
        assert_nothing_leaks(&broken.join("\n"), &["--pipeline", "gitleaks"], are_dead);
    }
}

/// All examples of all pipelines in one run, each with a secret where its pipeline redacts one, and
/// repeated in some of the other texts: ruled or dead letters, and in no line of the log.
#[test]
fn no_pipeline_lets_a_secret_into_a_record_or_the_log() {
    let forms = planted::forms();
    let (mut lines, mut tables) = (Vec::new(), Vec::new());
    for folder in std::fs::read_dir(root().join("pipelines")).unwrap() {
        let folder = folder.unwrap().path();
        let Ok(file) = std::fs::read_to_string(folder.join("pipeline.yaml")) else { continue };
        let format = Format::of(&file);
        if format.redact.is_empty() {
            continue;
        }
        for (number, path) in std::fs::read_dir(folder.join("examples")).unwrap().enumerate() {
            let body = std::fs::read(path.unwrap().path()).unwrap();
            let Some(mut message) = format.read(&body) else { continue };
            for (index, leaf) in message.leaves().iter().enumerate() {
                if (index + number) % 4 == 0 {
                    message.append(leaf, &forms[index % forms.len()]);
                }
            }
            let path = &format.redact[number % format.redact.len()];
            format.plant(&mut message, path, &json!(planted::CANARY));
            let body = message.body(true, false);
            if format.is_csv {
                tables = body;
            } else {
                lines.extend(body);
            }
        }
    }
    for input in [lines, tables].iter().filter(|input| !input.is_empty()) {
        let mut command = program(&["decide", "--now", NOW, "-"]);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        let ran = ran(command, input);
        assert_eq!(ran.code, DONE, "{}", ran.err);
        let messages = input.iter().filter(|byte| **byte == b'\n').count();
        // Every dead letter has the fingerprint of itself.
        let is_replaced = |line: &&str| line.contains("fp:") && !line.contains("dead_letter");
        let replaced = ran.out.lines().filter(is_replaced).count();
        assert!(replaced > messages / 10, "replaced in {replaced} of {messages}");
        for form in &forms {
            let told = ran.out.lines().chain(ran.err.lines());
            let told: Vec<&str> = told.filter(|line| line.contains(form.trim())).collect();
            assert!(told.is_empty(), "{form} in {told:?}");
        }
    }
}
