use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::reach::Reach;
use super::secret::{Secret, SecretFrom, fetch, secret_from};
use super::webhooks::signing_secret;
use super::words::{bytes, duration, number};
use crate::text::{At, Data, Fields, Node, Problems};

/// One of `services:`: a system that facts are asked of, what it is shown, and how it is spared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemConfig {
    pub name: String,
    pub at: At,
    /// `https://host:port/prefix`, without a slash at its end.
    pub url: String,
    pub reach: Reach,
    pub sent: Sent<SecretAt>,
    /// The only certificates that are believed; without it those of the machine.
    pub ca: Option<SecretAt>,
    pub limits: SystemLimits,
}

/// Where a secret is kept, and where that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretAt {
    pub from: SecretFrom,
    pub at: At,
}

/// What goes with every request: with `S` a place where a secret is kept, or the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent<S> {
    pub headers: Vec<(String, Shown<S>)>,
    pub login: Login<S>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown<S> {
    Plain(String),
    Secret(S),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login<S> {
    None,
    Bearer(S),
    Basic {
        user: String,
        password: S,
    },
    Aws(AwsKeys<S>),
    /// Each body is signed, as Standard Webhooks has it.
    Signed(S),
}

/// What a request to AWS is signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeys<S> {
    pub region: String,
    pub service: String,
    pub access_key_id: S,
    pub secret_access_key: S,
    pub session_token: Option<S>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemLimits {
    /// Of one try, and of waiting for one's turn.
    pub timeout_ms: u64,
    pub concurrency: usize,
    /// Requests in so many milliseconds.
    pub rate: Option<(u64, u64)>,
    pub retries: u32,
    pub breaker: BreakerConfig,
    pub max_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// In a row.
    pub failures: u32,
    pub open_for_ms: u64,
}

/// A system's secrets, fetched.
#[derive(Debug)]
pub struct SystemSecrets {
    pub sent: Sent<Secret>,
    /// PEM.
    pub ca: Option<Secret>,
}

impl Default for SystemLimits {
    fn default() -> Self {
        Self {
            timeout_ms: 2000,
            concurrency: 8,
            rate: None,
            retries: 2,
            breaker: BreakerConfig { failures: 5, open_for_ms: 30_000 },
            max_bytes: 1024 * 1024,
        }
    }
}

pub(super) fn systems(node: &Node, problems: &mut Problems) -> Vec<SystemConfig> {
    let mut found = Vec::new();
    let Some(mut fields) = Fields::of(node, "`services`", problems) else { return found };
    for (name, node) in fields.rest() {
        let word = name.text().unwrap_or_default();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if word.is_empty() || word.len() > 64 || !word.chars().all(allowed) {
            problems.add(&name.at, "a service's name must be small letters, digits, `-` or `_`");
            continue;
        }
        found.extend(system(word, &name.at, node, problems));
    }
    found
}

fn system(name: &str, at: &At, node: &Node, problems: &mut Problems) -> Option<SystemConfig> {
    let mut fields = Fields::of(node, &format!("`{name}`"), problems)?;
    let listed = networks(&mut fields, problems);
    let url_node = fields.require("url", problems);
    let url = url_node.and_then(|node| url(node, listed, problems));
    let headers = fields.get("headers").map(|node| headers(node, problems));
    let login = login(&mut fields, problems);
    let ca = fields.text("ca", problems).map(|path| SecretFrom::File(path.to_owned()));
    let ca_at = fields.get("ca").map(|node| node.at.clone());
    let limits = fields.get("limits").map(|node| limits(node, problems));
    fields.finish(problems);
    let (url, reach) = url?;
    Some(SystemConfig {
        name: name.to_owned(),
        at: at.clone(),
        url,
        reach,
        sent: Sent { headers: headers.unwrap_or_default(), login: login? },
        ca: ca.zip(ca_at).map(|(from, at)| SecretAt { from, at }),
        limits: limits.unwrap_or_default(),
    })
}

fn networks(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<IpNet> {
    let mut listed = Vec::new();
    for (text, at) in fields.texts("allow", problems) {
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match network {
            Some(network) => listed.push(network.trunc()),
            None => problems.add(at, "`allow` lists addresses and networks like 10.0.0.0/8"),
        }
    }
    listed
}

/// A host that some reader could take for a number is no name: it would pass by the check of
/// addresses.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(allowed)
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253
        && host.split('.').all(is_label)
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Scheme, host, and the whole without a slash at its end.
fn url(node: &Node, listed: Vec<IpNet>, problems: &mut Problems) -> Option<(String, Reach)> {
    let text = node.text().unwrap_or_default().trim_end_matches('/');
    let (only_listed, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => {
            problems.add(&node.at, "`url` must begin with https:// (or http://)");
            return None;
        }
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, "443"),
    };
    let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6),
        None => host.parse::<IpAddr>().ok().filter(IpAddr::is_ipv4),
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let is_path =
        path.chars().all(allowed) && !path.split('/').any(|part| part == "." || part == "..");
    if !is_port || !(address.is_some() || is_host(host)) || !is_path {
        problems.add(&node.at, "`url` must be like https://vault.example.com:8200/prefix");
        return None;
    }
    let reach = Reach { listed, only_listed };
    if only_listed && reach.listed.is_empty() {
        let help =
            "http:// is only for addresses that `allow` lists: what is sent can be read on the way";
        problems.add(&node.at, help);
    } else if address.is_some_and(|address| !reach.permits(address)) {
        problems.add(&node.at, "the address is not a public one and `allow` does not list it");
    }
    Some((text.to_owned(), reach))
}

/// Secrets have such names; anything else may stand in the file.
fn must_be_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "token", "key", "secret", "passw", "cookie"].iter().any(|part| name.contains(part))
}

fn headers(node: &Node, problems: &mut Problems) -> Vec<(String, Shown<SecretAt>)> {
    let mut found = Vec::new();
    let Some(mut fields) = Fields::of(node, "`headers`", problems) else { return found };
    for (name, value) in fields.rest() {
        let word = name.text().unwrap_or_default();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if word.is_empty() || word.len() > 64 || !word.bytes().all(allowed) {
            problems.add(&name.at, "a header's name must be letters, digits, `-` or `_`");
            continue;
        }
        let shown = match &value.data {
            Data::Text(text) if !must_be_secret(word) => {
                let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                if !is_plain {
                    problems.add(&value.at, "a header's value must be plain ASCII");
                }
                Some(Shown::Plain(text.clone()))
            }
            _ => secret_at(value, word, problems).map(Shown::Secret),
        };
        found.extend(shown.map(|shown| (word.to_owned(), shown)));
    }
    found
}

fn secret_at(node: &Node, what: &str, problems: &mut Problems) -> Option<SecretAt> {
    let from = secret_from(node, what, problems)?;
    Some(SecretAt { from, at: node.at.clone() })
}

/// How a service is shown who asks it.
const LOGINS: [&str; 4] = ["bearer", "basic", "aws", "webhook_secret"];

fn login(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Login<SecretAt>> {
    let found = LOGINS.iter().filter_map(|kind| Some((*kind, fields.get(kind)?)));
    match found.collect::<Vec<_>>().as_slice() {
        [] => Some(Login::None),
        [("bearer", node)] => secret_at(node, "bearer", problems).map(Login::Bearer),
        [("basic", node)] => self::basic(node, problems),
        [("aws", node)] => aws_keys(node, problems).map(Login::Aws),
        [(kind, node)] => secret_at(node, kind, problems).map(Login::Signed),
        _ => {
            problems.add(&fields.at, format!("a service has one of {}", LOGINS.join(", ")));
            None
        }
    }
}

fn basic(node: &Node, problems: &mut Problems) -> Option<Login<SecretAt>> {
    let mut fields = Fields::of(node, "`basic`", problems)?;
    let user = fields.require_text("user", problems).map(str::to_owned);
    let password = fields.require("password", problems);
    let password = password.and_then(|node| secret_at(node, "password", problems));
    if user.as_ref().is_some_and(|user| user.contains(':')) {
        problems.add(&fields.at, "`user` must not hold a `:`");
    }
    fields.finish(problems);
    Some(Login::Basic { user: user?, password: password? })
}

fn aws_keys(node: &Node, problems: &mut Problems) -> Option<AwsKeys<SecretAt>> {
    let mut fields = Fields::of(node, "`aws`", problems)?;
    let region = fields.require_text("region", problems).map(str::to_owned);
    let service = fields.require_text("service", problems).map(str::to_owned);
    let mut secret = |key: &'static str, problems: &mut Problems| {
        let node = fields.require(key, problems)?;
        secret_at(node, key, problems)
    };
    let access_key_id = secret("access_key_id", problems);
    let secret_access_key = secret("secret_access_key", problems);
    let session_token = fields.get("session_token");
    let session_token = session_token.map(|node| secret_at(node, "session_token", problems));
    fields.finish(problems);
    Some(AwsKeys {
        region: region?,
        service: service?,
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token: match session_token {
            None => None,
            Some(token) => Some(token?),
        },
    })
}

fn limits(node: &Node, problems: &mut Problems) -> SystemLimits {
    let mut limits = SystemLimits::default();
    let Some(mut fields) = Fields::of(node, "`limits`", problems) else { return limits };
    let set = |slot: &mut u64, value: Option<i64>| {
        *slot = value.and_then(|value| u64::try_from(value).ok()).unwrap_or(*slot);
    };
    set(&mut limits.timeout_ms, duration(&mut fields, "timeout", (1, 30_000), problems));
    let concurrency = number(&mut fields, "concurrency", (1, 1024), problems);
    limits.concurrency = concurrency.unwrap_or(limits.concurrency);
    limits.rate = fields.get("rate").and_then(|node| rate(node, problems));
    limits.retries = number(&mut fields, "retries", (0, 5), problems).unwrap_or(limits.retries);
    if let Some(node) = fields.get("breaker")
        && let Some(mut breaker) = Fields::of(node, "`breaker`", problems)
    {
        let failures = number(&mut breaker, "failures", (1, 1000), problems);
        limits.breaker.failures = failures.unwrap_or(limits.breaker.failures);
        let open_for = duration(&mut breaker, "open_for", (100, 600_000), problems);
        set(&mut limits.breaker.open_for_ms, open_for);
        breaker.finish(problems);
    }
    let max_bytes = bytes(&mut fields, "max_bytes", (1024, 16 * 1024 * 1024), problems);
    limits.max_bytes = max_bytes.unwrap_or(limits.max_bytes);
    fields.finish(problems);
    limits
}

/// `50/s`, `600/m` or `5000/h`.
fn rate(node: &Node, problems: &mut Problems) -> Option<(u64, u64)> {
    let units = [("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let read = node.text().and_then(|text| {
        let (count, unit) = text.split_once('/')?;
        let (_, every) = units.iter().find(|(name, _)| *name == unit)?;
        let count = count.parse::<u64>().ok().filter(|count| (1..=100_000).contains(count))?;
        Some((count, *every))
    });
    if read.is_none() {
        problems.add(&node.at, "`rate` must be a number of requests like 50/s, 600/m or 5000/h");
    }
    read
}

impl SystemConfig {
    /// Where it is and as whom it is asked, without a secret.
    pub fn identity(&self) -> String {
        let headers = self.sent.headers.iter().map(|(name, shown)| match shown {
            Shown::Plain(text) => format!("{name}: {text}"),
            Shown::Secret(kept) => format!("{name} from {}", kept.from),
        });
        let login = match &self.sent.login {
            Login::None => String::new(),
            Login::Bearer(token) => format!("bearer from {}", token.from),
            Login::Basic { user, password } => format!("basic {user} from {}", password.from),
            Login::Aws(keys) => {
                format!("aws {} {} from {}", keys.region, keys.service, keys.access_key_id.from)
            }
            Login::Signed(secret) => format!("signed with {}", secret.from),
        };
        let all = std::iter::once(self.url.clone()).chain(headers).chain([login]);
        all.collect::<Vec<_>>().join("\n")
    }

    /// Errors: adds each secret that cannot be read, at the place that names it.
    pub(super) fn secrets(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> Option<SystemSecrets> {
        let before = problems.len();
        let mut headers = Vec::new();
        for (name, shown) in &self.sent.headers {
            let shown = match shown {
                Shown::Plain(text) => Some(Shown::Plain(text.clone())),
                Shown::Secret(kept) => kept.header(read, problems).map(Shown::Secret),
            };
            headers.extend(shown.map(|shown| (name.clone(), shown)));
        }
        let login = self.login(read, problems);
        let ca = self.ca.as_ref().map(|ca| ca.fetch(read, problems));
        let login = login.filter(|_| problems.len() == before)?;
        Some(SystemSecrets { sent: Sent { headers, login }, ca: ca.flatten() })
    }

    fn login(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> Option<Login<Secret>> {
        Some(match &self.sent.login {
            Login::None => Login::None,
            Login::Bearer(token) => Login::Bearer(token.header(read, problems)?),
            Login::Basic { user, password } => {
                Login::Basic { user: user.clone(), password: password.fetch(read, problems)? }
            }
            Login::Signed(kept) => {
                let text = kept.fetch(read, problems)?;
                let secret = signing_secret(text.expose_text().unwrap_or_default().to_owned());
                let told = |why| problems.add(&kept.at, format!("{} {why}", kept.from));
                Login::Signed(secret.map_err(told).ok()?)
            }
            Login::Aws(keys) => {
                let access_key_id = keys.access_key_id.header(read, problems);
                let secret_access_key = keys.secret_access_key.header(read, problems);
                let token = keys.session_token.as_ref().map(|token| token.header(read, problems));
                Login::Aws(AwsKeys {
                    region: keys.region.clone(),
                    service: keys.service.clone(),
                    access_key_id: access_key_id?,
                    secret_access_key: secret_access_key?,
                    session_token: token.flatten(),
                })
            }
        })
    }
}

impl SecretAt {
    fn fetch(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> Option<Secret> {
        let text = fetch(&self.from, &self.at, read, problems)?;
        Some(Secret::new(text.into_bytes()))
    }

    /// What stands in a header: one line of what may be sent there.
    fn header(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> Option<Secret> {
        let secret = self.fetch(read, problems)?;
        let is_plain = secret.expose().iter().all(|byte| (b' '..=b'~').contains(byte));
        if !is_plain {
            let help = format!("{} must be one line of plain ASCII", self.from);
            problems.add(&self.at, help);
        }
        is_plain.then_some(secret)
    }
}

/// By the name of the system.
pub type AllSystemSecrets = BTreeMap<String, SystemSecrets>;
