use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::sender::{Headers, Sender};
use crate::case::{Id, Millis, from_hex, hex, id_of};
use crate::config::{CallbackConfig, NamedSecrets, ReplyPath, scalar};

/// A sink whose users may acknowledge there, and what proves that a request is the sink's.
pub struct Callback {
    sink: String,
    config: CallbackConfig,
    /// One for each secret, with the secret's name.
    senders: Vec<(String, Sender)>,
}

/// That a case was acknowledged in a sink. The sink is proved; that there is such a case is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of the order that follows, the same whenever the same request comes again.
    pub order: Id,
    pub sink: String,
    /// The name of the secret that proved it.
    pub secret: String,
    /// As the sink calls its user.
    pub user: String,
    /// As the boundary does.
    pub person: String,
    pub case_id: Id,
    pub revision: u32,
    pub nhi: String,
    pub at: Millis,
}

/// Why nothing follows from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAsked {
    Forged,
    /// It is the sink's, and says nothing that can be understood.
    Unreadable,
    /// It is about something else.
    Other,
    /// Its user is nobody whom the sink's file names.
    Nobody,
}

impl Callback {
    pub fn new(sink: &str, config: CallbackConfig, secrets: NamedSecrets, window_ms: i64) -> Self {
        let sender =
            |(name, secret)| (name, Sender::new(config.verify.clone(), vec![secret], window_ms));
        Self { sink: sink.to_owned(), senders: secrets.into_iter().map(sender).collect(), config }
    }

    /// Errors: why nothing follows from it.
    pub fn asked(
        &self,
        headers: &Headers<'_>,
        body: &[u8],
        now: Millis,
    ) -> Result<Asked, NotAsked> {
        // Each is tried, so that the time this takes does not say which one is right.
        let proved = self
            .senders
            .iter()
            .filter_map(|(name, sender)| Some((name, sender.verified(headers, body, now)?)));
        let proved: Vec<_> = proved.collect();
        let (secret, verified) = proved.into_iter().next().ok_or(NotAsked::Forged)?;
        let said = self.said(body).ok_or(NotAsked::Unreadable)?;
        let is_so =
            |(path, wanted): &(ReplyPath, String)| one(path, &said).as_ref() == Some(wanted);
        if !self.config.when.iter().all(is_so) {
            return Err(NotAsked::Other);
        }
        let reference = one(&self.config.case, &said).ok_or(NotAsked::Unreadable)?;
        let user = one(&self.config.user, &said).ok_or(NotAsked::Unreadable)?;
        let (case_id, revision, nhi) = parts(&reference).ok_or(NotAsked::Unreadable)?;
        let (person, _) = self.config.people.get(&user).ok_or(NotAsked::Nobody)?;
        let name = verified.id.unwrap_or_else(|| hex(&Sha256::digest(body)));
        Ok(Asked {
            order: id_of("callback", &[self.sink.as_bytes(), name.as_bytes()]),
            sink: self.sink.clone(),
            secret: secret.clone(),
            person: person.clone(),
            user,
            case_id: case_id.to_owned(),
            revision,
            nhi: nhi.to_owned(),
            at: now,
        })
    }

    /// What a refusal asks for.
    pub fn challenge(&self) -> Option<&'static str> {
        self.senders.first().and_then(|(_, sender)| sender.challenge())
    }

    fn said(&self, body: &[u8]) -> Option<Value> {
        let json = match &self.config.form {
            Some(field) => Cow::Owned(form_value(body, field)?),
            None => Cow::Borrowed(body),
        };
        serde_json::from_slice(&json).ok()
    }
}

fn one(path: &ReplyPath, said: &Value) -> Option<String> {
    path.find(said).first().and_then(|value| scalar(value))
}

/// `<case id>/<revision>/<identity>`, in which the identity may hold anything.
fn parts(reference: &str) -> Option<(&str, u32, &str)> {
    let (case_id, rest) = reference.split_once('/')?;
    let (revision, nhi) = rest.split_once('/')?;
    Some((case_id, revision.parse().ok()?, nhi)).filter(|_| !case_id.is_empty() && !nhi.is_empty())
}

/// Of `application/x-www-form-urlencoded`, a field that is there exactly once.
fn form_value(body: &[u8], field: &str) -> Option<Vec<u8>> {
    let mut found = body.split(|byte| *byte == b'&').filter_map(|pair| {
        let mut sides = pair.splitn(2, |byte| *byte == b'=');
        let (name, value) = (decoded(sides.next()?)?, sides.next()?);
        (name == field.as_bytes()).then_some(value)
    });
    let first = found.next()?;
    if found.next().is_some() { None } else { decoded(first) }
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [*rest.next()?, *rest.next()?];
                out.extend(from_hex(std::str::from_utf8(&digits).ok()?)?);
            }
            other => out.push(*other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, Verify};
    use crate::text::At;

    const SECRET: &[u8] = b"notareal-webhook-secret-1";
    /// 1767225600 s.
    const NOW: Millis = Millis(1_767_225_600_000);
    const BODY: &str = "payload=%7B%22user%22%3A%7B%22id%22%3A%22U012ABC%22%7D%2C%22actions%22%3A%5B%7B\
        %22action_id%22%3A%22acknowledge%22%2C%22value%22%3A%22eeeba50d27390634b870c9d0f335c3b3%2F2%2F\
        ci%2Fdeploy+bot%22%7D%5D%7D";
    /// Of `v0:1767225600:` and the body, as `openssl dgst -sha256 -hmac` gives it.
    const SIGNED: &str = "v0=12e5a68c11db5073551e28c8e30ad9d52639a7a613b3c50e72e78d82f6036af0";

    fn callback(verify: Verify, form: Option<&str>) -> Callback {
        let path = |text: &str| ReplyPath::parse(text).unwrap();
        let at = At { path: "slack.yaml".into(), line: 1, column: 1 };
        let config = CallbackConfig {
            verify,
            form: form.map(str::to_owned),
            when: vec![(path("actions[0].action_id"), "acknowledge".to_owned())],
            case: path("actions[0].value"),
            user: path("user.id"),
            people: [("U012ABC".to_owned(), ("sam".to_owned(), at.clone()))].into(),
            at,
        };
        let secrets = vec![
            ("old".to_owned(), Secret::new(*b"notareal-another-secret")),
            ("new".to_owned(), Secret::new(SECRET)),
        ];
        Callback::new("slack", config, secrets, 300_000)
    }

    fn slack(body: &str, signed: &str, time: &str, now: Millis) -> Result<Asked, NotAsked> {
        let headers: [(&str, &[u8]); 2] = [
            ("x-slack-signature", signed.as_bytes()),
            ("x-slack-request-timestamp", time.as_bytes()),
        ];
        callback(Verify::Slack, Some("payload")).asked(&headers, body.as_bytes(), now)
    }

    #[test]
    fn what_slack_signed_says_who_asked_and_by_which_secret_it_is_believed() {
        let asked = slack(BODY, SIGNED, "1767225600", NOW).unwrap();
        assert_eq!((&*asked.person, &*asked.user, &*asked.secret), ("sam", "U012ABC", "new"));
        assert_eq!(asked.case_id, "eeeba50d27390634b870c9d0f335c3b3");
        assert_eq!((asked.revision, &*asked.nhi), (2, "ci/deploy bot"));
        let again = slack(BODY, SIGNED, "1767225600", Millis(NOW.0 + 1000)).unwrap();
        assert_eq!(again.order, asked.order, "the same request is the same order");
    }

    #[test]
    fn what_is_forged_or_late_is_refused() {
        let forged = Err(NotAsked::Forged);
        let other = BODY.replace("U012ABC", "U012ABD");
        assert_eq!(slack(&other, SIGNED, "1767225600", NOW), forged);
        assert_eq!(slack(BODY, SIGNED, "1767225601", NOW), forged);
        assert_eq!(slack(BODY, &SIGNED.replace("v0=", "v1="), "1767225600", NOW), forged);
        assert_eq!(slack(BODY, "v0=", "1767225600", NOW), forged);
        for late in [300_001, -300_001] {
            assert_eq!(slack(BODY, SIGNED, "1767225600", Millis(NOW.0 + late)), forged, "{late}");
        }
        assert_eq!(callback(Verify::Slack, Some("payload")).asked(&[], b"", NOW), forged);
    }

    #[test]
    fn what_is_the_sinks_and_makes_no_order_is_told_apart() {
        let bearer = callback(Verify::Bearer, None);
        let shown: [(&str, &[u8]); 1] = [("authorization", b"Bearer notareal-webhook-secret-1")];
        let ask = |body: &str| bearer.asked(&shown, body.as_bytes(), NOW);
        let said = |action: &str, value: &str, user: &str| {
            format!(
                r#"{{"actions":[{{"action_id":"{action}","value":"{value}"}}],"user":{{"id":{user}}}}}"#
            )
        };
        assert!(ask(&said("acknowledge", "c/1/n", "\"U012ABC\"")).is_ok());
        assert_eq!(ask(&said("close", "c/1/n", "\"U012ABC\"")), Err(NotAsked::Other));
        assert_eq!(ask(&said("acknowledge", "c/1/n", "\"U9\"")), Err(NotAsked::Nobody));
        for (value, user) in
            [("c/1", "\"U012ABC\""), ("c/x/n", "\"U012ABC\""), ("/1/n", "1"), ("c/1/", "null")]
        {
            let found = ask(&said("acknowledge", value, user));
            assert_eq!(found, Err(NotAsked::Unreadable), "{value} {user}");
        }
        for body in ["", "{", "[]"] {
            assert!(ask(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_field_of_a_form_is_there_once() {
        let value =
            |body: &str| form_value(body.as_bytes(), "a").map(|v| String::from_utf8(v).unwrap());
        assert_eq!(value("b=1&a=x%20y+z%26"), Some("x y z&".to_owned()));
        for wrong in ["", "a", "b=1", "a=1&a=2", "a=1&%61=2", "a=%4", "a=%zz"] {
            assert_eq!(value(wrong), None, "{wrong}");
        }
    }
}
