use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::enricher::{EnricherConfig, KeySpec, enricher};
use super::examples::check_examples;
use super::files::{File, Files, SERVICE_FILE};
use super::schemas::schema_kind;
use super::service::ServiceConfig;
use super::sink::{SinkConfig, check_named, check_queues, sink};
use crate::case::Field;
use crate::clause::Schema;
use crate::normalize::{self, Pipelines};
use crate::policy::{self, Closing, Policy};
use crate::text::{At, Problem, Problems, Source};

/// A configuration without a mistake.
#[derive(Debug)]
pub struct Checked {
    pub pipelines: Arc<Pipelines>,
    pub policy: Arc<Policy>,
    /// In the order of their folders' names; facts are called by this index.
    pub enrichers: Vec<EnricherConfig>,
    /// In the order of their names, those that are not switched on too.
    pub sinks: Vec<SinkConfig>,
    pub service: Option<ServiceConfig>,
    /// Every file the policy is made of, by path from the root, in order.
    pub bundle: Vec<(String, String)>,
    /// SHA-256 of the bundle in hexadecimal: the name of this policy in every record.
    pub policy_hash: String,
}

impl Checked {
    /// What people sign: the policy's hash, and each of its files as `sha256sum` shows it.
    pub fn statement(&self) -> String {
        let files = self.bundle.iter().map(|(path, text)| {
            let digest = crate::case::hex(&Sha256::digest(text.as_bytes()));
            format!("{digest}  {path}\n")
        });
        format!("tipstaff policy 1\nhash {}\n{}", self.policy_hash, files.collect::<String>())
    }
}

/// What a file is, by its path from the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Pipeline,
    Aliases,
    Enricher,
    Playbook,
    Boundary,
    Action,
    Sink,
    /// A table, an example, the service's file: nothing of the policy.
    Other,
}

/// Checks every file and the whole they make.
///
/// Errors: all problems of all files, in file order.
pub fn load(files: &Files) -> Result<Checked, Vec<Problem>> {
    let mut problems = Problems::default();
    for unread in &files.unread {
        problems.add(&unread.at, &unread.message);
    }
    check_places(files, &mut problems);
    let service = files.get(SERVICE_FILE);
    let service = service.and_then(|file| ServiceConfig::read(&file.source, &mut problems));
    let (enrichers, schema) = enrichers(files, &mut problems);
    let sinks = sinks(files, &schema, &mut problems);
    let pipelines = normalize::compile(
        &sources(files, Part::Pipeline),
        sources(files, Part::Aliases).first(),
        &mut problems,
    );
    if let Some(pipelines) = &pipelines {
        check_examples(files, pipelines, &mut problems);
        let webhooks = service.as_ref().and_then(|service| service.webhooks.as_ref());
        if let Some(webhooks) = webhooks {
            webhooks.check_pipelines(pipelines, &mut problems);
        }
    }
    let policy = policy::compile(
        &sources(files, Part::Playbook),
        &sources(files, Part::Boundary),
        &sources(files, Part::Action),
        schema,
        &mut problems,
    );
    if let Some(policy) = &policy {
        check_queues(&sinks, policy.queues().iter().copied(), &mut problems);
        check_closings(policy, &enrichers, &mut problems);
        let webhooks = service.as_ref().and_then(|service| service.webhooks.as_ref());
        if let Some(callbacks) = webhooks.and_then(|webhooks| webhooks.callbacks.as_ref()) {
            callbacks.check(&sinks, &policy.boundary().authority, &mut problems);
        }
    }
    check_switched_on(service.as_ref(), &sinks, files, &mut problems);
    let bundle: Vec<(String, String)> = files
        .iter()
        .filter(|(path, _)| !matches!(part(path), Part::Other | Part::Aliases))
        .map(|(path, file)| (path.to_owned(), file.source.text.clone()))
        .collect();
    let policy_hash = policy_hash(&bundle);
    match (problems.is_empty(), pipelines, policy) {
        (true, Some(pipelines), Some(mut policy)) => {
            policy.hash.clone_from(&policy_hash);
            let (pipelines, policy) = (Arc::new(pipelines), Arc::new(policy));
            Ok(Checked { pipelines, policy, enrichers, sinks, service, bundle, policy_hash })
        }
        _ => Err(problems.into_sorted()),
    }
}

/// Whom a closing asks must be asked by what a case has, or nothing could ever be closed.
fn check_closings(policy: &Policy, enrichers: &[EnricherConfig], problems: &mut Problems) {
    for closing in policy.playbooks().iter().filter_map(|each| each.closing.as_ref()) {
        for (index, at) in &closing.declared {
            let shape = policy.schema().enrichers.get(*index);
            let config = enrichers.iter().find(|each| shape.is_some_and(|it| it.name == each.name));
            let Some(config) = config else { continue };
            let is_of_case = |field: &Field| Closing::OF_CASE.contains(field);
            let (has_key, paths) = match &config.key {
                KeySpec::All(fields) => (fields.iter().all(is_of_case), fields),
                KeySpec::First(fields) => (fields.iter().any(is_of_case), fields),
            };
            if !has_key {
                let paths: Vec<&str> = paths.iter().map(|field| field.path()).collect();
                let (name, paths) = (&config.name, paths.join(", "));
                let message = format!(
                    "`{name}` is looked up by {paths}, and a case that is closed has its identity and credential alone"
                );
                problems.add(at, message);
            }
        }
    }
}

/// The schema has those with a mistake too: a condition over their facts is not another one.
fn enrichers(files: &Files, problems: &mut Problems) -> (Vec<EnricherConfig>, Schema) {
    let (mut configs, mut shapes) = (Vec::new(), Vec::new());
    for (path, file) in of_part(files, Part::Enricher) {
        let (shape, config) = enricher(&file.source, folder(path), problems);
        shapes.extend(shape);
        configs.extend(config);
    }
    (configs, Schema { enrichers: shapes, ..Schema::default() })
}

fn sinks(files: &Files, schema: &Schema, problems: &mut Problems) -> Vec<SinkConfig> {
    let read = |(path, file): (&str, &File)| {
        let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".yaml");
        sink(&file.source, name, schema, problems)
    };
    of_part(files, Part::Sink).filter_map(read).collect()
}

/// A file that has a mistake itself is not one that is missing.
fn check_switched_on(
    service: Option<&ServiceConfig>,
    sinks: &[SinkConfig],
    files: &Files,
    problems: &mut Problems,
) {
    let Some(service) = service else { return };
    let is_read = |(name, _): &&(String, At)| {
        let path = format!("playbooks/sinks/{name}.yaml");
        files.get(&path).is_none() || sinks.iter().any(|sink| sink.name == *name)
    };
    let named: Vec<_> = service.sinks.iter().filter(is_read).cloned().collect();
    let services: Vec<&str> = service.services.iter().map(|each| each.name.as_str()).collect();
    check_named(&named, sinks, &services, problems);
}

fn sources(files: &Files, wanted: Part) -> Vec<Source> {
    of_part(files, wanted).map(|(_, file)| file.source.clone()).collect()
}

fn of_part(files: &Files, wanted: Part) -> impl Iterator<Item = (&str, &File)> {
    files.iter().filter(move |(path, _)| part(path) == wanted)
}

fn part(path: &str) -> Part {
    match schema_kind(path) {
        Some("pipeline") => Part::Pipeline,
        Some("enricher") => Part::Enricher,
        Some("playbook") => Part::Playbook,
        Some("boundary") => Part::Boundary,
        Some("action") => Part::Action,
        Some("sink") => Part::Sink,
        _ if path == "pipelines/aliases.csv" => Part::Aliases,
        _ => Part::Other,
    }
}

/// Whether a file is of the policy's bundle, or is in its place and lost.
#[cfg(feature = "shell")]
pub(super) fn is_policy(path: &str) -> bool {
    path.starts_with("playbooks/") || !matches!(part(path), Part::Other | Part::Aliases)
}

pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A file that nothing reads is a rule somebody believes in.
fn check_places(files: &Files, problems: &mut Problems) {
    for (path, file) in files.iter() {
        let has_no_folder = path.split('/').count() == 2;
        let is_lost =
            part(path) == Part::Other && (path.starts_with("playbooks/") || has_no_folder);
        if is_lost || path.ends_with(".yml") {
            let at = At { path: file.source.path.clone(), line: 1, column: 1 };
            problems.add(&at, "nothing reads a file of this name in this place");
        }
    }
    for (kind, name) in [("pipelines", "pipeline.yaml"), ("enrichers", "enricher.yaml")] {
        let mut last = "";
        for (path, file) in files.iter() {
            let mut parts = path.split('/');
            let (top, second, third) = (parts.next(), parts.next(), parts.next());
            let (Some(second), Some(_), true) = (second, third, top == Some(kind)) else {
                continue;
            };
            if last != second && files.get(&format!("{kind}/{second}/{name}")).is_none() {
                let at = At { path: file.source.path.clone(), line: 1, column: 1 };
                problems.add(&at, format!("`{kind}/{second}` has no {name}"));
            }
            last = second;
        }
    }
}

/// Each part with its length in front, so that no two bundles hash alike.
fn policy_hash(bundle: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for part in bundle.iter().flat_map(|(path, text)| [path, text]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    crate::case::hex(&hash.finalize())
}
