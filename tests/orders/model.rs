//! Random streams of alerts and orders with lost transactions, against a slow and simple model of
//! the rules: a list of what happened, read from its beginning for every question.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tipstaff::case::{Closing, Field, Judgement, Millis, Part, Ruling, Statement, Verb};
use tipstaff::normalize::partition_of;
use tipstaff::pipeline::order_message;

use crate::rig::{BOUNDARY, NOW, Rig, excepting, signature, statement};

const KEYS: [&str; 2] = ["key-1", "key-2"];
const SEVERITIES: [&str; 5] = ["informational", "low", "medium", "high", "critical"];
const PEOPLE: [&str; 4] = ["sam", "dana", "lee", "kim"];
const SECOND: i64 = 1000;

/// Which of the two identities, and which of its credentials.
type Place = (usize, usize);

#[derive(Debug, Clone)]
enum Step {
    Alert(Place, usize),
    Order {
        verb: Verb,
        place: Place,
        by: usize,
        part: usize,
        wrong: Wrong,
    },
    /// An order that was sent before, byte for byte.
    Again(prop::sample::Index),
    Wait(i64),
}

/// In what an order is not right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Forged,
    SignedByAnother,
    Expired,
    TooEarly,
    TooLong,
    Foreign,
    NoCase,
    OtherCredential,
}

/// One transaction: what it holds, and how often it is lost before it is committed.
#[derive(Debug, Clone)]
struct Batch {
    steps: Vec<Step>,
    lost: usize,
}

fn step() -> impl Strategy<Value = Step> {
    use Wrong::*;
    let place = || (0_usize..2, 0_usize..2);
    let wrong = prop_oneof![
        8 => Just(Nothing),
        4 => prop::sample::select(vec![
            Forged, SignedByAnother, Expired, TooEarly, TooLong, Foreign, NoCase, OtherCredential,
        ]),
    ];
    let order =
        (prop::sample::select(Verb::ALL[..6].to_vec()), place(), 0_usize..4, 0_usize..3, wrong);
    let order = order.prop_map(|(verb, place, by, part, wrong)| Step::Order {
        verb,
        place,
        by,
        part,
        wrong,
    });
    prop_oneof![
        5 => (place(), 0_usize..5).prop_map(|(place, severity)| Step::Alert(place, severity)),
        8 => order,
        2 => any::<prop::sample::Index>().prop_map(Step::Again),
        1 => (1_i64..20).prop_map(|seconds| Step::Wait(seconds * SECOND)),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    let lost = prop_oneof![4 => Just(0_usize), 1 => 1_usize..3];
    (prop::collection::vec(step(), 1..6), lost).prop_map(|(steps, lost)| Batch { steps, lost })
}

/// An order as it was sent, and what the model has to know of it.
#[derive(Debug, Clone)]
struct Sent {
    message: Vec<u8>,
    statement: Statement,
    place: Place,
    wrong: Wrong,
    /// It names no case that there is.
    is_strange: bool,
    approver: &'static str,
}

/// As it stands on its topic, or time that passes.
enum Input {
    Alert(Place, usize),
    Order(Box<Sent>),
    Wait(i64),
}

/// What happened, in order; everything else follows from it.
#[derive(Debug, Clone)]
enum Happened {
    Alert(Place, usize),
    Accepted(Box<Sent>),
    /// There was nothing to do.
    NotNow(Box<Sent>),
    Returned(Place),
}

/// A case as the list says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Read {
    seen: i64,
    /// What people were told: `held` or `new`, its priority, its severity, its rules.
    had: Option<(&'static str, u8, usize)>,
    rules: Vec<usize>,
    held: usize,
    acked: Option<String>,
    assignee: Option<String>,
    risk: bool,
    finding: bool,
    excepted: Option<Millis>,
    reopened: u32,
}

impl Read {
    fn reopen(&mut self) {
        (self.acked, self.risk, self.finding) = (None, false, false);
        self.reopened += 1;
    }

    fn alert(&mut self, severity: usize) {
        self.seen += 1;
        let (state, priority, rule) = match severity {
            0 => return,
            1 => ("held", 1, 1),
            _ => ("new", 2, 2),
        };
        self.held += usize::from(rule == 1);
        let Some((had_state, had_priority, had_severity)) = self.had else {
            self.had = Some((state, priority, severity));
            self.rules.push(rule);
            return;
        };
        let rises = (state == "new" && had_state == "held") || priority > had_priority;
        let is_worse = severity > had_severity;
        let is_other = !self.rules.contains(&rule) && priority >= had_priority;
        let is_tenth = [10, 100].contains(&self.seen);
        let (is_closed, is_partly) = (self.risk && self.finding, self.risk || self.finding);
        if is_closed || (is_partly && (rises || is_worse || is_other)) {
            self.reopen();
        } else if rises || is_worse {
            self.acked = None;
        } else if !is_other && !is_tenth {
            return;
        }
        let state = if state == "new" { "new" } else { had_state };
        self.had = Some((state, priority.max(had_priority), severity.max(had_severity)));
        self.rules.push(rule);
    }

    fn order(&mut self, sent: &Sent) {
        let by = || Some(sent.statement.by.clone());
        match sent.statement.order {
            Verb::Release => return self.held = 0,
            Verb::Reopen => return self.reopen(),
            Verb::Ack | Verb::Stop | Verb::Resume => {}
            Verb::Assign => self.assignee = Some("kim".to_owned()),
            Verb::Close => {
                let part = sent.statement.close.as_ref().unwrap().part;
                self.risk |= part != Some(Part::Finding);
                self.finding |= part != Some(Part::Risk);
            }
            Verb::Except => {
                self.excepted = sent.statement.except.as_ref().unwrap().until;
            }
        }
        self.acked = self.acked.take().or_else(by);
    }

    fn state(&self) -> &'static str {
        let ruled = self.had.map_or("", |(state, ..)| state);
        match (self.risk, self.finding) {
            (true, true) => "closed",
            (true, false) => "risk_closed",
            (false, true) => "finding_closed",
            _ if self.excepted.is_some() => "excepted",
            _ if self.acked.is_some() => "acknowledged",
            _ if self.reopened > 0 && ruled == "new" => "reopened",
            _ => ruled,
        }
    }
}

#[derive(Default)]
struct Slow {
    happened: Vec<Happened>,
}

impl Slow {
    fn read(&self, place: Place) -> Read {
        let mut read = Read::default();
        for happened in &self.happened {
            match happened {
                Happened::Alert(of, severity) if *of == place => read.alert(*severity),
                Happened::Accepted(sent) if sent.place == place => read.order(sent),
                Happened::Returned(of) if *of == place => {
                    read.excepted = None;
                    read.reopen();
                }
                _ => {}
            }
        }
        read
    }

    fn was_used(&self, id: &str) -> bool {
        self.happened.iter().any(|happened| match happened {
            Happened::Accepted(sent) | Happened::NotNow(sent) => sent.statement.id == id,
            Happened::Alert(..) | Happened::Returned(_) => false,
        })
    }

    fn verdict(&self, sent: &Sent, now: Millis) -> &'static str {
        let Sent { statement, wrong, place, is_strange, approver, .. } = sent;
        let (verb, by) = (statement.order, &*statement.by);
        match wrong {
            // By sam, whose key is good; kim's was, once.
            Wrong::SignedByAnother => return "signed_by_another",
            _ if by == "kim" => return "key_not_valid_then",
            Wrong::Forged => return "bad_signature",
            _ => {}
        }
        if *wrong == Wrong::TooLong {
            return "valid_too_long";
        }
        if now >= statement.expires_at {
            return "expired";
        }
        if statement.issued_at.0 - now.0 > 300 * SECOND {
            return "not_yet_valid";
        }
        if *wrong == Wrong::Foreign {
            return "wrong_partition";
        }
        if self.was_used(&statement.id) {
            return "used_before";
        }
        let is_lead = ["dana", "lee"].contains(&by);
        let is_analyst = ["sam", "dana"].contains(&by);
        let may = match verb {
            Verb::Ack | Verb::Stop | Verb::Resume => true,
            Verb::Assign | Verb::Except => is_analyst,
            Verb::Release | Verb::Reopen | Verb::Close => is_lead,
        };
        if !may {
            return "wrong_role";
        }
        let case = self.read(*place);
        if *is_strange || case.had.is_none() {
            return "no_such_case";
        }
        if *wrong == Wrong::OtherCredential {
            return "wrong_subject";
        }
        let is_closed = case.risk && case.finding;
        let fits = match verb {
            Verb::Ack => !is_closed && case.acked.is_none(),
            Verb::Assign => !is_closed,
            Verb::Release => case.held > 0,
            Verb::Reopen => case.risk || case.finding,
            Verb::Close => match statement.close.as_ref().unwrap().part {
                None => !is_closed,
                Some(Part::Risk) => !case.risk,
                Some(Part::Finding) => !case.finding,
            },
            Verb::Except | Verb::Stop | Verb::Resume => case.excepted.is_none(),
        };
        match (fits, verb == Verb::Except && by == *approver) {
            (false, _) => "not_now",
            (true, true) => "self_approval",
            (true, false) => {
                let ends = statement.except.as_ref().and_then(|except| except.until);
                if ends.is_some_and(|end| end <= now) { "expired" } else { "accepted" }
            }
        }
    }
}

struct Both {
    rig: Rig,
    slow: Slow,
    names: [String; 2],
    foreign: String,
    cases: BTreeMap<Place, String>,
    sent: Vec<Sent>,
    suppressed: usize,
}

impl Both {
    fn new() -> Self {
        let first = "identity-0".to_owned();
        let own = partition_of(&first, 4);
        let mut others = (1..).map(|n| format!("identity-{n}"));
        let second = others.by_ref().find(|name| partition_of(name, 4) == own).unwrap();
        let foreign = others.find(|name| partition_of(name, 4) != own).unwrap();
        let boundary = format!("{BOUNDARY}suppress: {{max_expires: 30d, never_severity: []}}\n");
        Self {
            rig: Rig::under(&boundary, &first, true),
            slow: Slow::default(),
            names: [first, second],
            foreign,
            cases: BTreeMap::new(),
            sent: Vec::new(),
            suppressed: 0,
        }
    }

    /// One transaction as often as it takes. What is lost comes again, later, byte for byte.
    fn run(&mut self, batch: &Batch) {
        let mark = (self.rig.written.len(), self.rig.outputs.len(), self.slow.happened.len());
        let before = (self.cases.clone(), self.suppressed);
        let mut inputs = Vec::new();
        for step in &batch.steps {
            let Some(input) = self.input(step) else { continue };
            self.take(&input);
            inputs.push(input);
        }
        self.compare();
        for _ in 0..batch.lost {
            self.rig.restart(mark.0);
            self.rig.outputs.truncate(mark.1);
            self.slow.happened.truncate(mark.2);
            (self.cases, self.suppressed) = before.clone();
            self.rig.now = self.rig.now.plus(SECOND);
            inputs.iter().for_each(|input| self.take(input));
            self.compare();
        }
    }

    fn input(&mut self, step: &Step) -> Option<Input> {
        Some(match step {
            Step::Alert(place, severity) => Input::Alert(*place, *severity),
            Step::Wait(ms) => Input::Wait(*ms),
            Step::Again(_) if self.sent.is_empty() => return None,
            Step::Again(index) => {
                Input::Order(Box::new(self.sent[index.index(self.sent.len())].clone()))
            }
            Step::Order { verb, place, by, part, wrong } => {
                let sent = self.order((*verb, *part), *place, PEOPLE[*by], *wrong);
                self.sent.push(sent.clone());
                Input::Order(Box::new(sent))
            }
        })
    }

    fn take(&mut self, input: &Input) {
        match input {
            Input::Alert(place, severity) => self.alert(*place, *severity),
            Input::Wait(ms) => self.wait(*ms),
            Input::Order(sent) => self.send(sent),
        }
    }

    fn alert(&mut self, place: Place, severity: usize) {
        let (nhi, key) = (self.names[place.0].clone(), KEYS[place.1]);
        let case = self.rig.alert_of(&nhi, SEVERITIES[severity], (Field::CredentialId, key));
        self.slow.happened.push(Happened::Alert(place, severity));
        self.suppressed += usize::from(severity == 0);
        assert_eq!(*self.cases.entry(place).or_insert_with(|| case.clone()), case);
        let record = self.rig.last();
        assert_eq!(record.counters.as_ref().unwrap().seen, self.slow.read(place).seen);
        let fate = match &record.ruling.as_ref().unwrap().fate {
            Ruling::Suppress(_) => 0,
            Ruling::Hold(_) => 1,
            _ => 2,
        };
        assert_eq!(fate, severity.min(2));
    }

    fn wait(&mut self, ms: i64) {
        self.rig.wait(ms);
        for place in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            if self.slow.read(place).excepted.is_some_and(|end| end <= self.rig.now) {
                self.slow.happened.push(Happened::Returned(place));
            }
        }
    }

    fn order(&self, (verb, part): (Verb, usize), place: Place, by: &str, wrong: Wrong) -> Sent {
        let wrong = match wrong {
            Wrong::SignedByAnother if by == "sam" => Wrong::Nothing,
            other => other,
        };
        let now = self.rig.now;
        let case = self.cases.get(&place).filter(|_| wrong != Wrong::NoCase);
        let (is_strange, nothing) = (case.is_none(), "0".repeat(32));
        let mut order = statement(case.unwrap_or(&nothing), &self.names[place.0], verb, by);
        (order.issued_at, order.expires_at) = (now, now.plus(30 * SECOND));
        order.subject.as_mut().unwrap().credential = Some(KEYS[place.1].to_owned());
        match wrong {
            Wrong::Expired => order.issued_at = now.plus(-60 * SECOND),
            Wrong::TooEarly => {
                order.issued_at = now.plus(310 * SECOND);
                order.expires_at = now.plus(900 * SECOND);
            }
            Wrong::TooLong => order.expires_at = now.plus(25 * 3600 * SECOND),
            Wrong::Foreign => order.subject.as_mut().unwrap().nhi.clone_from(&self.foreign),
            Wrong::OtherCredential => {
                order.subject.as_mut().unwrap().credential = Some("key-3".to_owned())
            }
            Wrong::Nothing | Wrong::Forged | Wrong::SignedByAnother | Wrong::NoCase => {}
        }
        if wrong == Wrong::Expired {
            order.expires_at = now;
        }
        let approver = if part == 0 { "dana" } else { "lee" };
        match verb {
            Verb::Close => {
                let part = [None, Some(Part::Risk), Some(Part::Finding)][part];
                let (verdict, reason) = (Judgement::Benign, "known".to_owned());
                order.close = Some(Closing {
                    verdict,
                    reason,
                    evidence: vec![],
                    of: None,
                    part,
                    links: BTreeMap::new(),
                });
            }
            Verb::Except => {
                let lasts = now.0 - NOW.0 + 15 * SECOND;
                order.except = Some(excepting(&[approver], lasts, false));
            }
            _ => {}
        }
        let text = order.to_string();
        let by = if wrong == Wrong::SignedByAnother { "sam" } else { by };
        let signed = if wrong == Wrong::Forged { format!("{text} ") } else { text.clone() };
        let mut signatures = vec![signature(by, &signed)];
        if verb == Verb::Except && wrong != Wrong::SignedByAnother {
            signatures.push(signature(approver, &text));
        }
        let message = order_message(&text, &signatures);
        Sent { message, statement: order, place, wrong, is_strange, approver }
    }

    fn send(&mut self, sent: &Sent) {
        let wanted = self.slow.verdict(sent, self.rig.now);
        let found = self.rig.message(&sent.message);
        let detail = self.rig.detail();
        assert_eq!(found, wanted, "{detail}: {:?}, {:?}", sent.statement, sent.wrong);
        if wanted == "accepted" {
            self.slow.happened.push(Happened::Accepted(Box::new(sent.clone())));
        }
        if wanted == "not_now" {
            self.slow.happened.push(Happened::NotNow(Box::new(sent.clone())));
        }
    }

    fn compare(&self) {
        let state = self.rig.lane.state();
        for (place, id) in &self.cases {
            let read = self.slow.read(*place);
            let case = state.cases().get(id).unwrap();
            let worked = case.worked.as_deref().cloned().unwrap_or_default();
            assert_eq!(case.seen, read.seen);
            assert_eq!(worked.acked.as_ref().map(|act| &act.by), read.acked.as_ref(), "{read:?}");
            assert_eq!(worked.assignee, read.assignee);
            let closed = (worked.risk_closed.is_some(), worked.finding_closed.is_some());
            assert_eq!(closed, (read.risk, read.finding), "{read:?}");
            assert_eq!(worked.excepted.as_ref().map(|it| it.ends_at), read.excepted);
            assert_eq!(worked.reopened, read.reopened, "{read:?}");
            assert_eq!(state.waits().holds(id), read.held > 0, "{read:?}");
            match &case.had {
                Some(had) => assert_eq!(worked.state(had.state), read.state(), "{read:?}"),
                None => assert_eq!(read.had, None),
            }
        }
        let suppressed = self.rig.written.iter().filter(|bytes| {
            let record = tipstaff::audit::Record::parse(bytes).unwrap();
            record.ruling.is_some_and(|ruling| matches!(ruling.fate, Ruling::Suppress(_)))
        });
        assert_eq!(suppressed.count(), self.suppressed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cases, counts, suppressions, states and refusals are those of the simple model, whatever
    /// transaction is lost, and the chain is whole.
    #[test]
    fn alerts_and_orders_are_what_a_simple_reading_of_all_that_happened_says(
        batches in prop::collection::vec(batch(), 1..16),
    ) {
        let mut both = Both::new();
        batches.iter().for_each(|batch| both.run(batch));
        both.rig.is_whole();
    }
}
