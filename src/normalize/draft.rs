//! The first version of a pipeline's file, guessed from one event: something to correct, that
//! already reads the event. No value of the event is written into it.

use super::times::TimeFormat;
use crate::case::{Field, Type};
use crate::json::{Kind, Leaf, Malformed, Path, Start, Step, leaves};

/// Names of keys, in lower case and without separators, and the field each is likely to be.
const FIELDS: &[(&[&str], Field)] = &[
    (&["title", "summary", "message", "description", "displaymessage"], Field::Title),
    (&["id", "uuid", "uid", "eventid", "alertid", "fingerprint"], Field::NativeId),
    (
        &[
            "time",
            "timestamp",
            "eventtime",
            "createdat",
            "created",
            "published",
            "date",
            "datetime",
            "when",
            "occurredat",
            "detectedat",
            "starttime",
        ],
        Field::OccurredAt,
    ),
    (
        &["principal", "actor", "user", "username", "serviceaccount", "login", "clientname"],
        Field::NhiName,
    ),
    (&["account", "accountid", "tenant", "tenantid", "org", "organization"], Field::NhiAccount),
    (&["accesskeyid", "keyid", "tokenid", "credentialid", "clientid"], Field::CredentialId),
    (&["repository", "repo", "project"], Field::Repository),
    (&["file", "path", "filename"], Field::File),
    (&["line", "linenumber", "startline"], Field::Line),
    (&["commit", "sha", "commitid"], Field::Commit),
    (&["branch", "ref"], Field::Branch),
    (&["author", "email"], Field::Author),
    (&["url", "link", "htmlurl"], Field::Url),
    (&["type", "eventtype", "ruleid", "rule", "eventname", "detector"], Field::EventType),
    (&["action", "operation", "method"], Field::EventAction),
    (&["reason", "error", "errorcode", "errormessage"], Field::EventReason),
    (&["count"], Field::EventCount),
    (&["ip", "ipaddress", "sourceip", "clientip", "srcip", "sourceipaddress"], Field::SourceIp),
    (&["useragent"], Field::SourceUserAgent),
    (&["country"], Field::SourceCountry),
    (&["resource", "resourceid", "target"], Field::ResourceId),
    (&["region"], Field::ResourceRegion),
];

/// Names of keys under which secrets stand.
const SECRETS: &[&str] = &[
    "secret",
    "token",
    "password",
    "raw",
    "rawv2",
    "match",
    "value",
    "apikey",
    "privatekey",
    "credential",
    "accesstoken",
    "sessiontoken",
    "snippet",
    "offender",
];

const TIMES: &[&str] = &["rfc3339", "rfc1123", "epoch_ms", "epoch_s", "%Y-%m-%d %H:%M:%S"];

/// Errors: where the sample is no JSON.
pub fn draft(name: &str, sample: &str) -> Result<String, Malformed> {
    let all = leaves(sample)?;
    let each = each_of(&all);
    let inside: Vec<Leaf<'_>> = match &each {
        Some(list) => first_item(&all, list),
        None => all,
    };
    let (secrets, others): (Vec<_>, Vec<_>) = inside.into_iter().partition(is_secret);
    let redact: Vec<String> = secrets.iter().map(|leaf| quoted(&leaf.path)).collect();
    let map: Vec<(Field, &Leaf<'_>)> =
        FIELDS.iter().filter_map(|(keys, field)| Some((*field, best(&others, keys)?))).collect();
    let is_mapped = |leaf: &Leaf<'_>| map.iter().any(|(_, used)| used.path == leaf.path);
    let rest: Vec<String> =
        others.iter().filter(|leaf| !is_mapped(leaf)).map(|leaf| quoted(&leaf.path)).collect();
    let known = |wanted| map.iter().find(|(field, _)| *field == wanted).map(|(_, leaf)| *leaf);
    let signs = [known(Field::NativeId), known(Field::EventType), secrets.first()];
    let signs = signs.into_iter().flatten().take(2).map(|leaf| quoted(&leaf.path));
    let signs =
        each.as_deref().and_then(list_sign).map_or_else(|| signs.collect(), |one| vec![one]);
    let severity = best(&others, &["severity", "level", "priority", "risklevel"]);
    let severity = severity.map_or("...".to_owned(), |leaf| quoted(&leaf.path));
    let mut map: Vec<(Field, String)> =
        map.iter().map(|(field, leaf)| (*field, source(*field, leaf))).collect();
    map.sort_by_key(|(field, _)| *field);
    Ok(written(name, (&signs, each.as_deref()), &redact, (&map, &severity), &rest))
}

/// Of a report the list itself, which is there when it holds nothing, too.
fn list_sign(each: &str) -> Option<String> {
    let mut list = Path::parse(each).ok()?;
    list.steps = list.steps.into_iter().take_while(|step| *step != Step::Each).collect();
    (!list.steps.is_empty()).then(|| quoted(&list))
}

fn written(
    name: &str,
    (signs, each): (&[String], Option<&str>),
    redact: &[String],
    (map, severity): (&[(Field, String)], &str),
    rest: &[String],
) -> String {
    let mut out = format!(
        "# Guessed from one event: `tipstaff map --pipeline {name} FILE` shows what it makes of others.\n\
         # The language is described in pipelines/README.md.\n\
         pipeline: {name}\n\
         title: What {name} reports\n\
         owner: whoever answers for this file\n\
         from: {{topic: alerts.{name}, webhook: /v1/alerts/{name}}}\n\n\
         # Which messages are its own: any other is unreadable, and nothing is guessed of it.\n\
         detect:\n"
    );
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    for sign in signs {
        line(&format!("  - {{path: {sign}, exists: true}}"));
    }
    if signs.is_empty() {
        line("  - {path: a.b, exists: true}");
    }
    match each {
        Some(each) => line(&format!("each: \"{each}\"")),
        None => line("# each: [\"$[*]\"]                # when one message holds several alerts"),
    }
    let kind = if redact.is_empty() { "token_misuse" } else { "exposed_key" };
    line(
        "# exposed_key, auth_failure, token_misuse or activity; by content with `cases` or a `table`.",
    );
    line(&format!("kind: {kind}"));
    line("# Events that nobody has to act on:");
    line(
        "# not_an_alert:\n#   - id: succeeded\n#     when: [{field: event.outcome, equals: success}]\n",
    );
    line("# Everything that may hold a secret; the first identifies the credential.");
    line(&format!("redact: [{}]\n", redact.join(", ")));
    line("map:");
    for (field, source) in map {
        line(&format!("  {}: {source}", field.path()));
    }
    if map.is_empty() {
        line(&format!("  title: {{const: {name}}}"));
    }
    line(&format!("  # severity: {{path: {severity}, lower: true, table: {{high: high}}}}"));
    line("  # nhi.kind: {path: ..., table: {User: person}}");
    line("  # attack_technique: {const: T1552.001}");
    line("  # owasp_nhi: {const: \"NHI2:2025\"}");
    if !rest.is_empty() {
        line("\n# Not used yet:");
    }
    for path in rest {
        line(&format!("#   {path}"));
    }
    out
}

/// The list of objects that the event is, or holds at its top.
fn each_of(all: &[Leaf<'_>]) -> Option<String> {
    let inside_list = |leaf: &Leaf<'_>| match leaf.path.steps.as_slice() {
        [Step::Index(_), Step::Key(_), ..] => Some("$[*]".to_owned()),
        [Step::Key(key), Step::Index(_), Step::Key(_), ..] => {
            let steps = vec![Step::Key(key.clone()), Step::Each];
            Some(Path { start: Start::Here, steps, is_key: false }.to_string())
        }
        _ => None,
    };
    let lists: Vec<String> = all.iter().filter_map(inside_list).collect();
    // A list beside many other values is a part of the event rather than a list of events.
    let is_most = lists.len() * 2 > all.len();
    lists.into_iter().next().filter(|_| is_most)
}

fn first_item<'a>(all: &[Leaf<'a>], each: &str) -> Vec<Leaf<'a>> {
    let skipped = if each == "$[*]" { 1 } else { 2 };
    let inside = all.iter().filter_map(|leaf| {
        let (list, rest) = leaf.path.steps.split_at_checked(skipped)?;
        let is_first = list.last() == Some(&Step::Index(0)) && !rest.is_empty();
        let path = Path { steps: rest.to_vec(), ..leaf.path.clone() };
        is_first.then_some(Leaf { path, raw: leaf.raw })
    });
    inside.collect()
}

fn key_of(path: &Path) -> String {
    let keys = path.steps.iter().rev();
    let key =
        keys.filter_map(|step| if let Step::Key(key) = step { Some(key) } else { None }).next();
    let letters = key.map(|key| key.chars().filter(|c| c.is_ascii_alphanumeric()));
    letters.map(|letters| letters.collect::<String>().to_ascii_lowercase()).unwrap_or_default()
}

/// As YAML takes it: paths with brackets or braces need quotes.
fn quoted(path: &Path) -> String {
    let text = path.to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_plain);
    if is_word { text } else { format!("'{}'", text.replace('\'', "''")) }
}

fn is_secret(leaf: &Leaf<'_>) -> bool {
    let is_text = matches!(leaf.raw.kind, Kind::Text { .. });
    is_text && SECRETS.contains(&key_of(&leaf.path).as_str())
}

/// The one nearest to the top; of several the one whose key says it best.
fn best<'l, 'a>(all: &'l [Leaf<'a>], keys: &[&str]) -> Option<&'l Leaf<'a>> {
    let rank = |leaf: &'l Leaf<'a>| {
        let at = keys.iter().position(|key| *key == key_of(&leaf.path))?;
        Some(((leaf.path.steps.len(), at), leaf))
    };
    all.iter().filter_map(rank).min_by_key(|(rank, _)| *rank).map(|(_, leaf)| leaf)
}

fn source(field: Field, leaf: &Leaf<'_>) -> String {
    let path = quoted(&leaf.path);
    let text = leaf.raw.scalar().unwrap_or_default();
    let reads = |name: &&&str| TimeFormat::named(name).is_ok_and(|f| f.read(&text).is_some());
    match TIMES.iter().find(reads).filter(|_| field.of() == Type::Time) {
        Some(name) if *name != "rfc3339" => format!("{{path: {path}, time: \"{name}\"}}"),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Problems, Source};

    #[test]
    fn a_draft_reads_the_event_it_was_guessed_from_and_tells_none_of_its_values() {
        let event = r#"{"events":[{"meta":{"id":"inner"},"id":"e1","when":"no","time":1767225600,
            "secret":"notareal-secret","clientIp":"192.0.2.1","we ird":{"rule":"r1"},"n":[{"x":1}]}]}"#;
        let text = draft("my-tool", event).unwrap();
        for value in ["notareal", "192.0.2.1", "e1", "r1", "1767225600"] {
            assert!(!text.contains(value), "{value} in {text}");
        }
        let mut problems = Problems::default();
        let files = [Source::new("p.yaml", text.clone())];
        let pipelines = crate::normalize::compile(&files, None, &mut problems);
        let pipelines = pipelines.unwrap_or_else(|| panic!("{:?} {text}", problems.into_sorted()));
        let keys = crate::normalize::FingerprintKeys::new(("k", &[1; 16]), None).unwrap();
        let incoming = crate::normalize::Incoming {
            topic: "alerts.my-tool",
            incarnation: "-",
            partition: 0,
            offset: 0,
            headers: &[],
            value: Some(event.as_bytes()),
            received_at: crate::case::Millis(1),
        };
        let arrivals = pipelines.read(&incoming, None, &keys);
        let crate::case::Body::Alert(alert) = &arrivals[0].body else { panic!("{text}") };
        let texts = [Field::NativeId, Field::SourceIp, Field::EventType, Field::Kind];
        let texts = texts.map(|field| alert.text(field).unwrap_or("-"));
        assert_eq!(texts, ["e1", "192.0.2.1", "r1", "exposed_key"]);
        assert!(alert.get(Field::OccurredAt).is_present(), "{text}");
        assert!(text.contains("#   when") && text.contains("n[0].x"), "{text}");
        assert!(draft("x", "{").is_err());
    }
}
