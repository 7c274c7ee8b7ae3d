use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::case::Millis;

/// The policy in force, its rules and its shadows. Labels are names out of the policy's own files.
#[derive(Clone)]
pub struct PolicyMetrics {
    /// Whole sets of files that were read again. Label: what became of it (3 values).
    pub reloads: IntCounterVec,
    /// 1 while the files differ from the policy in force because they were refused.
    pub refused: IntGauge,
    pub generation: IntGauge,
    /// Of the newest policy that any process has stored.
    pub newest_generation: IntGauge,
    pub activated_seconds: IntGauge,
    hits: IntCounterVec,
    last_hit_seconds: IntGaugeVec,
    /// Rulings of playbooks in shadow. Labels: playbook, live fate, shadow fate, what differs.
    pub shadows: IntCounterVec,
    rules: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl PolicyMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, about: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, about), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, about: &str| {
            let gauge = IntGauge::new(name, about)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let about = "When a rule last gave a ruling; 0: never since this process began";
        let last_hit_seconds = IntGaugeVec::new(
            Opts::new("tipstaff_rule_last_hit_timestamp_seconds", about),
            &["playbook", "rule"],
        )?;
        registry.register(Box::new(last_hit_seconds.clone()))?;
        Ok(Self {
            reloads: counters(
                "tipstaff_policy_reloads_total",
                "Policies read again, by what became of them",
                &["result"],
            )?,
            refused: gauge(
                "tipstaff_policy_refused",
                "1 while the files are refused and an older policy is in force",
            )?,
            generation: gauge(
                "tipstaff_policy_generation",
                "Generation of the policy in force in this process",
            )?,
            newest_generation: gauge(
                "tipstaff_policy_newest_generation",
                "Generation of the newest policy that any process has stored",
            )?,
            activated_seconds: gauge(
                "tipstaff_policy_activated_timestamp_seconds",
                "When this process took up the policy in force",
            )?,
            hits: counters(
                "tipstaff_rule_hits_total",
                "Rulings that each rule gave, those of playbooks in shadow too",
                &["playbook", "rule"],
            )?,
            last_hit_seconds,
            shadows: counters(
                "tipstaff_shadow_rulings_total",
                "Rulings of playbooks in shadow beside the fate, and in what they differ from it",
                &["playbook", "live", "shadow", "differs"],
            )?,
            rules: Arc::default(),
        })
    }

    /// A policy is in force from now on: all its rules are there, at zero, and no others.
    pub fn begin(&self, generation: i64, at: Millis, rules: BTreeSet<(String, String)>) {
        self.generation.set(generation);
        self.newest_generation.set(self.newest_generation.get().max(generation));
        self.activated_seconds.set(seconds(at));
        let mut known = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        for (playbook, rule) in known.difference(&rules) {
            let labels = [playbook.as_str(), rule.as_str()];
            // Both are there, since they were known.
            self.hits.remove_label_values(&labels).ok();
            self.last_hit_seconds.remove_label_values(&labels).ok();
        }
        for (playbook, rule) in &rules {
            self.hits.with_label_values(&[playbook, rule]);
            self.last_hit_seconds.with_label_values(&[playbook, rule]);
        }
        *known = rules;
    }

    /// What is no rule of the policy (`none`, a pipeline's `not_an_alert`) is not counted.
    pub fn hit(&self, playbook: &str, rule: &str, count: u64, last: Millis) {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if !rules.contains(&(playbook.to_owned(), rule.to_owned())) {
            return;
        }
        self.hits.with_label_values(&[playbook, rule]).inc_by(count);
        let newest = self.last_hit_seconds.with_label_values(&[playbook, rule]);
        newest.set(newest.get().max(seconds(last)));
    }

    /// Counted rulings of playbooks in shadow: playbook, live fate, shadow fate, what differs.
    pub fn shadow_rulings(&self) -> Vec<([String; 4], u64)> {
        let mut all = Vec::new();
        for family in self.shadows.collect() {
            for metric in family.get_metric() {
                let value = |name: &str| {
                    let label = metric.get_label().iter().find(|label| label.name() == name);
                    label.map_or_else(String::new, |label| label.value().to_owned())
                };
                let labels = ["playbook", "live", "shadow", "differs"].map(value);
                let count = self.shadows.with_label_values(&labels.each_ref().map(|l| &**l)).get();
                all.push((labels, count));
            }
        }
        all.sort();
        all
    }

    /// How often a rule gave a ruling, and when it last did.
    pub fn hits_of(&self, playbook: &str, rule: &str) -> (u64, Option<Millis>) {
        let count = self.hits.with_label_values(&[playbook, rule]).get();
        let last = self.last_hit_seconds.with_label_values(&[playbook, rule]).get();
        (count, (last > 0).then(|| Millis(last.saturating_mul(1000))))
    }
}

fn seconds(at: Millis) -> i64 {
    at.0 / 1000
}
