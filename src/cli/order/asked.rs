use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use openssl::rand::rand_bytes;

use super::aim::Aim;
use super::{Making, Signing, duration};
use crate::app::{Failure, system_clock};
use crate::case::{Closing, Excepting, Judgement, Millis, Part, STATEMENT, Statement, Verb, hex};
use crate::normalize::holds_secret;

#[derive(Args)]
pub(in crate::cli) struct Ack {
    #[command(flatten)]
    pub(super) making: Making,
}

#[derive(Args)]
pub(in crate::cli) struct Release {
    #[command(flatten)]
    pub(super) making: Making,
}

#[derive(Args)]
pub(in crate::cli) struct Reopen {
    #[command(flatten)]
    pub(super) making: Making,
}

#[derive(Args)]
pub(in crate::cli) struct Assign {
    #[command(flatten)]
    pub(super) making: Making,
    /// Who gets it
    #[arg(long, value_name = "PERSON")]
    pub(super) to: String,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum JudgementArg {
    TruePositive,
    Benign,
    FalsePositive,
    AcceptedRisk,
    Duplicate,
}

#[derive(Clone, Copy, ValueEnum)]
enum PartArg {
    Risk,
    Finding,
}

#[derive(Args)]
pub(in crate::cli) struct Close {
    #[command(flatten)]
    pub(super) making: Making,
    #[arg(long, value_enum)]
    verdict: JudgementArg,
    /// A code of your own, such as `rotated_and_revoked`
    #[arg(long, value_name = "CODE")]
    reason: String,
    /// What shows it, once for each: a link, a ticket, a record
    #[arg(long, value_name = "TEXT")]
    evidence: Vec<String>,
    /// What the playbook asks for by name, such as `new_credential=AKIA…`; once for each
    #[arg(long, value_name = "NAME=TEXT")]
    link: Vec<String>,
    /// The case that this one repeats
    #[arg(long, value_name = "CASE")]
    of: Option<String>,
    /// Close the risk or the finding alone; both without it
    #[arg(long, value_enum)]
    part: Option<PartArg>,
}

#[derive(Args)]
pub(in crate::cli) struct Except {
    #[command(flatten)]
    pub(super) making: Making,
    #[arg(long)]
    rationale: String,
    /// What makes the risk smaller meanwhile
    #[arg(long, value_name = "TEXT")]
    compensating_control: String,
    /// Who approves it, and signs the same statement
    #[arg(long, value_name = "PERSON")]
    approver: Vec<String>,
    /// How long it is accepted
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "review_in")]
    lasts: Option<String>,
    /// When it must be approved again, which ends it, too
    #[arg(long, value_name = "DURATION", required_unless_present = "lasts")]
    review_in: Option<String>,
    /// Now, by yourself, for a short time, and looked at afterwards
    #[arg(long)]
    emergency: bool,
}

#[derive(Args)]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    pub(super) everything: Everything,
    /// The order that it ends; without it, the stop that all chains are under
    #[arg(long, value_name = "ORDER")]
    pub(super) ends: Option<String>,
}

#[derive(Args)]
pub(in crate::cli) struct Everything {
    #[command(flatten)]
    pub(super) signing: Signing,
    /// What makes it necessary: it stands in every case that it concerns
    #[arg(long, value_name = "TEXT")]
    why: String,
}

/// What is ordered, without who and about what.
pub(super) struct Asked {
    order: Verb,
    to: Option<String>,
    close: Option<Closing>,
    except: Option<Excepting>,
    why: Option<String>,
}

impl Asked {
    pub(super) fn of(order: Verb) -> Self {
        Self { order, to: None, close: None, except: None, why: None }
    }

    pub(super) fn assign(to: String) -> Self {
        Self { to: Some(to), ..Self::of(Verb::Assign) }
    }

    pub(super) fn is_exception(&self) -> bool {
        self.order == Verb::Except
    }

    pub(super) fn statement(
        self,
        (by, aim): (String, Aim),
        (issued_at, expires_at): (Millis, Millis),
    ) -> Result<Statement, Failure> {
        let Self { order, to, close, except, why } = self;
        let Aim { at, subject, ends } = aim;
        let statement = Statement {
            statement: STATEMENT.to_owned(),
            v: 1,
            order,
            id: random_id()?,
            at,
            subject,
            issued_at,
            expires_at,
            by,
            via: None,
            to,
            close,
            except,
            why,
            ends,
        };
        if statement.words().any(holds_secret) {
            let why = "the order would hold a token or password, which would be signed and kept";
            return Err(Failure::Usage(why.to_owned()));
        }
        Ok(statement)
    }
}

impl Everything {
    pub(super) fn what(&self, order: Verb) -> Asked {
        Asked { why: Some(self.why.clone()), ..Asked::of(order) }
    }
}

impl Close {
    pub(super) fn what(&self) -> Result<Asked, Failure> {
        let verdict = match self.verdict {
            JudgementArg::TruePositive => Judgement::TruePositive,
            JudgementArg::Benign => Judgement::Benign,
            JudgementArg::FalsePositive => Judgement::FalsePositive,
            JudgementArg::AcceptedRisk => Judgement::AcceptedRisk,
            JudgementArg::Duplicate => Judgement::Duplicate,
        };
        let part = self.part.map(|part| match part {
            PartArg::Risk => Part::Risk,
            PartArg::Finding => Part::Finding,
        });
        let (reason, evidence) = (self.reason.clone(), self.evidence.clone());
        let mut links = BTreeMap::new();
        for link in &self.link {
            let named = link.split_once('=').filter(|(name, _)| !links.contains_key(*name));
            let Some((name, text)) = named else {
                let why = "is no `NAME=TEXT`, or its name is there already";
                return Err(Failure::Usage(format!("`--link {link}` {why}")));
            };
            links.insert(name.to_owned(), text.to_owned());
        }
        let closing = Closing { verdict, reason, evidence, of: self.of.clone(), part, links };
        Ok(Asked { close: Some(closing), ..Asked::of(Verb::Close) })
    }
}

impl Except {
    pub(super) fn what(&self) -> Result<Asked, Failure> {
        let now = system_clock()();
        let time = |option: &str, text: &Option<String>| {
            let length = text.as_ref().map(|text| duration(option, text)).transpose()?;
            Ok::<_, Failure>(length.map(|length| now.plus(length)))
        };
        let except = Excepting {
            rationale: self.rationale.clone(),
            compensating_control: self.compensating_control.clone(),
            approvers: self.approver.clone(),
            until: time("--for", &self.lasts)?,
            review_at: time("--review-in", &self.review_in)?,
            emergency: self.emergency,
        };
        Ok(Asked { except: Some(except), ..Asked::of(Verb::Except) })
    }
}

fn random_id() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    rand_bytes(&mut bytes)
        .map_err(|error| Failure::Ended(format!("no random number can be had: {error}")))?;
    Ok(hex(&bytes))
}
