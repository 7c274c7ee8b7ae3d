//! What becomes of a message of the orders or the control topic: exactly one record on a chain,
//! accepted or refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::closings::Look;
use super::lane::{Lane, Terms};
use super::outbox::Outbox;
use super::signers::AllowedSigners;
use crate::audit::{Input, Kind, Order, Raw, Record, Timer, home_of};
use crate::case::{
    Change, Counters, Envelope, Excepting, FactRow, Millis, Refusal, Statement, Subject, Told,
    VALID_MS_MAX, Verb, Worked, hex, id_of,
};
use crate::correlate::{Case, State};
use crate::normalize::{holds_secret, partition_of};
use crate::policy::Policy;

/// The largest message of the orders topic that is looked into.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// One who orders, and as many who approve as anybody asks for.
const SIGNATURES_MAX: usize = 5;
/// Clocks of people's machines are not the chain's.
const EARLY_MS_MAX: i64 = 5 * 60_000;
/// LIMIT: no more risks are accepted at a time in one partition.
const EXCEPTIONS_MAX: usize = 1024;

/// What an order is judged by. Its record's time is the only clock, so that the same message gets
/// the same verdict again; a closing asks, too, what is so by then. What is on the control topic is
/// judged by the broker's time, so that all chains say the same of it.
pub struct Judge<'j, 'p> {
    pub people: &'j AllowedSigners,
    pub policy: &'p Policy,
    pub state: &'j State,
    pub look: &'j Look<'j>,
    pub place: Place,
    /// `<cluster id>/<decisions topic>` of the chain.
    pub home: &'j str,
    pub at: Millis,
}

/// The topic that a message is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Orders { partition: i32, partitions: i32 },
    Control,
}

pub(super) type Refused = (Refusal, String);
/// What goes on record of a message, what people are told of its case, and what was looked up.
type Judged<'p> = (Order<'p>, Option<Told<'static>>, Vec<Arc<FactRow>>);

fn refuse<T>(code: Refusal, detail: impl Into<String>) -> Result<T, Refused> {
    Err((code, detail.into()))
}

impl<'p> Judge<'_, 'p> {
    pub fn judge(&self, message: &[u8]) -> Judged<'p> {
        let mut order = Order {
            sha256: Cow::Owned(hex(&Sha256::digest(message))),
            statement: None,
            signers: Vec::new(),
            role: None,
            refused: None,
            detail: None,
            verified: Vec::new(),
        };
        let mut facts = Vec::new();
        match self.accept(message, &mut order, &mut facts) {
            Ok(told) => (order, told, facts),
            Err((code, detail)) => {
                (order.refused, order.detail) = (Some(code), Some(Cow::Owned(detail)));
                (order, None, facts)
            }
        }
    }

    fn accept(
        &self,
        message: &[u8],
        order: &mut Order<'p>,
        facts: &mut Vec<Arc<FactRow>>,
    ) -> Result<Option<Told<'static>>, Refused> {
        let (envelope, statement) = read(message)?;
        if statement.words().any(holds_secret) {
            return refuse(Refusal::HoldsSecret, "what is written in it holds a token or password");
        }
        self.signed(&envelope, &statement, order)?;
        self.in_time(&statement)?;
        let role = self.role(&statement)?;
        let Some(subject) = &statement.subject else {
            self.changes_something(&statement)?;
            order.role = Some(Cow::Owned(role.to_owned()));
            return Ok(None);
        };
        let case = self.case(&statement, subject)?;
        self.fits_now(&statement, case)?;
        if let Some(except) = &statement.except {
            self.excepts(&statement, except, order)?;
        }
        if let Some(closing) = &statement.close {
            self.verify(case, closing, order, facts)?;
        }
        order.role = Some(Cow::Owned(role.to_owned()));
        Ok(case.told_ordered(&statement, self.at))
    }

    /// Every signature is good, and one of them is of who orders it, or of who may vouch for a
    /// sink that says so.
    fn signed(
        &self,
        envelope: &Envelope,
        statement: &Statement,
        order: &mut Order<'_>,
    ) -> Result<(), Refused> {
        let Statement { order: verb, id, subject, by, .. } = statement;
        let claims = || {
            let of = subject.as_ref().map_or("everything", |subject| &subject.case_id);
            format!("it claims to be `{}` {id} of {of} by {by}", verb.name())
        };
        for (number, signature) in (1..).zip(&envelope.signatures) {
            match self.people.signer(&envelope.statement, signature, self.at) {
                Err(not) => {
                    return refuse(not.code, format!("signature {number} {not}; {}", claims()));
                }
                Ok(signer) => {
                    order.statement = Some(Cow::Owned(envelope.statement.clone()));
                    if order.signers.iter().all(|known| known.person != signer.person) {
                        order.signers.push(signer);
                    }
                }
            }
        }
        let mut signers = order.signers.iter().map(|signer| &*signer.person);
        let is_right = match &statement.via {
            None => signers.any(|signer| signer == by),
            Some(_) => {
                let authority = &self.policy.boundary().authority;
                signers.any(|signer| authority.is_voucher(signer))
            }
        };
        if is_right {
            return Ok(());
        }
        let signers: Vec<&str> = order.signers.iter().map(|signer| &*signer.person).collect();
        let signers = signers.join(" and ");
        match &statement.via {
            None => {
                let why = format!("{by} orders it, and {signers} signed it");
                refuse(Refusal::SignedByAnother, why)
            }
            Some(via) => {
                let why = format!("the boundary lets {signers} not vouch for sink {}", via.sink);
                refuse(Refusal::WrongRole, why)
            }
        }
    }

    fn in_time(&self, statement: &Statement) -> Result<(), Refused> {
        let Statement { issued_at, expires_at, id, .. } = statement;
        if expires_at.since(*issued_at) > VALID_MS_MAX {
            return refuse(Refusal::ValidTooLong, "an order is valid for 24 hours at most");
        }
        if self.at >= *expires_at {
            return refuse(Refusal::Expired, format!("it was good until {expires_at}"));
        }
        if issued_at.since(self.at) > EARLY_MS_MAX {
            return refuse(Refusal::NotYetValid, format!("it is good from {issued_at} on"));
        }
        self.in_place(statement)?;
        let was_used = match self.place {
            Place::Orders { .. } => self.state.orders().was_used(id, self.at),
            Place::Control => self.state.control().was_used(id, self.at),
        };
        if was_used {
            return refuse(Refusal::UsedBefore, format!("order {id} had its turn before"));
        }
        Ok(())
    }

    fn in_place(&self, statement: &Statement) -> Result<(), Refused> {
        let is_named = statement.at.is_some() || !statement.order.concerns_everything();
        if !is_named || statement.at.as_ref().is_some_and(|at| at != self.home) {
            let at = statement.at.as_deref().unwrap_or("no deployment");
            let why = format!("it is for {at}, and this is {}", self.home);
            return refuse(Refusal::WrongPartition, why);
        }
        let why = match (self.place, &statement.subject) {
            (Place::Control, None) => return Ok(()),
            (Place::Control, Some(_)) => {
                "it is about one case, and here is what concerns all".into()
            }
            (Place::Orders { .. }, None) => {
                "it concerns everything: that is for the control topic".into()
            }
            (Place::Orders { partition, partitions }, Some(Subject { nhi, .. })) => {
                let own = partition_of(nhi, partitions);
                if own == partition {
                    return Ok(());
                }
                format!("`{nhi}` is of partition {own}, and this is {partition}")
            }
        };
        refuse(Refusal::WrongPartition, why)
    }

    /// Of several stops the newest is in force, and is ended by who knows of it.
    fn changes_something(&self, statement: &Statement) -> Result<(), Refused> {
        match self.state.control().stopped() {
            _ if statement.order != Verb::Resume => Ok(()),
            None => refuse(Refusal::NotNow, "nothing is stopped"),
            Some(stopped) if stopped.order.is_none() || stopped.order == statement.ends => Ok(()),
            Some(stopped) => {
                let order = stopped.order.as_deref().unwrap_or("no order");
                refuse(Refusal::NotNow, format!("it does not end this, by {order}: {stopped}"))
            }
        }
    }

    fn role(&self, statement: &Statement) -> Result<&str, Refused> {
        let (verb, by) = (statement.order, &*statement.by);
        match self.policy.boundary().authority.role(by, verb) {
            Some(role) => Ok(role),
            None => {
                let verb = verb.name();
                refuse(Refusal::WrongRole, format!("the boundary lets {by} not order `{verb}`"))
            }
        }
    }

    /// The case as people have it.
    fn case(&self, statement: &Statement, subject: &Subject) -> Result<&Case, Refused> {
        let known = self.state.cases().get(&subject.case_id).filter(|case| case.had.is_some());
        let Some(case) = known else {
            let why = format!("no case {} is known here", subject.case_id);
            return refuse(Refusal::NoSuchCase, why);
        };
        let names = [case.credential.as_deref(), case.fingerprint.as_deref()];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        let is_its_own = match &subject.credential {
            Some(named) => names.contains(&named.as_str()),
            // An accepted risk is never wider than what was named.
            None => statement.order != Verb::Except || names.is_empty(),
        };
        if case.subject() != Some(&subject.nhi) || !is_its_own {
            let nhi = case.subject().unwrap_or("nobody");
            let of = if names.is_empty() { "no credential".to_owned() } else { names.join(", ") };
            return refuse(Refusal::WrongSubject, format!("the case is of {nhi}, {of}"));
        }
        Ok(case)
    }

    fn fits_now(&self, statement: &Statement, case: &Case) -> Result<(), Refused> {
        let none = Worked::default();
        let worked = case.worked.as_deref().unwrap_or(&none);
        let not_now = |why: &str| refuse(Refusal::NotNow, why);
        match statement.order {
            Verb::Ack | Verb::Assign if worked.is_closed() => not_now("the case is closed"),
            Verb::Ack => match &worked.acked {
                Some(act) => not_now(&format!("{} acknowledged it at {}", act.by, act.at)),
                None => Ok(()),
            },
            Verb::Release if !self.state.waits().holds(&case.id) => {
                not_now("nothing of the case is held")
            }
            Verb::Reopen if !worked.is_partly_closed() => not_now("the case is not closed"),
            Verb::Close => {
                let part = statement.close.as_ref().and_then(|closing| closing.part);
                if worked.has_closed(part) { not_now("that is closed already") } else { Ok(()) }
            }
            Verb::Except if worked.excepted.is_some() => not_now("its risk is accepted already"),
            Verb::Except if self.state.cases().excepted() >= EXCEPTIONS_MAX => {
                not_now("as many risks are accepted in this partition as may be at a time")
            }
            Verb::Assign | Verb::Release | Verb::Reopen | Verb::Except => Ok(()),
            // Of no case.
            Verb::Stop | Verb::Resume => Ok(()),
        }
    }

    /// Two different people, and no longer than the boundary allows.
    fn excepts(
        &self,
        statement: &Statement,
        except: &Excepting,
        order: &Order<'_>,
    ) -> Result<(), Refused> {
        let Some(authority) = &self.policy.boundary().authority.except else {
            return refuse(Refusal::OverCap, "the boundary allows no exception");
        };
        let Some(cap) =
            (if except.emergency { authority.emergency_max_ms } else { Some(authority.max_ms) })
        else {
            return refuse(Refusal::OverCap, "the boundary allows no emergency");
        };
        if except.approvers.contains(&statement.by) {
            let why = format!("{} can't approve what they ask for", statement.by);
            return refuse(Refusal::SelfApproval, why);
        }
        if except.approvers.is_empty() && !except.emergency {
            return refuse(Refusal::NeedsApprover, "nobody is named who approves it");
        }
        for approver in &except.approvers {
            if order.signers.iter().all(|signer| signer.person != *approver) {
                let why = format!("{approver} has not signed it yet");
                return refuse(Refusal::NeedsApprover, why);
            }
            if !authority.is_approver(approver) {
                let why = format!("the boundary lets {approver} not approve an exception");
                return refuse(Refusal::WrongRole, why);
            }
        }
        let Some(ends_at) = except.ends_at().filter(|end| *end > self.at) else {
            return refuse(Refusal::Expired, "what it accepts has ended already");
        };
        if ends_at.since(self.at) > cap {
            let most = crate::case::duration_text(cap);
            return refuse(Refusal::OverCap, format!("the boundary lets it last {most} at most"));
        }
        Ok(())
    }
}

fn read(message: &[u8]) -> Result<(Envelope, Statement), Refused> {
    let not = |why: &str| (Refusal::NotAStatement, why.to_owned());
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(not("the message is longer than 64 KiB"));
    }
    let envelope: Envelope =
        serde_json::from_slice(message).map_err(|_| not("the message is no envelope"))?;
    if envelope.v != 1 || !(1..=SIGNATURES_MAX).contains(&envelope.signatures.len()) {
        return Err(not("the envelope is not of version 1 with one to five signatures"));
    }
    let statement = Statement::read(&envelope.statement).map_err(not)?;
    Ok((envelope, statement))
}

/// What is sent to the orders topic.
pub fn order_message(statement: &str, signatures: &[String]) -> Vec<u8> {
    let envelope =
        Envelope { v: 1, statement: statement.to_owned(), signatures: signatures.to_vec() };
    // Our own types always serialize.
    serde_json::to_vec(&envelope).unwrap_or_default()
}

/// The record of a case of its own, where one person alone accepted a risk in an emergency.
fn review<'t>(terms: &'t Terms, state: &State, told: &Told<'_>, at: Millis) -> Option<Record<'t>> {
    let excepted = told.worked.as_ref()?.excepted.as_ref().filter(|excepted| excepted.emergency)?;
    if !told.changed.contains(&Change::Excepted) {
        return None;
    }
    let case_id = id_of("review", &[excepted.act.order.as_bytes()]);
    let to = &terms.policy().boundary().default;
    let ack_by = to.ack_within_ms.map(|within| at.plus(within));
    let place = (&*to.queue, to.priority, ack_by);
    let case = state.cases().get(&told.case_id)?;
    let counters = Counters::alone(case_id.clone(), at);
    let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
    Some(Record {
        timer: Some(Timer { due: excepted.ends_at, what: "review".into() }),
        counters: Some(Cow::Owned(counters)),
        told: Some(case.told_review(case_id, place, at)),
        ..Record::new(Kind::Timer, at, engine, actor)
    })
}

/// Ends of exceptions of one lane at one look.
const ENDS_AT_MOST: usize = 256;

impl Lane {
    /// What was accepted for a time, and the time is over: its case is people's again, on record.
    /// True: there is something to commit.
    pub fn end_exceptions(&mut self, terms: &Terms, (now, out): (Millis, &mut Outbox<'_>)) -> bool {
        let at = self.time(now);
        let ended = self.state().cases().ended(at).take(ENDS_AT_MOST);
        let told = |case: &Case| Some((case.excepted()?.ends_at, case.told_returned(at)?));
        let ended: Vec<(Millis, Told<'_>)> = ended.filter_map(told).collect();
        let wrote = !ended.is_empty();
        for (due, told) in ended {
            let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
            let record = Record {
                timer: Some(Timer { due, what: "exception_over".into() }),
                told: Some(told),
                ..Record::new(Kind::Timer, at, engine, actor)
            };
            self.write(terms, record, out);
        }
        wrote
    }

    /// Judges one message: exactly one record, in the open transaction. Returns what it is counted
    /// as.
    pub fn order(
        &mut self,
        terms: &Terms,
        (people, look): (&AllowedSigners, &Look<'_>),
        (input, message): (Input<'_>, &[u8]),
        (now, out): (Millis, &mut Outbox<'_>),
    ) -> &'static str {
        let (at, partition) = (self.time(now), self.partition());
        let partitions = terms.topics.partitions;
        let place = match *input.topic == terms.topics.control {
            true => Place::Control,
            false => Place::Orders { partition, partitions },
        };
        let state = self.state();
        let judged_at = input.received_at.unwrap_or(at);
        let policy = terms.policy();
        let home = home_of(self.chain_name());
        let judge = Judge { people, policy, state, look, place, home, at: judged_at };
        let (order, told, facts) = judge.judge(message);
        let offset = input.offset;
        let refused = order.refused;
        let policy = Some(terms.policy_ref(state));
        let review = told.as_ref().and_then(|told| review(terms, state, told, at));
        match (refused, &order.detail) {
            (Some(refusal), Some(detail)) => {
                warn!(partition, offset, refused = refusal.code(), "an order is refused: {detail}");
            }
            _ => info!(partition, offset, "an order is accepted"),
        }
        let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
        let record = Record {
            next_in: BTreeMap::from([(input.topic.clone(), offset + 1)]),
            input: Some(input),
            policy,
            told,
            facts: facts.iter().map(|row| Raw(row.json())).collect(),
            order: Some(order),
            ..Record::new(Kind::Order, at, engine, actor)
        };
        self.write(terms, record, out);
        if let Some(review) = review {
            self.write(terms, review, out);
        }
        self.snapshot_if_due(terms, now, out);
        refused.map_or("accepted", Refusal::code)
    }
}
