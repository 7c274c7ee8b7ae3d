use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tracing::{info, warn};

use super::setup::{Failure, InForce};
use crate::case::Millis;
use crate::observe::{Metrics, PolicyMetrics, PolicyNames};
use crate::pipeline::Active;
use crate::policy::{Mode, Playbook, Policy};
use crate::text::Problem;

/// Rules of one line in the log; the others are in the metrics.
const IDLE_SHOWN: usize = 50;

/// What the policy of this process is, for `/policy`, `/readyz`, metrics and log.
pub(super) struct PolicyState {
    in_force: InForce,
    /// Only where there is triage do rules and shadows count.
    rules: bool,
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

/// Why a whole set of files is not taken up.
pub(super) enum Refusal {
    Files(Vec<Problem>),
    /// Nothing in the files.
    Cluster(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Configuration(problems) => Self::Files(problems),
            other => Self::Cluster(other),
        }
    }
}

impl PolicyState {
    pub fn new(in_force: &InForce, rules: bool, metrics: &Metrics) -> Self {
        let (in_force, metrics) = (in_force.clone(), metrics.policy.clone());
        Self { in_force, rules, metrics, told: Mutex::default() }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a policy can rule, so that its first ruling is counted.
    pub fn expect(&self, policy: &Policy) {
        self.metrics.expect(&self.names(policy));
    }

    /// What is in force is so from now on.
    pub fn begin(&self, at: Millis) {
        let active = self.in_force.policy.get();
        self.metrics.begin(active.generation, at, self.names(&active.policy));
        let mut told = self.told();
        told.activated_at = Some(at);
        told.newer = None;
    }

    /// Puts another policy in force; told only when it is.
    pub fn put(&self, active: Active, at: Millis) {
        self.expect(&active.policy);
        self.in_force.policy.put(Arc::new(active));
        self.begin(at);
        self.accept("applied");
    }

    /// The files were read, and are the policy in force.
    pub fn same(&self) {
        let again = if self.accept("same") { " again" } else { "" };
        info!("the files were read: they are{again} the policy in force");
    }

    /// True when they were refused before.
    fn accept(&self, result: &str) -> bool {
        self.metrics.refused.set(0);
        self.metrics.reloads.with_label_values(&[result]).inc();
        self.told().refused.take().is_some()
    }

    /// What was in force stays, and nobody is to believe in a rule that is not. The same refusal is
    /// told once.
    pub fn refuse(&self, refusal: Refusal, at: Millis) {
        let (what, problems): (_, Vec<String>) = match refusal {
            Refusal::Files(problems) => {
                ("are not right", problems.iter().map(ToString::to_string).collect())
            }
            Refusal::Cluster(failure) => ("can't be put in force", vec![failure.to_string()]),
        };
        let mut told = self.told();
        let since = match &told.refused {
            Some((_, known)) if *known == problems => return,
            Some((since, _)) => *since,
            None => at,
        };
        warn!("the files have changed and {what}; the policy before them stays in force");
        for problem in &problems {
            warn!("{problem}");
        }
        self.metrics.refused.set(1);
        self.metrics.reloads.with_label_values(&["refused"]).inc();
        told.refused = Some((since, problems));
    }

    pub fn restart(&self, is_needed: bool) {
        let mut told = self.told();
        if is_needed && !told.needs_restart {
            warn!("tipstaff.yaml has changed: it is read at a start only, restart to use it");
        }
        told.needs_restart = is_needed;
    }

    /// A policy that nobody has stored is older than none.
    pub fn newest(&self, hash: &str, generation: i64, active: &Active) {
        self.metrics.newest_generation.set(generation);
        self.metrics.generation.set(active.generation);
        let is_newer =
            hash != active.policy.hash && active.generation > 0 && generation > active.generation;
        let mut told = self.told();
        let newer = is_newer.then(|| (hash.to_owned(), generation));
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
        let rules = self.names(&active.policy).rules.into_iter();
        let idle: Vec<String> =
            rules.filter(is_idle).map(|(playbook, rule)| format!("{playbook}/{rule}")).collect();
        if idle.is_empty() {
            return;
        }
        let count = idle.len();
        let shown = idle.into_iter().take(IDLE_SHOWN).collect::<Vec<_>>().join(", ");
        warn!(count, "{count} rule(s) gave no ruling since this process began: {shown}");
    }

    fn names(&self, policy: &Policy) -> PolicyNames {
        let playbooks = policy.playbooks().iter().filter(|_| self.rules);
        let rules = playbooks.clone().flat_map(|playbook| {
            playbook.rules.iter().map(|rule| (playbook.name.clone(), rule.id.clone()))
        });
        let shadows = playbooks.clone().filter(|playbook| may_shadow(playbook, policy));
        let shadows = shadows.map(|playbook| playbook.name.clone());
        PolicyNames { rules: rules.collect(), shadows: shadows.collect() }
    }
}

/// Beside a canary, the live one is a shadow for the identities that the canary rules.
fn may_shadow(playbook: &Playbook, policy: &Policy) -> bool {
    let is_beside = |other: &Playbook| {
        other.mode == Mode::Canary && other.kinds.iter().any(|kind| playbook.kinds.contains(kind))
    };
    playbook.mode != Mode::Live || policy.playbooks().iter().any(is_beside)
}
