use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tracing::{info, warn};

use super::reload::tell_refused;
use super::setup::InForce;
use crate::case::Millis;
use crate::observe::{Metrics, PolicyMetrics};
use crate::pipeline::Active;
use crate::policy::Policy;

/// Rules of one line in the log; the others are in the metrics.
const IDLE_SHOWN: usize = 50;

/// What the policy of this process is, for `/policy`, `/readyz`, metrics and log.
pub(super) struct PolicyState {
    in_force: InForce,
    metrics: PolicyMetrics,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    activated_at: Option<Millis>,
    /// Since when, and what is wrong with the files.
    refused: Option<(Millis, Vec<String>)>,
    /// A newer policy than ours, by hash and generation.
    newer: Option<(String, i64)>,
    needs_restart: bool,
}

impl PolicyState {
    pub fn new(in_force: &InForce, metrics: &Metrics) -> Self {
        let (in_force, metrics) = (in_force.clone(), metrics.policy.clone());
        Self { in_force, metrics, told: Mutex::default() }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A policy is in force from now on; only where there is triage do its rules count.
    pub fn begin(&self, active: &Active, at: Millis, rules: bool) {
        let names = if rules { names(&active.policy) } else { BTreeSet::new() };
        self.metrics.begin(active.generation, at, names);
        let mut told = self.told();
        told.activated_at = Some(at);
        told.newer = None;
    }

    /// The files are right.
    pub fn read(&self, is_other: bool) {
        let was_refused = self.told().refused.take().is_some();
        self.metrics.refused.set(0);
        let result = if is_other { "applied" } else { "same" };
        self.metrics.reloads.with_label_values(&[result]).inc();
        if !is_other {
            let again = if was_refused { " again" } else { "" };
            info!("the files were read: they are{again} the policy in force");
        }
    }

    /// The files are wrong, and what was in force stays. The same refusal is told once.
    pub fn refuse(&self, problems: Vec<String>, at: Millis) {
        let mut told = self.told();
        let is_known = told.refused.as_ref().is_some_and(|(_, known)| *known == problems);
        if is_known {
            return;
        }
        tell_refused(&problems);
        self.metrics.refused.set(1);
        self.metrics.reloads.with_label_values(&["refused"]).inc();
        told.refused = Some((at, problems));
    }

    pub fn restart(&self, is_needed: bool) {
        let mut told = self.told();
        if is_needed && !told.needs_restart {
            warn!("tipstaff.yaml has changed: it is read at a start only, restart to use it");
        }
        told.needs_restart = is_needed;
    }

    pub fn newest(&self, hash: &str, generation: i64, active: &Active) {
        self.metrics.newest_generation.set(generation);
        self.metrics.generation.set(active.generation);
        let is_ours = hash == active.policy.hash;
        let mut told = self.told();
        let newer =
            (!is_ours && generation > active.generation).then(|| (hash.to_owned(), generation));
        if let Some((hash, generation)) = newer.as_ref().filter(|_| told.newer != newer) {
            warn!(
                policy = %hash, generation,
                "another process has put policy {hash} of generation {generation} in force; this one still has generation {}",
                active.generation
            );
        }
        told.newer = newer;
    }

    /// One line behind the answer of `/readyz`, if there is something to know.
    pub fn note(&self) -> Option<String> {
        let told = self.told();
        let mut notes = Vec::new();
        if let Some((at, problems)) = &told.refused {
            let first = problems.first().map_or("", String::as_str);
            let count = problems.len();
            notes.push(format!(
                "the files are refused since {at}, an older policy is in force: {count} problem(s), {first}"
            ));
        }
        if let Some((hash, generation)) = &told.newer {
            notes.push(format!("another process has policy {hash} of generation {generation}"));
        }
        if told.needs_restart {
            notes.push("tipstaff.yaml has changed, restart to use it".to_owned());
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    /// What `/policy` answers.
    pub fn json(&self) -> String {
        let active = self.in_force.policy.get();
        let told = self.told();
        let signers = active.signers.iter();
        let signers: Vec<Value> =
            signers.map(|each| json!({"person": each.person, "key": each.key})).collect();
        let refused = told.refused.as_ref();
        let refused = refused.map(|(at, problems)| json!({"since": at, "problems": problems}));
        let newer = told.newer.as_ref();
        let newer = newer.map(|(hash, generation)| json!({"hash": hash, "generation": generation}));
        let shadows = self.metrics.shadow_rulings().into_iter().map(|(labels, count)| {
            let [playbook, live, shadow, differs] = labels;
            json!({"playbook": playbook, "live": live, "shadow": shadow, "differs": differs, "count": count})
        });
        let answer = json!({
            "hash": active.policy.hash, "generation": active.generation,
            "activated_at": told.activated_at, "signers": signers, "refused": refused,
            "newer": newer, "needs_restart": told.needs_restart,
            "rules": self.rules(&active.policy), "shadows": shadows.collect::<Vec<_>>(),
        });
        format!("{answer}\n")
    }

    fn rules(&self, policy: &Policy) -> Vec<Value> {
        let mut rules = Vec::new();
        for playbook in policy.playbooks() {
            for rule in &playbook.rules {
                let (hits, last) = self.metrics.hits_of(&playbook.name, &rule.id);
                rules.push(json!({
                    "playbook": playbook.name, "mode": playbook.mode.name(), "rule": rule.id,
                    "hits": hits, "last_hit": last,
                }));
            }
        }
        rules
    }

    /// Rules that look active and do nothing.
    pub fn report_idle_rules(&self) {
        let active = self.in_force.policy.get();
        let is_idle =
            |(playbook, rule): &(String, String)| self.metrics.hits_of(playbook, rule).0 == 0;
        let idle: Vec<String> = names(&active.policy)
            .into_iter()
            .filter(is_idle)
            .map(|(playbook, rule)| format!("{playbook}/{rule}"))
            .collect();
        if idle.is_empty() {
            return;
        }
        let count = idle.len();
        let shown = idle.into_iter().take(IDLE_SHOWN).collect::<Vec<_>>().join(", ");
        warn!(count, "{count} rule(s) gave no ruling since this process began: {shown}");
    }
}

fn names(policy: &Policy) -> BTreeSet<(String, String)> {
    let playbooks = policy.playbooks().iter();
    let rules = playbooks.flat_map(|playbook| {
        playbook.rules.iter().map(|rule| (playbook.name.clone(), rule.id.clone()))
    });
    rules.collect()
}
