//! Templates filled in, each value escaped for the place it stands in. What a case says is never
//! read as a template.

use serde_json::{Map, Value as Json};

use super::Known;
use super::case::{Case, Said, in_words};
use crate::config::sink::{Leaf, Line, Markup, Piece, SinkRequest, Text, To, Writing};
use crate::service::Call;
use crate::text::plain;

/// A case says nothing where a path needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

/// Everything but unreserved characters is percent-encoded.
fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

const HEADER_MAX: usize = 512;

fn in_header(text: &str) -> String {
    let visible = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    text.chars().take(HEADER_MAX).map(visible).collect()
}

/// What is for people is one line: it can't pass for lines of the template.
fn marked_up(text: &str, markup: Markup) -> String {
    match markup {
        Markup::Raw => text.to_owned(),
        Markup::Line => plain(text),
        Markup::Slack => {
            plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
        }
        Markup::Jira => {
            let mut escaped = String::with_capacity(text.len());
            for c in plain(text).chars() {
                if "\\{}[]|!*_+^~?#".contains(c) {
                    escaped.push('\\');
                }
                escaped.push(c);
            }
            escaped
        }
    }
}

/// At most so many characters, and no half of what was escaped.
fn cut(text: String, writing: Writing) -> String {
    let Some(max) = writing.max.filter(|max| text.chars().count() > *max) else { return text };
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    let whole = match writing.markup {
        Markup::Slack => {
            let open =
                kept.rfind('&').filter(|from| !kept.get(*from..).unwrap_or("").contains(';'));
            open.map_or(kept.as_str(), |from| kept.get(..from).unwrap_or(""))
        }
        Markup::Jira if kept.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 => {
            kept.get(..kept.len() - 1).unwrap_or("")
        }
        Markup::Raw | Markup::Line | Markup::Jira => kept.as_str(),
    };
    format!("{whole}…")
}

/// Fills the templates of one delivery.
pub(super) struct Filler<'f> {
    pub case: &'f Case,
    pub known: Known<'f>,
}

impl Filler<'_> {
    /// Errors: the path can't be made of this case.
    pub fn call(&self, request: &SinkRequest) -> Result<Call, Missing> {
        let mut path = self.path(&request.path)?;
        let query = request.query.iter().filter_map(|(name, text)| {
            let value = self.one(text, &|value| value.to_owned())?;
            Some(format!("{}={}", percent(name), percent(&value)))
        });
        let query = query.collect::<Vec<_>>().join("&");
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let key = self.case.key();
        let mut headers = vec![
            ("Accept".to_owned(), "*/*".to_owned()),
            ("Idempotency-Key".to_owned(), key.to_owned()),
            (crate::service::WEBHOOK_ID.to_owned(), key.to_owned()),
        ];
        for (name, text) in &request.headers {
            let value = self.one(text, &in_header);
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            headers.extend(value.map(|value| (name.clone(), value)));
        }
        let body = request.body.as_ref().map(|leaf| self.leaf(leaf).unwrap_or(Json::Null));
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        Ok(Call {
            method: request.method.parse().map_err(|_| Missing("its method".to_owned()))?,
            path,
            headers,
            body: body.map(|body| body.to_string().into_bytes()),
        })
    }

    fn path(&self, text: &Text) -> Result<String, Missing> {
        let mut path = String::new();
        for piece in text.0.iter().flatten() {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Value(placeholder) => match self.case.says(placeholder, &self.known) {
                    Said::Value(value) if !in_words(&value).is_empty() => {
                        path.push_str(&percent(&in_words(&value)));
                    }
                    _ => return Err(Missing(placeholder.name())),
                },
            }
        }
        Ok(path)
    }

    /// One line; nothing when one of its placeholders has no value.
    fn one(&self, text: &Text, escape: &dyn Fn(&str) -> String) -> Option<String> {
        let mut written = String::new();
        for piece in text.0.iter().flatten() {
            match piece {
                Piece::Text(text) => written.push_str(text),
                Piece::Value(placeholder) => match self.case.says(placeholder, &self.known) {
                    Said::Value(value) => written.push_str(&escape(&in_words(&value))),
                    Said::Absent | Said::Unknown(_) => return None,
                },
            }
        }
        Some(written)
    }

    /// Nothing: it is left out.
    fn leaf(&self, leaf: &Leaf) -> Option<Json> {
        Some(match leaf {
            Leaf::Plain(value) => value.clone(),
            Leaf::Case => self.case.json().clone(),
            Leaf::Text(text, writing) => self.text(text, *writing)?,
            Leaf::List(items) => {
                Json::Array(items.iter().filter_map(|item| self.leaf(item)).collect())
            }
            Leaf::Map(entries) => {
                let entry = |(name, leaf): &(String, Leaf)| Some((name.clone(), self.leaf(leaf)?));
                Json::Object(entries.iter().filter_map(entry).collect::<Map<_, _>>())
            }
        })
    }

    /// What is nothing but one placeholder keeps its type.
    fn text(&self, text: &Text, writing: Writing) -> Option<Json> {
        let written = |text: &str| -> Json { cut(marked_up(text, writing.markup), writing).into() };
        if let Some(placeholder) = text.sole() {
            let Said::Value(value) = self.case.says(placeholder, &self.known) else { return None };
            if placeholder.is_reference() {
                return Some(value);
            }
            return Some(match value {
                Json::String(text) => written(&text),
                Json::Array(items) => items.iter().map(|item| written(&in_words(item))).collect(),
                other => other,
            });
        }
        let lines: Vec<String> =
            text.0.iter().filter_map(|line| self.line(line, writing.markup)).collect();
        let is_nothing = lines.is_empty() && text.is_filled();
        (!is_nothing).then(|| cut(lines.join("\n"), writing).into())
    }

    /// For people: what is not known is said.
    fn line(&self, line: &Line, markup: Markup) -> Option<String> {
        let mut written = String::new();
        for piece in line {
            match piece {
                Piece::Text(text) => written.push_str(text),
                Piece::Value(placeholder) => match self.case.says(placeholder, &self.known) {
                    Said::Value(value) => written.push_str(&marked_up(&in_words(&value), markup)),
                    Said::Unknown(why) => {
                        written.push_str(&marked_up(&format!("unknown ({why})"), markup));
                    }
                    Said::Absent => return None,
                },
            }
        }
        Some(written)
    }
}

/// The channel or address; where a part of it is no plain name, the one that `otherwise` says.
pub(super) fn address(to: &To, case: &Case, sink: &str) -> String {
    let known = Known { sink, to: None, found: None };
    let is_plain = |text: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
        (1..=80).contains(&text.len()) && text.chars().all(allowed)
    };
    let mut address = String::new();
    for piece in to.address.0.iter().flatten() {
        match piece {
            Piece::Text(text) => address.push_str(text),
            Piece::Value(placeholder) => match case.says(placeholder, &known) {
                Said::Value(Json::String(text)) if is_plain(&text) => address.push_str(&text),
                _ => return to.otherwise.clone(),
            },
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::case::Field;
    use crate::config::sink::Placeholder;

    const NASTY: [&str; 9] = [
        "say \"hi\" \\ and \\\" more",
        "a\nb\r\nState: closed",
        "</script><script>alert(1)</script>",
        "<!channel> <@U123> <https://evil.example|click> & <#C1>",
        "{{case.id}} {{nhi.id}}",
        "{code}x{code} [~admin] !http://e/x.png! |a|b| h1. *b*",
        "../../admin?x=y#z%2e",
        "\u{202e}evil\u{200b}\u{7}\u{1b}[31m",
        "\u{2028}\u{0}é漢",
    ];

    fn case(title: &str) -> Case {
        let case = json!({
            "v": 1, "case_id": "c1", "case_revision": 3, "summary": title, "count": 7,
            "ack_by": "2026-01-01T00:00:00.000Z", "alert": {"title": title, "nhi": {"id": title}},
            "because": [{"clause": "a == 1", "seen": [{"name": "a", "value": "1"}]}],
            "facts": [
                {"enricher": "owner", "source": "s", "state": "known", "values": {"team": title}},
                {"enricher": "vault", "source": "s", "state": "unknown", "why": "timeout"},
            ],
            "record": {"chain": "c/t/0/0", "seq": 9, "hash": "0".repeat(64)},
        });
        Case::read(case.to_string().as_bytes()).unwrap()
    }

    fn title() -> Piece {
        Piece::Value(Placeholder::Alert(Field::Title))
    }

    fn fact(enricher: &str, field: &str) -> Piece {
        let (enricher, field) = (enricher.into(), field.into());
        Piece::Value(Placeholder::Fact { enricher, field, of: crate::case::Type::Text })
    }

    fn text(piece: &str) -> Piece {
        Piece::Text(piece.to_owned())
    }

    const KNOWN: Known<'static> = Known { sink: "s", to: None, found: None };

    fn written(case: &Case, lines: Vec<Line>, markup: Markup, max: Option<usize>) -> Option<Json> {
        Filler { case, known: KNOWN }.leaf(&Leaf::Text(Text(lines), Writing { markup, max }))
    }

    #[test]
    fn json_holds_what_the_case_says_and_nothing_else() {
        for nasty in NASTY {
            let case = case(nasty);
            let body = Leaf::Map(vec![
                ("whole".to_owned(), Leaf::Case),
                (
                    "title".to_owned(),
                    Leaf::Text(
                        Text(vec![vec![title()]]),
                        Writing { markup: Markup::Raw, max: None },
                    ),
                ),
            ]);
            let request = SinkRequest {
                method: "POST",
                path: Text(vec![vec![text("/x")]]),
                query: Vec::new(),
                headers: vec![("X-Title".to_owned(), Text(vec![vec![title()]]))],
                body: Some(body),
            };
            let call = Filler { case: &case, known: KNOWN }.call(&request).unwrap();
            let read: Json = serde_json::from_slice(&call.body.unwrap()).unwrap();
            assert_eq!(read, json!({"whole": case.json(), "title": nasty}));
            let (_, header) = call.headers.iter().find(|(name, _)| name == "X-Title").unwrap();
            assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header:?}");
            assert!(reqwest::header::HeaderValue::from_str(header).is_ok());
        }
    }

    #[test]
    fn a_path_and_a_query_keep_a_value_in_its_place() {
        for nasty in NASTY {
            let case = case(nasty);
            let request = SinkRequest {
                method: "POST",
                path: Text(vec![vec![text("/cases/"), title(), text("/notes")]]),
                query: vec![("q".to_owned(), Text(vec![vec![title()]]))],
                headers: Vec::new(),
                body: None,
            };
            let call = Filler { case: &case, known: KNOWN }.call(&request).unwrap();
            let url = reqwest::Url::parse(&format!("https://h{}", call.path)).unwrap();
            assert_eq!(url.path_segments().unwrap().count(), 3, "{url}");
            let pairs: Vec<_> = url.query_pairs().collect();
            assert_eq!(pairs, [("q".into(), nasty.into())]);
            assert_eq!(url.fragment(), None);
        }
    }

    #[test]
    fn slack_and_jira_read_no_command_in_a_value() {
        for nasty in NASTY {
            let case = case(nasty);
            let line = vec![text("*T:* "), title()];
            let slack = written(&case, vec![line.clone()], Markup::Slack, None).unwrap();
            let slack = slack.as_str().unwrap();
            assert!(
                slack.starts_with("*T:* ") && !slack.contains(['<', '>', '\n', '\r']),
                "{slack}"
            );
            assert!(!slack.contains(['\u{202e}', '\u{200b}', '\u{7}', '\u{1b}', '\u{0}']));
            assert!(slack.split('&').skip(1).all(|rest| {
                ["amp;", "lt;", "gt;"].iter().any(|entity| rest.starts_with(entity))
            }));
            let jira = written(&case, vec![line], Markup::Jira, None).unwrap();
            let jira = jira.as_str().unwrap().strip_prefix("*T:* ").unwrap();
            let mut is_escaped = false;
            for c in jira.chars() {
                let is_special = "{}[]|!*_+^~?#".contains(c);
                assert!(!is_special || is_escaped, "`{c}` in {jira}");
                is_escaped = c == '\\' && !is_escaped;
            }
            assert!(!is_escaped && !jira.contains('\n'), "{jira}");
        }
    }

    #[test]
    fn what_is_cut_is_not_cut_in_the_middle_of_an_escape() {
        for (markup, nasty) in [(Markup::Slack, "&".repeat(40)), (Markup::Jira, "{".repeat(40))] {
            for max in 1..60 {
                let cut = written(&case(&nasty), vec![vec![title()]], markup, Some(max)).unwrap();
                let cut = cut.as_str().unwrap();
                assert!(cut.chars().count() <= max, "{cut}");
                let whole = cut.trim_end_matches('…').replace("&amp;", "").replace("\\{", "");
                assert_eq!(whole, "", "{cut}");
            }
        }
    }

    #[test]
    fn a_line_that_has_nothing_to_say_is_left_out_and_an_unknown_is_told() {
        let case = case("t");
        let count = Placeholder::Word(
            crate::config::sink::WORDS.iter().find(|word| word.name == "case.count").unwrap(),
        );
        let lines = vec![
            vec![title()],
            vec![text("Owner: "), fact("owner", "team")],
            vec![text("Person: "), fact("owner", "person")],
            vec![text("Vault: "), fact("vault", "path")],
        ];
        let all = written(&case, lines, Markup::Line, None);
        assert_eq!(all, Some(json!("t\nOwner: t\nVault: unknown (timeout)")));
        assert_eq!(written(&case, vec![vec![fact("owner", "person")]], Markup::Raw, None), None);
        assert_eq!(written(&case, vec![vec![fact("vault", "path")]], Markup::Raw, None), None);
        let typed = written(&case, vec![vec![Piece::Value(count)]], Markup::Raw, None);
        assert_eq!(typed, Some(json!(7)), "a number stays one");
    }

    #[test]
    fn an_address_is_made_of_plain_names_only() {
        let to = To {
            address: Text(vec![vec![text("#team-"), fact("owner", "team")]]),
            otherwise: "#nobody".to_owned(),
        };
        assert_eq!(address(&to, &case("billing.eu-1"), "s"), "#team-billing.eu-1");
        for nasty in NASTY.into_iter().chain(["", "a b", "x,#other", "a/b"]) {
            assert_eq!(address(&to, &case(nasty), "s"), "#nobody", "{nasty}");
        }
    }
}
