//! Who signed the policy: SSH signatures beside the configuration, checked as git checks them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use ssh_key::{HashAlg, LineEnding, PublicKey, SshSig};
use tracing::warn;

use crate::audit::Signer;
use crate::case::Millis;
use crate::config::{Checked, SigningConfig};
use crate::text::{At, Problem, Problems, Source};

/// `ssh-keygen -Y sign -n tipstaff`: a signature made for anything else does not count.
const NAMESPACE: &str = "tipstaff";
/// Far more than a list of people needs.
const PEOPLE_BYTES_MAX: u64 = 1024 * 1024;
/// A signature takes less than 1 KiB.
const SIGNATURE_BYTES_MAX: u64 = 16 * 1024;

/// The people of an `allowed_signers` file.
#[derive(Debug, Default)]
pub struct AllowedSigners {
    lines: Vec<Allowed>,
}

#[derive(Debug)]
struct Allowed {
    person: String,
    key: PublicKey,
    for_us: bool,
    after: Option<Millis>,
    before: Option<Millis>,
    at: At,
}

impl AllowedSigners {
    /// Each line: a person, or several names of one with commas between, then options and the key.
    ///
    /// Errors: every line that can't be taken is a problem at its place.
    pub fn read(source: &Source, problems: &mut Problems) -> Self {
        let mut signers = Self::default();
        // By every name of a person, the first of them.
        let mut people: BTreeMap<String, String> = BTreeMap::new();
        for (number, line) in (1..).zip(source.text.lines()) {
            let text = line.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let at = At { path: source.path.clone(), line: number, column: 1 };
            match allowed(text, &at) {
                Ok((names, allowed)) => signers.add((names, allowed), &mut people, problems),
                Err(why) => problems.add(&at, why),
            }
        }
        signers
    }

    fn add(
        &mut self,
        (names, mut allowed): (Vec<String>, Allowed),
        people: &mut BTreeMap<String, String>,
        problems: &mut Problems,
    ) {
        let known: Vec<&String> = names.iter().filter_map(|name| people.get(name)).collect();
        let first = known.first().map_or(&allowed.person, |first| *first).clone();
        if known.iter().any(|each| **each != first) {
            let message = "these names are of different people in the lines before";
            return problems.add(&allowed.at, message);
        }
        people.extend(names.into_iter().map(|name| (name, first.clone())));
        allowed.person = first;
        let is_shared = |other: &Allowed| {
            other.key.key_data() == allowed.key.key_data() && other.person != allowed.person
        };
        if let Some(other) = self.lines.iter().find(|other| is_shared(other)) {
            let message = format!(
                "the same key is `{}`'s in line {}: a key is one person's",
                other.person, other.at.line
            );
            return problems.add(&allowed.at, message);
        }
        self.lines.push(allowed);
    }

    /// Who made this signature over the statement.
    ///
    /// Errors: why it does not count.
    pub fn signer(
        &self,
        statement: &str,
        signature: &str,
        now: Millis,
    ) -> Result<Signer<'static>, String> {
        let no_signature = |error| format!("is no signature of ssh-keygen: {error}");
        let signed = SshSig::from_pem(signature.trim_end()).map_err(no_signature)?;
        let print = signed.public_key().fingerprint(HashAlg::Sha256).to_string();
        if signed.namespace() != NAMESPACE {
            let found = signed.namespace();
            return Err(format!("is for namespace `{found}`: sign with `-n {NAMESPACE}`"));
        }
        let mut lines = self.lines.iter().filter(|each| each.key.key_data() == signed.public_key());
        let mut why = format!("is by key {print}, which no allowed signer has");
        let found = lines.find(|allowed| match allowed.refuses(now) {
            Some(reason) => {
                why = format!("is by {} with key {print}, which {reason}", allowed.person);
                false
            }
            None => true,
        });
        let allowed = found.ok_or(why)?;
        let person = &allowed.person;
        allowed
            .key
            .verify(NAMESPACE, statement.as_bytes(), &signed)
            .map_err(|_| format!("is by {person}, and not over this policy: another was signed"))?;
        // Written again, so that nothing gets on record that was not verified.
        let signature = signed.to_pem(LineEnding::LF).map_err(no_signature)?;
        Ok(Signer {
            person: Cow::Owned(person.clone()),
            key: Cow::Owned(print),
            signature: Cow::Owned(signature.trim_end().to_owned()),
        })
    }
}

impl Allowed {
    fn refuses(&self, now: Millis) -> Option<String> {
        if !self.for_us {
            return Some(format!("is not allowed for namespace `{NAMESPACE}`"));
        }
        if let Some(after) = self.after.filter(|after| now < *after) {
            return Some(format!("is valid only after {after}"));
        }
        let before = self.before.filter(|before| now >= *before)?;
        Some(format!("was valid only before {before}"))
    }
}

/// One line of the file, with every name that it gives its person.
fn allowed(line: &str, at: &At) -> Result<(Vec<String>, Allowed), String> {
    let (names, rest) = line
        .split_once([' ', '\t'])
        .ok_or("a line is a person, then options, then a key: `dana@example.com ssh-ed25519 …`")?;
    let names: Vec<String> = names.split(',').map(str::to_owned).collect();
    let is_name = |name: &String| {
        !name.is_empty() && !name.chars().any(|c| "*?!\"".contains(c) || c.is_control())
    };
    if !names.iter().all(is_name) {
        return Err("a person is named in full here, without patterns".to_owned());
    }
    let person = names.first().cloned().unwrap_or_default();
    let (options, key) = options_of(rest.trim());
    let key =
        PublicKey::from_openssh(key).map_err(|error| format!("no key can be read: {error}"))?;
    let algorithm = key.algorithm();
    let is_taken = matches!(
        algorithm,
        ssh_key::Algorithm::Ed25519
            | ssh_key::Algorithm::SkEd25519
            | ssh_key::Algorithm::SkEcdsaSha2NistP256
            | ssh_key::Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP256 }
    );
    if !is_taken {
        return Err(format!(
            "keys of type {algorithm} are not taken: use ed25519 or ecdsa-sha2-nistp256, in a file or in a security key"
        ));
    }
    let Limits { for_us, after, before } = limits(options)?;
    Ok((names, Allowed { person, key, for_us, after, before, at: at.clone() }))
}

struct Limits {
    for_us: bool,
    after: Option<Millis>,
    before: Option<Millis>,
}

/// `name="value"`, with commas between. Nothing is taken that OpenSSH would understand otherwise:
/// there a pattern with `!` forbids what the others of its list allow.
fn limits(options: &str) -> Result<Limits, String> {
    let (mut namespaces, mut after, mut before) = (None, None, None);
    let mut rest = Some(options).filter(|options| !options.is_empty());
    while let Some(text) = rest {
        if text.split(',').next().is_some_and(|flag| flag.eq_ignore_ascii_case("cert-authority")) {
            return Err("certificates are not taken: name the key itself".to_owned());
        }
        let broken = || format!("an option is written `name=\"value\"`, and this is not: `{text}`");
        let (name, quoted) = text.split_once("=\"").ok_or_else(broken)?;
        let (value, more) = quoted.split_once('"').ok_or_else(broken)?;
        rest = match more.strip_prefix(',') {
            None if more.is_empty() => None,
            next => Some(next.ok_or_else(broken)?),
        };
        let slot = match name.to_ascii_lowercase().as_str() {
            "namespaces" => &mut namespaces,
            "valid-after" => &mut after,
            "valid-before" => &mut before,
            other => return Err(format!("unknown option `{other}`")),
        };
        if slot.replace(value).is_some() {
            return Err(format!("`{name}` stands here twice"));
        }
    }
    if namespaces.is_some_and(|value: &str| value.contains(['*', '?', '!', '\\'])) {
        return Err("a namespace is named in full here, without patterns; without `namespaces` \
             a key may sign for all of them"
            .to_owned());
    }
    let for_us = namespaces.is_none_or(|value| value.split(',').any(|each| each == NAMESPACE));
    let (after, before) = (after.map(time).transpose()?, before.map(time).transpose()?);
    if after.zip(before).is_some_and(|(after, before)| before <= after) {
        return Err("`valid-before` is not after `valid-after`".to_owned());
    }
    Ok(Limits { for_us, after, before })
}

/// What stands in front of the key's type, up to a space that is not in quotes.
fn options_of(text: &str) -> (&str, &str) {
    if ["ssh-", "sk-", "ecdsa-"].iter().any(|kind| text.starts_with(kind)) {
        return ("", text);
    }
    let mut is_quoted = false;
    let end = text.find(|c: char| {
        is_quoted ^= c == '"';
        !is_quoted && (c == ' ' || c == '\t')
    });
    let (options, key) = text.split_at(end.unwrap_or(text.len()));
    (options, key.trim_start())
}

/// `YYYYMMDD[HHMM[SS]][Z]`; always in UTC, since a service has no time zone to speak of.
fn time(text: &str) -> Result<Millis, String> {
    let digits = text.strip_suffix('Z').unwrap_or(text);
    let is_time = matches!(digits.len(), 8 | 12 | 14) && digits.bytes().all(|b| b.is_ascii_digit());
    let padded = format!("{digits:0<14}");
    let part = |range: std::ops::Range<usize>| padded.get(range).unwrap_or_default();
    let written = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        part(10..12),
        part(12..14)
    );
    let read = Millis::parse(&written).filter(|_| is_time);
    read.ok_or_else(|| format!("`{text}` is no time such as 20260131 or 202601310900Z"))
}

/// Who signed this configuration's policy, each person once.
///
/// Errors: fewer people than are required, with what is wrong with each signature that is there.
pub(super) fn signers(
    checked: &Checked,
    config: Option<&SigningConfig>,
    directory: &Path,
    now: Millis,
) -> Result<Vec<Signer<'static>>, Vec<Problem>> {
    let Some(config) = config else { return Ok(Vec::new()) };
    let mut problems = Problems::default();
    let allowed = read(&directory.join(&config.allowed_signers), PEOPLE_BYTES_MAX)
        .map(|source| AllowedSigners::read(&source, &mut problems));
    let allowed = match allowed {
        Ok(allowed) if problems.is_empty() => allowed,
        Ok(_) => return Err(problems.into_sorted()),
        Err(problem) => return Err(vec![problem]),
    };
    let statement = checked.statement();
    let mut signers: BTreeMap<String, Signer<'static>> = BTreeMap::new();
    for path in signature_files(config, directory) {
        let at = At { path: path.display().to_string().into(), line: 1, column: 1 };
        let signer = read(&path, SIGNATURE_BYTES_MAX).map_err(|problem| problem.message);
        match signer.and_then(|source| allowed.signer(&statement, &source.text, now)) {
            Ok(signer) => drop(signers.entry(signer.person.to_string()).or_insert(signer)),
            Err(why) => problems.add(&at, format!("does not count: it {why}")),
        }
    }
    if signers.len() < config.required {
        let people: Vec<&str> = signers.keys().map(String::as_str).collect();
        let people = if people.is_empty() { "nobody".to_owned() } else { people.join(", ") };
        let message = format!(
            "policy {} must be signed by {} of the allowed signers, and is by {people}: \
             `tipstaff policy bundle` prints what to sign",
            checked.policy_hash, config.required
        );
        problems.add(&config.at, message);
        return Err(problems.into_sorted());
    }
    for problem in problems.into_sorted() {
        warn!("{problem}");
    }
    Ok(signers.into_values().collect())
}

/// What [`signers`] reads, in order.
pub(super) fn signature_files(config: &SigningConfig, directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join(&config.signatures)).into_iter().flatten().flatten();
    let is_signature = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sig");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_signature).collect();
    paths.sort();
    paths
}

fn read(path: &Path, bytes_max: u64) -> Result<Source, Problem> {
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text));
    let why = match file {
        Ok(_) if text.len() as u64 > bytes_max => Some(ErrorKind::FileTooLarge),
        Ok(_) => None,
        Err(error) => Some(error.kind()),
    };
    let name = path.display().to_string();
    let at = At { path: name.as_str().into(), line: 1, column: 1 };
    match why {
        Some(why) => Err(Problem::new(at, format!("cannot be read: {why}"))),
        None => Ok(Source::new(name, text)),
    }
}
