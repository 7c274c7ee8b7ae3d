//! The Query API: a form in, XML out.

use std::sync::Arc;

use reqwest::Method;
use roxmltree::{Document, Node};

use crate::case::Millis;
use crate::service::{Call, Failure, Fault, Service};

pub(super) struct Iam(pub Arc<Service>);

/// One element of a reply, without the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

/// What was asked for, or that IAM has no such thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answered<T> {
    Is(T),
    NoSuchEntity,
}

impl<T> Answered<T> {
    /// Of what another reply has just named.
    pub fn there(self) -> Result<T, Failure> {
        match self {
            Self::Is(found) => Ok(found),
            Self::NoSuchEntity => {
                let told = "something changed in IAM while it was asked";
                Err(Failure::new(Fault::Malformed, told))
            }
        }
    }
}

const VERSION: &str = "2010-05-08";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// A list that goes on after this many pages is not believed.
const PAGES_MAX: usize = 50;

impl Iam {
    /// The result of one call: what stands in `<ActionResult>`.
    pub async fn ask(
        &self,
        action: &str,
        given: &[(&str, &str)],
    ) -> Result<Answered<Element>, Failure> {
        let own = [("Action", action), ("Version", VERSION)];
        let pairs = own.iter().chain(given);
        let pairs = pairs.map(|(name, value)| format!("{name}={}", encoded(value)));
        let call = Call {
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![
                ("content-type".to_owned(), FORM.to_owned()),
                ("accept".to_owned(), "text/xml, application/xml".to_owned()),
            ],
            body: Some(pairs.collect::<Vec<_>>().join("&").into_bytes()),
        };
        let at = |failure: Failure| {
            let detail = format!("{action}: {}", failure.detail);
            Failure { detail, ..failure }
        };
        let reply = self.0.send(call).await.map_err(at)?;
        read(action, reply.status, &reply.body)
    }

    /// All members of `<list>`, page by page, of a user or a group.
    pub async fn list(
        &self,
        action: &str,
        of: &str,
        list: &str,
    ) -> Result<Answered<Vec<Element>>, Failure> {
        let subject = if action.contains("GroupPolicies") { "GroupName" } else { "UserName" };
        let (mut all, mut marker) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let mut given = vec![(subject, of)];
            given.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let Answered::Is(page) = self.ask(action, &given).await? else {
                return Ok(Answered::NoSuchEntity);
            };
            let members = page.child(list).map(Element::members);
            let missing = || Failure::new(Fault::Malformed, format!("{action}: no `{list}`"));
            all.extend(members.ok_or_else(missing)?.iter().cloned());
            if page.get("IsTruncated").as_deref() != Some("true") {
                return Ok(Answered::Is(all));
            }
            marker = Some(page.need("Marker")?);
        }
        Err(Failure::new(Fault::Malformed, format!("{action}: more than {PAGES_MAX} pages")))
    }
}

/// As a form wants it; a space is `%20`.
fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn read(action: &str, status: u16, body: &[u8]) -> Result<Answered<Element>, Failure> {
    let malformed = |why: &str| Failure::new(Fault::Malformed, format!("{action}: {why}"));
    let text = std::str::from_utf8(body).map_err(|_| malformed("the answer is no UTF-8"))?;
    let document = Document::parse(text).map_err(|_| malformed("the answer is no XML"))?;
    let root = document.root_element();
    if (200..300).contains(&status) {
        let name = format!("{action}Result");
        let result = root.children().find(|node| node.tag_name().name() == name);
        let result = result.ok_or_else(|| malformed(&format!("the answer has no `{name}`")))?;
        return Ok(Answered::Is(element(result, 0)));
    }
    let named = |name| root.descendants().find(|node| node.tag_name().name() == name);
    let code = named("Code").and_then(|node| node.text()).unwrap_or("without a code").trim();
    let fault = match code {
        "NoSuchEntity" if status == 404 => return Ok(Answered::NoSuchEntity),
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => Fault::Limited,
        "AccessDenied" | "ExpiredToken" | "InvalidClientTokenId" => Fault::Denied,
        _ => Fault::Status,
    };
    let code: String = code.chars().filter(|c| c.is_ascii_alphanumeric()).take(60).collect();
    Err(Failure::new(fault, format!("{action}: IAM says {code} ({status})")))
}

/// Deeper than anything that IAM answers.
const DEPTH_MAX: usize = 12;

fn element(node: Node<'_, '_>, depth: usize) -> Element {
    let children = node.children().filter(|child| child.is_element() && depth < DEPTH_MAX);
    Element {
        name: node.tag_name().name().to_owned(),
        text: node.text().unwrap_or_default().trim().to_owned(),
        children: children.map(|child| element(child, depth + 1)).collect(),
    }
}

impl Element {
    /// The nearest below, breadth first: results nest what they hold once.
    pub fn child(&self, name: &str) -> Option<&Self> {
        let own = self.children.iter().find(|child| child.name == name);
        let below = || self.children.iter().filter(|child| child.name != "member");
        own.or_else(|| below().find_map(|child| child.child(name)))
    }

    pub fn members(&self) -> &[Self] {
        &self.children
    }

    pub fn text(&self) -> String {
        self.text.clone()
    }

    /// Nothing where it is missing or empty.
    pub fn get(&self, name: &str) -> Option<String> {
        self.child(name).map(Self::text).filter(|text| !text.is_empty())
    }

    pub fn need(&self, name: &str) -> Result<String, Failure> {
        let missing = || Failure::new(Fault::Malformed, format!("{}: no `{name}`", self.name));
        self.get(name).ok_or_else(missing)
    }

    pub fn time(&self, name: &str) -> Result<Option<Millis>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong =
            || Failure::new(Fault::Malformed, format!("{}: `{name}` is no time", self.name));
        Millis::parse(&text).map(Some).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the API reference shows it.
    const USER: &str = r#"<GetUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
      <GetUserResult><User>
        <Path>/division_abc/</Path><UserName>Bob</UserName>
        <Arn>arn:aws:iam::123456789012:user/division_abc/Bob</Arn>
        <PermissionsBoundary>
          <PermissionsBoundaryType>Policy</PermissionsBoundaryType>
          <PermissionsBoundaryArn>arn:aws:iam::123456789012:policy/Limit</PermissionsBoundaryArn>
        </PermissionsBoundary>
        <Tags><member><Key>b</Key><Value>2</Value></member><member><Key>a</Key><Value>1</Value></member></Tags>
      </User></GetUserResult>
      <ResponseMetadata><RequestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</RequestId></ResponseMetadata>
    </GetUserResponse>"#;

    fn error(code: &str) -> String {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>"
        )
    }

    #[test]
    fn a_user_is_read_with_boundary_and_tags() {
        let user = read("GetUser", 200, USER.as_bytes()).unwrap().there().unwrap();
        assert_eq!(user.get("Path").as_deref(), Some("/division_abc/"));
        let boundary = user.child("PermissionsBoundary").unwrap();
        let arn = boundary.need("PermissionsBoundaryArn").unwrap();
        assert_eq!(arn, "arn:aws:iam::123456789012:policy/Limit");
        assert_eq!(crate::enrich::aws::tags(&user).as_deref(), Some("a=1, b=2"));
        // A tag's key is no field of the user's.
        assert_eq!((user.get("Key"), user.get("PasswordLastUsed")), (None, None));
    }

    #[test]
    fn only_no_such_entity_is_absence() {
        let gone = read("GetUser", 404, error("NoSuchEntity").as_bytes());
        assert_eq!(gone, Ok(Answered::NoSuchEntity));
        for (status, body, fault) in [
            (400, error("Throttling"), Fault::Limited),
            (400, error("ValidationError"), Fault::Status),
            (404, error("NotFound"), Fault::Status),
            (409, error("NoSuchEntity"), Fault::Status),
            (404, "<html>".to_owned(), Fault::Malformed),
            (404, "<html></html>".to_owned(), Fault::Status),
            (200, error("NoSuchEntity"), Fault::Malformed),
            (200, USER.replace("GetUserResult", "GetRoleResult"), Fault::Malformed),
            (200, String::new(), Fault::Malformed),
        ] {
            let failure = read("GetUser", status, body.as_bytes()).unwrap_err();
            assert_eq!(failure.fault, fault, "{status} {body}");
            assert!(failure.detail.starts_with("GetUser: "), "{}", failure.detail);
        }
    }
}
