//! Whose SSH signatures count: an `allowed_signers` file, read as git reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use ssh_key::{HashAlg, LineEnding, PublicKey, SshSig};

use crate::audit::Signer;
use crate::case::{Millis, Refusal};
use crate::text::{At, Problem, Problems, Source};

/// `ssh-keygen -Y sign -n tipstaff`: a signature made for anything else does not count.
pub(super) const NAMESPACE: &str = "tipstaff";
/// Far more than a list of people needs.
const PEOPLE_BYTES_MAX: u64 = 1024 * 1024;

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

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSigned {
    pub code: Refusal,
    pub why: String,
}

impl fmt::Display for NotSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl AllowedSigners {
    /// Errors: every problem of the file, which is then not taken at all.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let source = read_small(path, PEOPLE_BYTES_MAX).map_err(|problem| vec![problem])?;
        let mut problems = Problems::default();
        let allowed = Self::read(&source, &mut problems);
        if problems.is_empty() { Ok(allowed) } else { Err(problems.into_sorted()) }
    }

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

    /// Whose public key this is.
    pub fn person(&self, public: &str) -> Option<&str> {
        let key = PublicKey::from_openssh(public).ok()?;
        let mut lines = self.lines.iter();
        let found = lines.find(|allowed| allowed.key.key_data() == key.key_data());
        found.map(|allowed| allowed.person.as_str())
    }

    /// Who made this signature over the statement.
    ///
    /// Errors: why it does not count.
    pub fn signer(
        &self,
        statement: &str,
        signature: &str,
        now: Millis,
    ) -> Result<Signer<'static>, NotSigned> {
        let not = |code, why| NotSigned { code, why };
        let bad = |why| not(Refusal::BadSignature, why);
        let no_signature = |error| bad(format!("is no signature of ssh-keygen: {error}"));
        let signed = SshSig::from_pem(signature.trim_end()).map_err(no_signature)?;
        let print = signed.public_key().fingerprint(HashAlg::Sha256).to_string();
        if signed.namespace() != NAMESPACE {
            let found = signed.namespace();
            return Err(bad(format!("is for namespace `{found}`: sign with `-n {NAMESPACE}`")));
        }
        let mut lines = self.lines.iter().filter(|each| each.key.key_data() == signed.public_key());
        let why = format!("is by key {print}, which no allowed signer has");
        let mut why = not(Refusal::UnknownSigner, why);
        let found = lines.find(|allowed| match allowed.refuses(now) {
            Some(reason) => {
                let reason = format!("is by {} with key {print}, which {reason}", allowed.person);
                why = not(Refusal::KeyNotValidThen, reason);
                false
            }
            None => true,
        });
        let allowed = found.ok_or(why)?;
        let person = &allowed.person;
        allowed.key.verify(NAMESPACE, statement.as_bytes(), &signed).map_err(|_| {
            bad(format!("is by {person}, and not over this text: another was signed"))
        })?;
        // Written again, so that nothing gets on record that was not verified.
        let signature = signed.to_pem(LineEnding::LF).map_err(no_signature)?;
        Ok(Signer {
            person: Cow::Owned(person.clone()),
            key: Cow::Owned(print),
            signature: Cow::Owned(signature.trim_end().to_owned()),
        })
    }
}

/// Whether a signature on record is over this statement and by the key that the record names,
/// whoever that is.
///
/// Errors: why it is not.
pub fn check_signature(signer: &Signer<'_>, statement: &str) -> Result<(), String> {
    let signed = SshSig::from_pem(&*signer.signature);
    let signed = signed.map_err(|error| format!("is no signature of ssh-keygen: {error}"))?;
    let print = signed.public_key().fingerprint(HashAlg::Sha256).to_string();
    if print != signer.key {
        return Err(format!("is by key {print}, and the record names {}", signer.key));
    }
    let key = PublicKey::from(signed.public_key().clone());
    let verified = key.verify(NAMESPACE, statement.as_bytes(), &signed);
    verified.map_err(|_| format!("is not by {} over this statement", signer.person))
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

/// A file that a person wrote by hand or by `ssh-keygen`.
pub(crate) fn read_small(path: &Path, bytes_max: u64) -> Result<Source, Problem> {
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
