use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Id, Millis};

/// First in every order. A policy's statement begins with other words and is no JSON, so a
/// signature over one can never be shown as a signature over the other.
pub const STATEMENT: &str = "tipstaff order";
pub const STATEMENT_BYTES_MAX: usize = 8 * 1024;
/// LIMIT: how long an order may be valid, which bounds how long used ids are remembered.
pub const VALID_MS_MAX: i64 = 24 * 3_600_000;
const TEXT_BYTES_MAX: usize = 2000;
const NAME_BYTES_MAX: usize = 200;
const EVIDENCE_MAX: usize = 20;
const LINKS_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Ack,
    Assign,
    Release,
    Reopen,
    Close,
    Except,
    Stop,
    Resume,
}

impl Verb {
    pub const ALL: [Self; 8] = [
        Self::Ack,
        Self::Assign,
        Self::Release,
        Self::Reopen,
        Self::Close,
        Self::Except,
        Self::Stop,
        Self::Resume,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Assign => "assign",
            Self::Release => "release",
            Self::Reopen => "reopen",
            Self::Close => "close",
            Self::Except => "except",
            Self::Stop => "stop",
            Self::Resume => "resume",
        }
    }

    /// Not about one case: it travels on the control topic, and every chain judges it.
    pub fn concerns_everything(self) -> bool {
        matches!(self, Self::Stop | Self::Resume)
    }
}

/// What a person orders, as it is signed. Its bytes are exactly what is written from it: these
/// fields in this order, without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Always [`STATEMENT`].
    pub statement: String,
    pub v: u32,
    pub order: Verb,
    /// Random, and good for one order alone.
    pub id: String,
    /// The deployment that it is for, `<cluster id>/<decisions topic>`: with the same people there
    /// may be others.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<String>,
    /// Nothing where it concerns everything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<Subject>,
    pub issued_at: Millis,
    pub expires_at: Millis,
    /// Who orders it; one of the signatures is this person's.
    pub by: String,
    /// Of an `ack` that came through a sink: then what took it there signs in the person's place.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub via: Option<Box<Via>>,
    /// Of `assign`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub close: Option<Closing>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub except: Option<Excepting>,
    /// Of `stop` and `resume`, in the person's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// Of `resume`: the order that it ends. Nothing where what nobody has read is stopped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ends: Option<String>,
}

/// Who asked, in a sink's own words, and by what that is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Via {
    pub sink: String,
    /// As the sink calls its user.
    pub user: String,
    /// The secret that proved the sink, as the configuration names it.
    pub secret: String,
    /// Of the case, as the user saw it.
    pub revision: u32,
}

/// The one case that an order is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    pub case_id: Id,
    pub nhi: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<String>,
}

/// What people find, and nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    TruePositive,
    Benign,
    FalsePositive,
    AcceptedRisk,
    Duplicate,
}

impl Judgement {
    pub const ALL: [Self; 5] = [
        Self::TruePositive,
        Self::Benign,
        Self::FalsePositive,
        Self::AcceptedRisk,
        Self::Duplicate,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::Benign => "benign",
            Self::FalsePositive => "false_positive",
            Self::AcceptedRisk => "accepted_risk",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A closing: the risk is gone, the finding is gone, or, without a part, both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Risk,
    Finding,
}

impl Part {
    pub const ALL: [Self; 2] = [Self::Risk, Self::Finding];

    pub fn name(self) -> &'static str {
        match self {
            Self::Risk => "risk",
            Self::Finding => "finding",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    pub verdict: Judgement,
    /// A code of the people's own.
    pub reason: String,
    pub evidence: Vec<String>,
    /// The case that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub part: Option<Part>,
    /// What a playbook's requirements ask for by name, such as the new credential's id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub links: BTreeMap<String, String>,
}

/// An accepted risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excepting {
    pub rationale: String,
    pub compensating_control: String,
    /// People other than the one who asks.
    pub approvers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Millis>,
    /// In place of an end: when it must be approved again, which ends it, too.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub review_at: Option<Millis>,
    /// Without an approver, for a short time, and looked at afterwards.
    pub emergency: bool,
}

impl Excepting {
    pub fn ends_at(&self) -> Option<Millis> {
        self.until.or(self.review_at)
    }
}

impl Statement {
    /// Errors: why these are not the bytes of an order.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        if text.len() > STATEMENT_BYTES_MAX {
            return Err("it is longer than 8 KiB");
        }
        let read: Self = serde_json::from_str(text).map_err(|_| "its fields are not an order's")?;
        if read.statement != STATEMENT || read.v != 1 {
            return Err("it is no `tipstaff order` of version 1");
        }
        if read.to_string() != text {
            return Err("its fields are not written as this program writes them");
        }
        read.check()?;
        Ok(read)
    }

    /// What people put into words of their own.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let close = self.close.iter().flat_map(|it| {
            it.evidence.iter().chain(it.links.iter().flat_map(|(name, text)| [name, text]))
        });
        let except = self.except.iter().flat_map(|it| [&it.rationale, &it.compensating_control]);
        close.chain(except).chain(&self.why).map(String::as_str)
    }

    fn check(&self) -> Result<(), &'static str> {
        let parts = [
            (Verb::Assign, self.to.is_some()),
            (Verb::Close, self.close.is_some()),
            (Verb::Except, self.except.is_some()),
        ];
        let for_all = self.order.concerns_everything();
        let is_mixed = parts.iter().any(|(verb, is_there)| (*verb == self.order) != *is_there);
        if is_mixed || self.subject.is_none() != for_all || self.why.is_some() != for_all {
            return Err("it has the parts of another order");
        }
        if self.ends.is_some() && self.order != Verb::Resume {
            return Err("only a `resume` ends a `stop`");
        }
        if self.via.is_some() && self.order != Verb::Ack {
            return Err("through a sink comes nothing but an `ack`");
        }
        if self.id.len() != 32 || !self.id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("its id is not 32 hexadecimal digits");
        }
        let subject = self.subject.iter();
        let subject =
            subject.flat_map(|of| [&of.case_id, &of.nhi].into_iter().chain(&of.credential));
        let via = self.via.iter().flat_map(|via| [&via.sink, &via.user, &via.secret]);
        let names = [&self.by].into_iter().chain(&self.to).chain(&self.why).chain(subject);
        let names = names.chain(&self.at).chain(&self.ends);
        if !names.chain(via).all(|text| is_line(text, NAME_BYTES_MAX)) {
            return Err("a name in it is empty, too long or of more than one line");
        }
        if self.expires_at <= self.issued_at {
            return Err("it ends before it begins");
        }
        self.close.as_ref().map_or(Ok(()), Closing::check)?;
        self.except.as_ref().map_or(Ok(()), Excepting::check)
    }
}

fn is_line(text: &str, bytes_max: usize) -> bool {
    !text.trim().is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
}

impl Closing {
    fn check(&self) -> Result<(), &'static str> {
        let is_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.reason.is_empty() || self.reason.len() > 64 || !self.reason.chars().all(is_code) {
            return Err("its reason is no code such as `rotated_and_revoked`");
        }
        let is_evidence = |text: &String| is_line(text, TEXT_BYTES_MAX);
        if self.evidence.len() > EVIDENCE_MAX || !self.evidence.iter().all(is_evidence) {
            return Err("its evidence is more than 20 lines, or one of them is empty or too long");
        }
        let is_link = |(name, text): (&String, &String)| {
            is_line(name, NAME_BYTES_MAX) && is_line(text, NAME_BYTES_MAX)
        };
        if self.links.len() > LINKS_MAX || !self.links.iter().all(is_link) {
            return Err("its links are more than 8, or one of them is empty or too long");
        }
        match (self.verdict, &self.of) {
            (Judgement::Duplicate, None) => Err("a duplicate names the case that it repeats"),
            (Judgement::Duplicate, Some(_)) | (_, None) => Ok(()),
            (_, Some(_)) => Err("only a duplicate names another case"),
        }
    }
}

impl Excepting {
    fn check(&self) -> Result<(), &'static str> {
        let texts = [&self.rationale, &self.compensating_control];
        if !texts.into_iter().all(|text| is_line(text, TEXT_BYTES_MAX)) {
            return Err("its rationale or its compensating control is empty or too long");
        }
        if !self.approvers.iter().all(|text| is_line(text, NAME_BYTES_MAX)) {
            return Err("an approver's name is empty, too long or of more than one line");
        }
        if self.until.is_some() == self.review_at.is_some() {
            return Err("it has either an end or a time to be approved again");
        }
        Ok(())
    }
}

/// Exactly what is signed.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// What is sent: the bytes that were signed, and an armored signature of `ssh-keygen` for each
/// person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    pub v: u32,
    pub statement: String,
    pub signatures: Vec<String>,
}

/// Why an order is refused. Codes are stable: people and programs rest on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    NotAStatement,
    /// What people wrote in it holds a token (INV-6): it is not on record, only its hash.
    HoldsSecret,
    BadSignature,
    UnknownSigner,
    KeyNotValidThen,
    /// Who orders it did not sign it.
    SignedByAnother,
    WrongRole,
    Expired,
    NotYetValid,
    ValidTooLong,
    UsedBefore,
    WrongPartition,
    NoSuchCase,
    /// The case is of another NHI or credential.
    WrongSubject,
    /// There is nothing to do it to: nothing is held, it is closed already.
    NotNow,
    NeedsApprover,
    SelfApproval,
    /// Longer than the boundary lets an exception last.
    OverCap,
    /// What the case's playbook asks for before it is closed is not so, or nobody knows.
    NotVerified,
}

impl Refusal {
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAStatement => "not_a_statement",
            Self::HoldsSecret => "holds_secret",
            Self::BadSignature => "bad_signature",
            Self::UnknownSigner => "unknown_signer",
            Self::KeyNotValidThen => "key_not_valid_then",
            Self::SignedByAnother => "signed_by_another",
            Self::WrongRole => "wrong_role",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::ValidTooLong => "valid_too_long",
            Self::UsedBefore => "used_before",
            Self::WrongPartition => "wrong_partition",
            Self::NoSuchCase => "no_such_case",
            Self::WrongSubject => "wrong_subject",
            Self::NotNow => "not_now",
            Self::NeedsApprover => "needs_approver",
            Self::SelfApproval => "self_approval",
            Self::OverCap => "over_cap",
            Self::NotVerified => "not_verified",
        }
    }
}
