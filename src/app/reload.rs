//! Reads a changed policy again under running workers, whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::cluster::Cluster;
use super::policies::{Back, Newest, activate};
use super::policy_state::PolicyState;
use super::run::{Options, Role};
use super::setup::{Failure, InForce, Loaded};
use super::signers::{signature_files, signers};
use crate::config::{Checked, Files, Look, SERVICE_FILE, SigningConfig, load, stamp};
use crate::enrich::Enrichers;
use crate::ingest::Admin;
use crate::pipeline::{Active, Clock, Drain};
use crate::text::{At, Problem};

/// Files are read when two looks in a row found them the same, so that none is read half written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const NEWEST_EVERY: Duration = Duration::from_secs(10);
/// What the cluster refused may be allowed later: a topic is created, a broker answers.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
const REPORT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Asks for the files to be read again. A clone asks the same process.
#[derive(Debug, Clone, Default)]
pub struct Reload(Arc<AtomicBool>);

impl Reload {
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

pub(super) struct Reloader {
    directory: PathBuf,
    /// As they were read at the start.
    files: Files,
    signing: Option<SigningConfig>,
    /// Of the policy in force.
    bundle: Vec<(String, String)>,
    in_force: InForce,
    enrichers: Arc<Enrichers>,
    cluster: Cluster,
    /// Nothing in a process that does not rule.
    newest: Option<Newest>,
    state: Arc<PolicyState>,
    reload: Reload,
    clock: Clock,
    /// As the files were when they were read last, rightly or not.
    read: Look,
    /// As they were at the last look.
    seen: Look,
    again: Option<Instant>,
}

/// What reading again came to.
enum Outcome {
    Applied,
    Same,
}

/// Why it came to nothing.
enum Refusal {
    Files(Vec<Problem>),
    /// Nothing in the files: it is tried again.
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

impl Reloader {
    /// Nothing where the files are inside the program, which never change.
    pub fn new(
        cluster: Cluster,
        loaded: &Loaded,
        options: &Options,
        state: &Arc<PolicyState>,
    ) -> Result<Option<Self>, Failure> {
        let Some(directory) = loaded.directory.clone() else { return Ok(None) };
        let rules = options.roles.contains(&Role::Triage);
        let newest = rules.then(|| Newest::follow(&cluster)).transpose()?;
        let mut reloader = Self {
            directory,
            files: loaded.files.clone(),
            signing: loaded.service()?.signing.clone(),
            bundle: loaded.checked.bundle.clone(),
            in_force: loaded.in_force.clone(),
            enrichers: Arc::clone(&loaded.enrichers),
            cluster,
            newest,
            state: Arc::clone(state),
            reload: options.reload.clone(),
            clock: Arc::clone(&options.clock),
            read: loaded.files.looked(),
            seen: Look::new(),
            again: None,
        };
        let service = loaded
            .files
            .get(SERVICE_FILE)
            .and_then(|file| Some((file.modified?, file.source.text.len() as u64)));
        reloader.read.insert(SERVICE_FILE.to_owned(), service);
        let signatures = reloader.look_at_signatures();
        reloader.read.extend(signatures);
        Ok(Some(reloader))
    }

    /// Starts looking, on a thread of its own, until the drain.
    pub fn run(mut self, drain: &Drain) {
        let drain = drain.clone();
        std::thread::spawn(move || {
            let (mut asked, mut reported) = (Instant::now(), Instant::now());
            while !drain.is_started() {
                std::thread::sleep(LOOK_EVERY);
                self.look();
                if asked.elapsed() >= NEWEST_EVERY {
                    asked = Instant::now();
                    self.look_at_newest();
                }
                if reported.elapsed() >= REPORT_EVERY && self.newest.is_some() {
                    reported = Instant::now();
                    self.state.report_idle_rules();
                }
            }
        });
    }

    fn look_at_signatures(&self) -> Look {
        let Some(config) = &self.signing else { return Look::new() };
        let mut paths = signature_files(config, &self.directory);
        paths.push(self.directory.join(&config.allowed_signers));
        paths.into_iter().map(|path| (path.display().to_string(), stamp(&path))).collect()
    }

    fn look(&mut self) {
        let mut now = self.files.look(&self.directory);
        now.insert(SERVICE_FILE.to_owned(), stamp(&self.directory.join(SERVICE_FILE)));
        now.extend(self.look_at_signatures());
        let has_settled = now == self.seen;
        self.seen = now;
        let is_due = self.again.is_some_and(|at| at <= Instant::now());
        let has_changed = has_settled && self.seen != self.read;
        if !(self.reload.take() || is_due || has_changed) {
            return;
        }
        self.read.clone_from(&self.seen);
        self.again = None;
        self.look_at_service_file();
        match self.read_again() {
            Ok(outcome) => self.state.read(matches!(outcome, Outcome::Applied)),
            Err(refusal) => {
                let problems = match refusal {
                    Refusal::Files(problems) => problems.iter().map(ToString::to_string).collect(),
                    Refusal::Cluster(failure) => {
                        self.again = Some(Instant::now() + AGAIN_AFTER);
                        vec![failure.to_string()]
                    }
                };
                self.state.refuse(problems, (self.clock)());
            }
        }
    }

    /// The service's own file is read at a start only.
    fn look_at_service_file(&self) {
        let loaded = self.files.get(SERVICE_FILE).map(|file| file.source.text.as_str());
        let now = std::fs::read_to_string(self.directory.join(SERVICE_FILE)).ok();
        self.state.restart(loaded != now.as_deref());
    }

    /// INVARIANT (INV-7): the policy is stored before any worker can take it up, and nothing of a
    /// set of files is used unless all of it can be.
    fn read_again(&mut self) -> Result<Outcome, Refusal> {
        let files = self.files.reread(&self.directory);
        let checked = load(&files).map_err(Refusal::Files)?;
        let active = self.in_force.policy.get();
        if checked.policy_hash == active.policy.hash {
            return Ok(Outcome::Same);
        }
        let restart = self.needs_restart(&checked);
        if !restart.is_empty() {
            return Err(Refusal::Files(restart));
        }
        let signing = self.signing.as_ref();
        let signers = signers(&checked, signing, &self.directory, (self.clock)());
        let signers = signers.map_err(Refusal::Files)?;
        let generation = match &self.newest {
            None => 0,
            Some(_) => self.store(&checked, &active.policy.hash)?,
        };
        info!(policy = %checked.policy_hash, generation, "the files have changed: policy is stored");
        let Checked { policy, pipelines, bundle, .. } = checked;
        self.bundle = bundle;
        self.in_force.pipelines.put(pipelines);
        self.enrichers.rule_within(policy.least_ages_ms());
        let active = Arc::new(Active { policy, generation, signers });
        self.in_force.policy.put(Arc::clone(&active));
        self.state.begin(&active, (self.clock)(), self.newest.is_some());
        Ok(Outcome::Applied)
    }

    fn store(&self, checked: &Checked, in_force: &str) -> Result<i64, Failure> {
        let admin = Admin::connect(&self.cluster.settings)?;
        self.cluster.check_outputs(&admin, &checked.policy)?;
        // Where signatures are required, to have changed a file is no authority to go back.
        let must_sign = self.signing.as_ref().is_some_and(|signing| signing.required > 0);
        let back = if must_sign { Back::Never } else { Back::From(in_force) };
        activate(&self.cluster, &checked.policy_hash, &checked.bundle, back)
    }

    /// What a running process can't take up, each at the file that asks for it.
    fn needs_restart(&self, checked: &Checked) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |path: &str, message: String| {
            let at = At { path: path.into(), line: 1, column: 1 };
            problems.push(Problem::new(at, message));
        };
        let enrichers = |bundle: &[(String, String)]| -> Vec<(String, String)> {
            let is_enricher = |(path, _): &&(String, String)| path.starts_with("enrichers/");
            bundle.iter().filter(is_enricher).cloned().collect()
        };
        let (before, now) = (enrichers(&self.bundle), enrichers(&checked.bundle));
        let is_changed = |file: &&(String, String)| !(before.contains(file) && now.contains(file));
        let mut changed: Vec<&str> =
            before.iter().chain(&now).filter(is_changed).map(|(path, _)| path.as_str()).collect();
        changed.dedup();
        for path in changed {
            add(
                path,
                "has changed, and enrichers are set up at a start: restart to use it".to_owned(),
            );
        }
        let (old, new) = (self.in_force.pipelines.get(), &checked.pipelines);
        let topics = (old.topics(), new.topics());
        for topic in topics.0.symmetric_difference(&topics.1) {
            let is_new = topics.1.contains(topic);
            let pipelines = if is_new { new.list() } else { old.list() };
            let file = pipelines.iter().find(|each| each.topic == **topic);
            let what = if is_new { "is to be read" } else { "is not to be read any more" };
            let message = format!("topic `{topic}` {what}: restart to change what is read");
            add(file.map_or("pipelines", |pipeline| &*pipeline.file), message);
        }
        problems
    }

    /// Another process may have stored a newer policy; which one rules is for each chain to say.
    fn look_at_newest(&mut self) {
        let Some(newest) = &mut self.newest else { return };
        match newest.look() {
            Err(failure) => tracing::debug!(reason = %failure, "the policies topic is not read"),
            Ok(None) => {}
            Ok(Some((hash, generation))) => {
                let active = self.in_force.policy.get();
                if hash == active.policy.hash && generation > active.generation {
                    let (policy, signers) = (Arc::clone(&active.policy), active.signers.clone());
                    let active = Arc::new(Active { policy, generation, signers });
                    self.in_force.policy.put(Arc::clone(&active));
                }
                self.state.newest(&hash, generation, &self.in_force.policy.get());
            }
        }
    }
}

/// Says which file was refused, so that nobody believes in a rule that is not in force.
pub(super) fn tell_refused(problems: &[String]) {
    warn!("the files have changed and are not right; the policy before them stays in force");
    for problem in problems {
        warn!("{problem}");
    }
}
