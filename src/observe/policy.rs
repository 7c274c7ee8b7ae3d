use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

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
    /// Suppressions that the boundary refused because their detector's budget was spent.
    pub over_budget: IntCounter,
    hits: IntCounterVec,
    last_hit_seconds: IntGaugeVec,
    /// Rulings of playbooks in shadow. Labels: playbook, live fate, shadow fate, what differs.
    shadows: IntCounterVec,
    counted: Arc<Mutex<Names>>,
}

/// What of a policy is counted; anything else is not.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Playbook and rule.
    pub rules: BTreeSet<(String, String)>,
    /// Playbooks that may rule in shadow.
    pub shadows: BTreeSet<String>,
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
        let about = "Suppressions refused because their detector's budget was spent";
        let over_budget = IntCounter::new("tipstaff_suppress_budget_refusals_total", about)?;
        registry.register(Box::new(over_budget.clone()))?;
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
            over_budget,
            last_hit_seconds,
            shadows: counters(
                "tipstaff_shadow_rulings_total",
                "Rulings of playbooks in shadow beside the fate, and in what they differ from it",
                &["playbook", "live", "shadow", "differs"],
            )?,
            counted: Arc::default(),
        })
    }

    fn counted(&self) -> MutexGuard<'_, Names> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These may rule from now on: all rules are there, at zero.
    pub fn expect(&self, names: &Names) {
        let mut counted = self.counted();
        for (playbook, rule) in &names.rules {
            self.hits.with_label_values(&[playbook, rule]);
            self.last_hit_seconds.with_label_values(&[playbook, rule]);
        }
        counted.rules.extend(names.rules.iter().cloned());
        counted.shadows.extend(names.shadows.iter().cloned());
    }

    /// A policy is in force: what was counted of another is not there any more.
    pub fn begin(&self, generation: i64, at: Millis, names: Names) {
        self.expect(&names);
        self.generation.set(generation);
        self.newest_generation.set(self.newest_generation.get().max(generation));
        self.activated_seconds.set(seconds(at));
        let mut counted = self.counted();
        for (playbook, rule) in counted.rules.difference(&names.rules) {
            let labels = [playbook.as_str(), rule.as_str()];
            // Both are there, since they were expected.
            self.hits.remove_label_values(&labels).ok();
            self.last_hit_seconds.remove_label_values(&labels).ok();
        }
        for labels in self.shadow_labels() {
            let [playbook, ..] = &labels;
            if !names.shadows.contains(playbook) {
                self.shadows.remove_label_values(&labels.each_ref().map(|label| &**label)).ok();
            }
        }
        *counted = names;
    }

    /// What is no rule of the policy (`none`, a pipeline's `not_an_alert`) is not counted.
    pub fn hit(&self, playbook: &str, rule: &str, count: u64, last: Millis) {
        if !self.counted().has(playbook, rule) {
            return;
        }
        self.hits.with_label_values(&[playbook, rule]).inc_by(count);
        let newest = self.last_hit_seconds.with_label_values(&[playbook, rule]);
        newest.set(newest.get().max(seconds(last)));
    }

    /// Rulings of a playbook in shadow, with the labels of their comparison.
    pub fn compared(&self, labels: [&str; 4], count: u64) {
        let [playbook, ..] = labels;
        if self.counted().shadows.contains(playbook) {
            self.shadows.with_label_values(&labels).inc_by(count);
        }
    }

    /// Counted rulings of playbooks in shadow: playbook, live fate, shadow fate, what differs.
    pub fn shadow_rulings(&self) -> Vec<([String; 4], u64)> {
        // Nobody takes away meanwhile what would be made again here.
        let _counted = self.counted();
        let mut all = self.shadow_labels();
        all.sort();
        let with_count = |labels: [String; 4]| {
            let names = labels.each_ref().map(|label| &**label);
            let count = self.shadows.with_label_values(&names).get();
            (labels, count)
        };
        all.into_iter().map(with_count).collect()
    }

    fn shadow_labels(&self) -> Vec<[String; 4]> {
        let families = self.shadows.collect();
        let metrics = families.iter().flat_map(MetricFamily::get_metric);
        let labels = metrics.map(|metric| {
            ["playbook", "live", "shadow", "differs"].map(|name| {
                let label = metric.get_label().iter().find(|label| label.name() == name);
                label.map_or_else(String::new, |label| label.value().to_owned())
            })
        });
        labels.collect()
    }

    /// How often a rule gave a ruling, and when it last did.
    pub fn hits_of(&self, playbook: &str, rule: &str) -> (u64, Option<Millis>) {
        if !self.counted().has(playbook, rule) {
            return (0, None);
        }
        let count = self.hits.with_label_values(&[playbook, rule]).get();
        let last = self.last_hit_seconds.with_label_values(&[playbook, rule]).get();
        (count, (last > 0).then(|| Millis(last.saturating_mul(1000))))
    }
}

impl Names {
    fn has(&self, playbook: &str, rule: &str) -> bool {
        self.rules.contains(&(playbook.to_owned(), rule.to_owned()))
    }
}

fn seconds(at: Millis) -> i64 {
    at.0 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rules: &[(&str, &str)], shadows: &[&str]) -> Names {
        let rules = rules.iter().map(|(playbook, rule)| ((*playbook).into(), (*rule).into()));
        Names {
            rules: rules.collect(),
            shadows: shadows.iter().map(|name| (*name).into()).collect(),
        }
    }

    /// Names of the series that are there for a playbook.
    fn series(registry: &Registry, playbook: &str) -> Vec<String> {
        let mut found = Vec::new();
        for family in registry.gather() {
            let is_its = |label: &prometheus::proto::LabelPair| label.value() == playbook;
            let metrics = family.get_metric().iter();
            let its = metrics.filter(|metric| metric.get_label().iter().any(is_its));
            found.extend(its.map(|_| family.name().to_owned()));
        }
        found
    }

    #[test]
    fn what_is_no_rule_has_no_series_and_asking_makes_none() {
        let registry = Registry::new();
        let metrics = PolicyMetrics::new(&registry).unwrap();
        assert_eq!(metrics.hits_of("a", "r"), (0, None));
        metrics.hit("a", "r", 1, Millis(1000));
        metrics.compared(["a", "route", "hold", "fate"], 1);
        assert_eq!(series(&registry, "a"), [""; 0]);
        metrics.expect(&names(&[("a", "r")], &[]));
        metrics.hit("a", "r", 2, Millis(3000));
        metrics.begin(1, Millis(0), names(&[("a", "r")], &[]));
        assert_eq!(metrics.hits_of("a", "r"), (2, Some(Millis(3000))), "counted from the first on");
    }

    #[test]
    fn what_was_counted_of_rules_and_shadows_goes_with_them() {
        let registry = Registry::new();
        let metrics = PolicyMetrics::new(&registry).unwrap();
        metrics.begin(1, Millis(0), names(&[("a", "r"), ("b", "r")], &["b", "c"]));
        for playbook in ["b", "c"] {
            metrics.compared([playbook, "route", "hold", "fate"], 2);
            metrics.compared([playbook, "route", "route", "no"], 3);
        }
        assert_eq!(series(&registry, "b").len(), 4, "{:?}", series(&registry, "b"));
        // One goes live, the other stays.
        let next = names(&[("a", "r"), ("b", "r")], &["c"]);
        metrics.expect(&next);
        assert_eq!(metrics.shadow_rulings().len(), 4, "not before it is in force");
        metrics.begin(2, Millis(0), next);
        let left = metrics.shadow_rulings();
        assert!(left.iter().all(|(labels, _)| labels[0] == "c"), "{left:?}");
        assert_eq!(left.iter().map(|(_, count)| count).sum::<u64>(), 5);
        // What comes late of the policy before does not bring them back.
        metrics.compared(["b", "route", "route", "no"], 1);
        metrics.begin(3, Millis(0), names(&[("a", "r")], &["c"]));
        metrics.hit("b", "r", 1, Millis(0));
        assert_eq!(series(&registry, "b"), [""; 0]);
    }
}
