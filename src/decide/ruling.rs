use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::case::{
    Alert, Because, Blocked, Body, BreakOut, Count, Decision, Escalate, Evidence, Field, Hold,
    Millis, OnExpiry, Priority, Reason, Route, Ruling, Seen, Shadow, Suppress, Unreadable, Verdict,
    field_named,
};
use crate::clause::{Name, Scope, Slot, json};
use crate::policy::{
    Escalation, OnUnknown, Outcome, Playbook, Policy, Rule, Suppression, Target, ToQueue,
};

use super::boundary::{self, Ask, Containment, Permit, Verdicts};
use super::walk::Walk;
use super::watch::{Unwatched, Watch};
use super::{Decided, Inputs};

/// How long a hold waits that no rule asked for, where the fallback names no deadline.
const HOLD_MS: i64 = 24 * 3_600_000;
/// LIMIT: the longest that a pipeline's `not_an_alert` stands.
const NOT_AN_ALERT_MS: i64 = 30 * 86_400_000;

/// Rules one arrival. Total and deterministic: every arrival gets exactly one fate.
pub fn decide<'p>(policy: &'p Policy, inputs: &Inputs<'p>) -> Decided<'p> {
    watched(policy, None, inputs, &mut Unwatched)
}

/// The one way to rule. With a playbook named, that one rules, whatever its mode: for its tests.
pub fn watched<'p>(
    policy: &'p Policy,
    playbook: Option<&'p Playbook>,
    inputs: &Inputs<'p>,
    watch: &mut impl Watch<'p>,
) -> Decided<'p> {
    let alert = match &inputs.arrival.body {
        Body::Unreadable(unreadable) => return dead_letter(unreadable, inputs),
        Body::Alert(alert) => &**alert,
    };
    if let Some(why) = alert.text(Field::NotAnAlert) {
        return Judge::new(policy, alert, inputs).not_an_alert(why);
    }
    let judge = Judge::new(policy, alert, inputs);
    let mut decided = match playbook.or_else(|| policy.live(alert)) {
        Some(playbook) => judge.rule(playbook, watch),
        None => judge.no_rule(),
    };
    if playbook.is_none() {
        let shadows: Vec<Shadow<'p>> = policy
            .shadows(alert)
            .map(|playbook| Shadow::of(judge.shadow(playbook, watch), &decided.decision))
            .collect();
        decided.decision.shadow = shadows;
    }
    debug_assert_eq!(
        decided.permit.is_some(),
        matches!(decided.decision.fate, Ruling::Escalate(_)),
        "INV-5: an escalation and its permit come together"
    );
    decided
}

fn dead_letter<'p>(unreadable: &'p Unreadable<'p>, inputs: &Inputs<'p>) -> Decided<'p> {
    let fate = Ruling::DeadLetter(Unreadable {
        detail: Cow::Borrowed(&unreadable.detail),
        fingerprint: Cow::Borrowed(&unreadable.fingerprint),
        ..*unreadable
    });
    let playbook = match &*inputs.arrival.pipeline {
        "" => Cow::Borrowed("none"),
        pipeline => Cow::Owned(format!("pipeline:{pipeline}")),
    };
    decided(Decision::new(fate, unreadable.reason, playbook, Cow::Borrowed("unreadable")))
}

fn decided(decision: Decision<'_>) -> Decided<'_> {
    Decided { decision, permit: None }
}

pub(super) struct Judge<'p> {
    policy: &'p Policy,
    alert: &'p Alert<'p>,
    inputs: Inputs<'p>,
    /// Deadlines run from when the broker took the alert.
    received_at: Millis,
}

impl<'p> Judge<'p> {
    pub fn new(policy: &'p Policy, alert: &'p Alert<'p>, inputs: &Inputs<'p>) -> Self {
        let received_at = alert.get(Field::ReceivedAt).time().unwrap_or(inputs.now);
        Self { policy, alert, inputs: *inputs, received_at }
    }

    pub fn scope(&self, max_age_ms: &'p [Option<i64>]) -> Scope<'p> {
        Scope {
            alert: self.alert,
            facts: self.inputs.facts,
            counters: Some(self.inputs.counters),
            now: self.inputs.now,
            max_age_ms,
        }
    }

    fn route(&self, to: &'p ToQueue, priority: Priority) -> Ruling<'p> {
        Ruling::Route(Route { queue: (&*to.queue).into(), priority, ack_by: self.ack_by(to) })
    }

    fn ack_by(&self, to: &ToQueue) -> Option<Millis> {
        to.ack_within_ms.map(|within| self.received_at.plus(within))
    }

    fn hold(&self, queue: &'p str, priority: Priority, for_ms: i64) -> Ruling<'p> {
        Ruling::Hold(Hold { queue: queue.into(), priority, until: self.received_at.plus(for_ms) })
    }

    fn no_rule(&self) -> Decided<'p> {
        let to = &self.policy.boundary().default;
        decided(Decision::new(self.route(to, to.priority), Reason::NoRule, "none", "none"))
    }

    fn not_an_alert(&self, why: &'p str) -> Decided<'p> {
        let boundary = self.policy.boundary();
        let name: Cow<'p, str> = format!("pipeline:{}", self.inputs.arrival.pipeline).into();
        let value = json(self.alert.get(Field::NotAnAlert));
        let verdicts =
            boundary::suppress(boundary, &self.scope(&boundary.max_age_ms), &Ask::Pipeline);
        let max_ms = boundary::max_expires_ms(boundary).filter(|_| verdicts.allow());
        let mut decision = match max_ms {
            Some(max_ms) => {
                let evidence = Evidence {
                    name: "not_an_alert".into(),
                    value: value.clone().into(),
                    source: name.clone(),
                    as_of: None,
                };
                let fate = Ruling::Suppress(Suppress {
                    evidence: vec![evidence],
                    expires_at: self.received_at.plus(max_ms.min(NOT_AN_ALERT_MS)),
                    on_expiry: OnExpiry::Recheck,
                    authorized_by: name.clone(),
                });
                Decision::new(fate, Reason::NotAnAlert, name, why)
            }
            None => {
                let fate = self.route(&boundary.default, boundary.default.priority);
                let mut decision = Decision::new(fate, Reason::BoundaryRefused, name, why);
                decision.blocked = vec![Blocked {
                    action: "suppress".into(),
                    rule: why.into(),
                    why: verdicts.refusals().into(),
                }];
                decision
            }
        };
        decision.because = vec![Because {
            clause: "has(not_an_alert)".into(),
            verdict: Verdict::True,
            seen: vec![Seen { name: "not_an_alert".into(), value: value.into() }],
        }];
        decision.boundary = verdicts.found;
        decided(decision)
    }

    /// What it would rule. Whatever goes wrong in it is its own: the fate is another playbook's.
    fn shadow(&self, playbook: &'p Playbook, watch: &mut impl Watch<'p>) -> Decision<'p> {
        let ruled = catch_unwind(AssertUnwindSafe(|| self.rule(playbook, watch).decision));
        ruled.unwrap_or_else(|_| {
            let to = &playbook.fallback.1;
            Decision::new(self.route(to, to.priority), Reason::RuleFailed, &*playbook.name, "none")
        })
    }

    fn rule(&self, playbook: &'p Playbook, watch: &mut impl Watch<'p>) -> Decided<'p> {
        let scope = self.scope(&playbook.max_age_ms);
        let mut walk = Walk::new(playbook, &scope);
        let (fallback_rule, fallback) = &playbook.fallback;
        let mut decided = match (walk.stopped, walk.winner) {
            (Some(rule), _) => self.unknown_rule(playbook, rule, &walk),
            (None, Some(rule)) => self.winning_rule(playbook, rule, &walk, &scope),
            (None, None) => decided(Decision::new(
                self.route(fallback, walk.floor(fallback.priority)),
                Reason::NoRule,
                &*playbook.name,
                &**fallback_rule,
            )),
        };
        let cause = walk.stopped.or(walk.winner);
        decided.decision.because = cause.map(|rule| rule.when.because(&scope)).unwrap_or_default();
        decided.decision.passed = std::mem::take(&mut walk.passed);
        watch.ruled(playbook, &scope, &walk, &decided.decision);
        decided
    }

    /// A rule that can't be decided and asks for people, at least as urgently as anything it hides.
    fn unknown_rule(&self, playbook: &'p Playbook, rule: &'p Rule, walk: &Walk<'p>) -> Decided<'p> {
        let to = &playbook.fallback.1;
        let priority = walk.floor_with_winner(to.priority);
        let fate = match rule.on_unknown {
            OnUnknown::Hold => self.hold_for_people(to, priority),
            OnUnknown::Route | OnUnknown::Next => self.route(to, priority),
        };
        decided(Decision::new(fate, Reason::UnknownFact, &*playbook.name, &*rule.id))
    }

    /// With those who repair data, as long as its own people could have waited to look.
    fn hold_for_people(&self, to: &'p ToQueue, priority: Priority) -> Ruling<'p> {
        let queue = self.policy.boundary().repair_queue.as_ref().unwrap_or(&to.queue);
        self.hold(queue, priority, to.ack_within_ms.unwrap_or(HOLD_MS))
    }

    fn winning_rule(
        &self,
        playbook: &'p Playbook,
        rule: &'p Rule,
        walk: &Walk<'p>,
        scope: &Scope<'p>,
    ) -> Decided<'p> {
        let matched =
            |fate| decided(Decision::new(fate, Reason::RuleMatched, &*playbook.name, &*rule.id));
        match &rule.outcome {
            Outcome::Route(to) => matched(self.route(to, walk.floor(to.priority))),
            Outcome::Hold(hold) => {
                matched(self.hold(&hold.to.queue, walk.floor(hold.to.priority), hold.for_ms))
            }
            // INVARIANT (INV-4): after an unknown rule nothing is suppressed.
            Outcome::Suppress(_) if !walk.unknown.is_empty() => {
                self.held(playbook, rule, walk, Reason::UnknownBeforeSuppression)
            }
            Outcome::Suppress(suppression) => self.suppress(playbook, rule, suppression, scope),
            Outcome::Escalate(escalation) => {
                // INVARIANT (INV-4): past an unknown rule only to the same escalation, or by
                // consent.
                if self.has_consent(walk, scope) {
                    self.escalate(playbook, rule, escalation, walk, scope)
                } else {
                    self.held(playbook, rule, walk, Reason::UnknownBeforeEscalation)
                }
            }
        }
    }

    fn held(
        &self,
        playbook: &'p Playbook,
        rule: &'p Rule,
        walk: &Walk<'p>,
        reason: Reason,
    ) -> Decided<'p> {
        let to = &playbook.fallback.1;
        let fate = self.hold_for_people(to, walk.floor_with_winner(to.priority));
        decided(Decision::new(fate, reason, &*playbook.name, &*rule.id))
    }

    fn has_consent(&self, walk: &Walk<'p>, scope: &Scope<'p>) -> bool {
        walk.open_names(scope).iter().all(|open| self.may_pass(open))
    }

    /// Every layer must name a value that passed rules could not be decided for.
    pub fn may_pass(&self, open: &Name) -> bool {
        let layers = &self.policy.boundary().layers;
        layers.iter().all(|layer| layer.pass_unknown.iter().any(|name| name.slot == open.slot))
    }

    fn suppress(
        &self,
        playbook: &'p Playbook,
        rule: &'p Rule,
        suppression: &'p Suppression,
        scope: &Scope<'p>,
    ) -> Decided<'p> {
        if let Some(why) = self.spread_too_far(playbook) {
            return self.to_fallback(playbook, rule, ("suppress", why), Reason::SpreadTooFar);
        }
        let boundary = self.policy.boundary();
        let boundary_scope = self.scope(&playbook.boundary_max_age_ms);
        let ask = Ask::Playbook(suppression, rule, *scope);
        let verdicts = boundary::suppress(boundary, &boundary_scope, &ask);
        if !verdicts.allow() {
            return self.refused(playbook, rule, "suppress", verdicts);
        }
        let none = |slot: Slot| match slot {
            Slot::Window { .. } => "window".into(),
            _ => "alert".into(),
        };
        let evidence = suppression.evidence.iter().map(|each| {
            let row = scope.row(each.slot);
            Evidence {
                name: (&*each.path).into(),
                value: json(&scope.read(each.slot)).into(),
                source: row.map_or(none(each.slot), |row| (&*row.source).into()),
                as_of: row.and_then(|row| row.as_of),
            }
        });
        let evidence: Vec<Evidence<'p>> = evidence.collect();
        let expires_at = self.received_at.plus(suppression.expires_ms);
        let ends = expires_at.min(self.accepted_until(rule, scope).unwrap_or(expires_at));
        debug_assert!(!evidence.is_empty(), "INV-3: a suppression has evidence");
        let fate = Ruling::Suppress(Suppress {
            evidence,
            expires_at: ends,
            on_expiry: suppression.on_expiry,
            authorized_by: (&*playbook.owner).into(),
        });
        let mut decision = Decision::new(fate, suppression.reason, &*playbook.name, &*rule.id);
        decision.boundary = verdicts.found;
        decided(decision)
    }

    /// What rests on an accepted risk ends with it.
    fn accepted_until(&self, rule: &Rule, scope: &Scope<'p>) -> Option<Millis> {
        let accepted = self.policy.schema().exceptions()?;
        rule.enrichers().find(|enricher| *enricher == accepted)?;
        let (ends, _) = self.policy.schema().fact("exception.ends")?;
        scope.read(ends).time()
    }

    fn escalate(
        &self,
        playbook: &'p Playbook,
        rule: &'p Rule,
        escalation: &'p Escalation,
        walk: &Walk<'p>,
        scope: &Scope<'p>,
    ) -> Decided<'p> {
        let ask = self.containment(escalation, walk.supporting().collect());
        let boundary_scope = self.scope(&playbook.boundary_max_age_ms);
        let (verdicts, permit) =
            boundary::escalate(self.policy.boundary(), &boundary_scope, scope, &ask);
        let (Some(permit), Some(target)) = (permit, ask.target) else {
            let mut refused = self.refused(playbook, rule, &escalation.action, verdicts);
            let priority = walk.floor_with_winner(playbook.fallback.1.priority);
            refused.decision.fate = self.route(&playbook.fallback.1, priority);
            return refused;
        };
        let fate = Ruling::Escalate(Escalate {
            action: (&*escalation.action).into(),
            target: target.into(),
            rollback: (&*escalation.rollback).into(),
            queue: (&*escalation.to.queue).into(),
            priority: walk.floor(escalation.to.priority),
            expires_at: self.received_at.plus(escalation.expires_ms),
            ack_by: self.ack_by(&escalation.to),
            permit: permit.record(),
        });
        self.escalated(playbook, rule, fate, verdicts, permit)
    }

    pub fn containment(
        &self,
        escalation: &'p Escalation,
        supporting: Vec<&'p Rule>,
    ) -> Containment<'p> {
        let target = match escalation.target {
            Target::Credential => Field::CredentialId,
            Target::Nhi => Field::NhiId,
        };
        let target = self.alert.text(target);
        let alert_id = &self.inputs.arrival.alert_id;
        Containment { alert_id, escalation, target, supporting }
    }

    fn escalated(
        &self,
        playbook: &'p Playbook,
        rule: &'p Rule,
        fate: Ruling<'p>,
        verdicts: Verdicts<'p>,
        permit: Permit,
    ) -> Decided<'p> {
        let mut decision = Decision::new(fate, Reason::RuleMatched, &*playbook.name, &*rule.id);
        decision.boundary = verdicts.found;
        Decided { decision, permit: Some(permit) }
    }

    /// The playbook's fallback, with what was blocked and why.
    fn refused(
        &self,
        playbook: &'p Playbook,
        rule: &'p Rule,
        action: &'p str,
        verdicts: Verdicts<'p>,
    ) -> Decided<'p> {
        let asked = (action, verdicts.refusals());
        let mut refused = self.to_fallback(playbook, rule, asked, Reason::BoundaryRefused);
        refused.decision.boundary = verdicts.found;
        refused
    }

    fn to_fallback(
        &self,
        playbook: &'p Playbook,
        rule: &'p Rule,
        (action, why): (&'p str, String),
        reason: Reason,
    ) -> Decided<'p> {
        let (fallback_rule, to) = &playbook.fallback;
        let fate = self.route(to, to.priority);
        let mut decision = Decision::new(fate, reason, &*playbook.name, &**fallback_rule);
        let (action, rule) = (action.into(), (&*rule.id).into());
        decision.blocked = vec![Blocked { action, rule, why: why.into() }];
        decided(decision)
    }

    /// What is not known exactly may be too far.
    fn spread_too_far(&self, playbook: &Playbook) -> Option<String> {
        let out = playbook.break_out()?;
        let breadth = self.inputs.counters.breadth.as_ref();
        let breadth = breadth.filter(|it| field_named(&it.distinct) == Some(out.distinct))?;
        let (count, about) = match breadth.count {
            Count::Exactly(count) if count <= i64::from(out.over) => return None,
            Count::Exactly(count) => (count, "there are"),
            Count::AtLeast { at_least } => (at_least, "there are at least"),
        };
        let BreakOut { distinct, over } = out;
        Some(format!("{about} {count} of `{}`, and {over} are allowed", distinct.path()))
    }
}
