use std::collections::BTreeMap;
use std::fmt;

use super::service::{FingerprintConfig, Property, ServiceConfig};
use super::systems::AllSystemSecrets;
use crate::case::from_hex;
use crate::normalize::FingerprintKeys;
use crate::text::{At, Data, Fields, Node, Problems};

/// A secret's value. Nothing shows it but [`Secret::expose`], so each place that does can be found.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    pub fn new(value: impl Into<Box<[u8]>>) -> Self {
        Self(value.into())
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a secret is kept: the only way in which a file may speak of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFrom {
    Env(String),
    /// From the directory of the file that names it.
    File(String),
}

impl fmt::Display for SecretFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{path}`"),
        }
    }
}

/// What the service needs to know and no file may hold.
#[derive(Debug)]
pub struct ResolvedSecrets {
    /// Every client property, plain ones too, ready for the Kafka client.
    pub kafka: BTreeMap<String, Secret>,
    pub fingerprints: FingerprintKeys,
    /// Of each pipeline that has a webhook; any of them is right.
    pub webhooks: BTreeMap<String, Vec<Secret>>,
    /// Headers that go with exported spans.
    pub traces: BTreeMap<String, Secret>,
}

/// Shorter keys could be guessed, and with them the secrets behind the fingerprints.
const KEY_BYTES_MIN: usize = 32;

/// `{env: NAME}` or `{file: path}`; anything else is refused without being quoted.
pub(super) fn secret_from(node: &Node, what: &str, problems: &mut Problems) -> Option<SecretFrom> {
    if !matches!(node.data, Data::Map(_)) {
        let help = format!("`{what}` is a secret: write `{{env: NAME}}` or `{{file: path}}`");
        problems.add(&node.at, help);
        return None;
    }
    let mut fields = Fields::of(node, what, problems)?;
    let env = fields.text("env", problems).map(|name| SecretFrom::Env(name.to_owned()));
    let file = fields.text("file", problems).map(|path| SecretFrom::File(path.to_owned()));
    fields.finish(problems);
    if env.is_some() == file.is_some() {
        problems.add(&node.at, format!("`{what}` needs either `env` or `file`"));
        return None;
    }
    env.or(file)
}

impl ServiceConfig {
    /// Fetches every secret through `read`, which gives its text or says why it cannot.
    pub fn resolve(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> Option<ResolvedSecrets> {
        let mut kafka = BTreeMap::new();
        let mut complete = true;
        for (name, at, property) in &self.kafka {
            let value = match property {
                Property::Plain(text) => Some(text.clone()),
                Property::Secret(from) => fetch(from, at, read, problems),
            };
            complete &= value.is_some();
            kafka.extend(value.map(|text| (name.clone(), Secret::new(text.into_bytes()))));
        }
        let active = key(&self.fingerprint, read, problems);
        let previous = self.previous.as_ref().map(|config| key(config, read, problems));
        complete &= !matches!(previous, Some(None));
        let previous = self.previous.as_ref().zip(previous.flatten());
        let previous = previous.as_ref().map(|(config, key)| (config.id.as_str(), key.expose()));
        let keys = FingerprintKeys::new((&self.fingerprint.id, active?.expose()), previous);
        let fingerprints =
            keys.map_err(|error| problems.add(&self.fingerprint.at, error.to_string())).ok()?;
        let webhooks = self.webhooks.as_ref().map(|config| config.secrets(read, problems));
        let webhooks = webhooks.unwrap_or_else(|| Some(BTreeMap::new()));
        let traces = self.traces.as_ref().map(|config| config.secrets(read, problems));
        let traces = traces.unwrap_or_else(|| Some(BTreeMap::new()));
        let (webhooks, traces) = (webhooks?, traces?);
        complete.then_some(ResolvedSecrets { kafka, fingerprints, webhooks, traces })
    }
}

impl ServiceConfig {
    /// Fetches what the systems that facts are asked of are shown, in the same way.
    pub fn resolve_services(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> AllSystemSecrets {
        let systems = self.services.iter();
        systems
            .filter_map(|system| Some((system.name.clone(), system.secrets(read, problems)?)))
            .collect()
    }
}

pub(super) fn fetch(
    from: &SecretFrom,
    at: &At,
    read: &dyn Fn(&SecretFrom) -> Result<String, String>,
    problems: &mut Problems,
) -> Option<String> {
    let read = read(from).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    match read {
        Ok(text) if !text.is_empty() => return Some(text),
        Ok(_) => problems.add(at, format!("{from} is empty")),
        Err(why) => problems.add(at, format!("{from} cannot be read: {why}")),
    }
    None
}

fn key(
    config: &FingerprintConfig,
    read: &dyn Fn(&SecretFrom) -> Result<String, String>,
    problems: &mut Problems,
) -> Option<Secret> {
    let text = fetch(&config.key, &config.at, read, problems)?;
    // However long: 32 digits are 16 bytes.
    let bytes = from_hex(&text).unwrap_or_else(|| text.into_bytes());
    if bytes.len() < KEY_BYTES_MIN {
        let from = &config.key;
        let help = format!(
            "the key in {from} is too short: it needs {KEY_BYTES_MIN} bytes, or 64 hexadecimal digits"
        );
        problems.add(&config.at, help);
        return None;
    }
    Some(Secret::new(bytes))
}
