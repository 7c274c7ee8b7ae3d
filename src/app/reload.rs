//! Reads a changed policy again under running workers, whole or not at all.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::info;

use super::cluster::Cluster;
use super::policies::{Back, Newest, activate, generation};
use super::policy_state::{PolicyState, Refusal};
use super::run::{Options, Role};
use super::setup::{Failure, InForce, Loaded};
use super::signers::{signature_files, signers};
use super::sinks::switched_on;
use crate::audit::Signer;
use crate::config::{Checked, File, Files, Look, SERVICE_FILE, SigningConfig, load, stamp};
use crate::enrich::Enrichers;
use crate::ingest::Admin;
use crate::pipeline::{Active, Clock, Drain};
use crate::text::{At, Problem};

/// Files are read when two looks in a row found them the same, so that none is read half written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const NEWEST_EVERY: Duration = Duration::from_secs(10);
/// What was refused may be right later, and no file need change for it: a topic is created, a
/// broker answers, a key becomes valid.
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
    /// Files by path, as they were set up at the start.
    fixed_files: BTreeSet<(String, String)>,
    in_force: InForce,
    enrichers: Arc<Enrichers>,
    cluster: Cluster,
    /// Whether this process rules, and so stores what it takes up.
    rules: bool,
    /// Its sinks that are told of the cases of every queue that there was at the start, by file.
    reads_all: Vec<String>,
    newest: Newest,
    state: Arc<PolicyState>,
    reload: Reload,
    clock: Clock,
    /// As the files were when they were read last, rightly or not.
    read: Look,
    /// As they were at the last look.
    seen: Look,
    /// A refusal may end without a change of any file.
    again: Option<Instant>,
}

/// A policy that is not the one in force, and who signed it.
type Next = (Checked, Vec<Signer<'static>>);

impl Reloader {
    /// Nothing where the files are inside the program, which never change.
    pub fn new(
        cluster: Cluster,
        loaded: &Loaded,
        options: &Options,
        state: &Arc<PolicyState>,
    ) -> Result<Option<Self>, Failure> {
        let Some(directory) = loaded.directory.clone() else { return Ok(None) };
        let newest = Newest::follow(&cluster)?;
        let mut reloader = Self {
            directory,
            files: loaded.files.clone(),
            signing: loaded.service()?.signing.clone(),
            fixed_files: fixed_files(&loaded.checked.bundle),
            in_force: loaded.in_force.clone(),
            enrichers: Arc::clone(&loaded.enrichers),
            cluster,
            rules: options.roles.contains(&Role::Triage),
            reads_all: reads_all(loaded, options),
            newest,
            state: Arc::clone(state),
            reload: options.reload.clone(),
            clock: Arc::clone(&options.clock),
            read: loaded.files.looked(),
            seen: Look::new(),
            again: None,
        };
        let service = loaded.files.get(SERVICE_FILE).and_then(File::stamp);
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
                if reported.elapsed() >= REPORT_EVERY {
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

    /// Whether all is as it was at the look before.
    fn has_settled(&mut self) -> bool {
        let mut now = self.files.look(&self.directory);
        now.insert(SERVICE_FILE.to_owned(), stamp(&self.directory.join(SERVICE_FILE)));
        now.extend(self.look_at_signatures());
        let has_settled = now == self.seen;
        self.seen = now;
        has_settled
    }

    fn look(&mut self) {
        let has_settled = self.has_settled();
        let is_due = self.again.is_some_and(|at| at <= Instant::now());
        if !has_settled || !(self.reload.take() || is_due || self.seen != self.read) {
            return;
        }
        let next = self.read_again();
        if !self.has_settled() {
            // Half of what was read may be of before, half of after.
            self.again = Some(Instant::now());
            return;
        }
        self.read.clone_from(&self.seen);
        self.again = None;
        self.look_at_service_file();
        let taken = match next {
            Ok(None) => return self.state.same(),
            Ok(Some(next)) => self.take_up(next),
            Err(problems) => Err(Refusal::Files(problems)),
        };
        if let Err(refusal) = taken {
            self.again = Some(Instant::now() + AGAIN_AFTER);
            self.state.refuse(refusal, (self.clock)());
        }
    }

    /// The service's own file is read at a start only.
    fn look_at_service_file(&self) {
        let loaded = self.files.get(SERVICE_FILE).map(|file| file.source.text.as_str());
        let now = std::fs::read_to_string(self.directory.join(SERVICE_FILE)).ok();
        self.state.restart(loaded != now.as_deref());
    }

    /// Nothing when the files are the policy in force.
    fn read_again(&self) -> Result<Option<Next>, Vec<Problem>> {
        let files = self.files.reread(&self.directory);
        let checked = load(&files)?;
        if checked.policy_hash == self.in_force.policy.get().policy.hash {
            return Ok(None);
        }
        let restart = self.needs_restart(&files, &checked);
        if !restart.is_empty() {
            return Err(restart);
        }
        let signing = self.signing.as_ref();
        let signers = signers(&checked, signing, &self.directory, (self.clock)())?;
        Ok(Some((checked, signers)))
    }

    /// INVARIANT (INV-7): the policy is stored before any worker can take it up, and nothing of a
    /// set of files is used unless all of it can be.
    fn take_up(&self, (checked, signers): Next) -> Result<(), Refusal> {
        let generation = self.generation(&checked)?;
        info!(policy = %checked.policy_hash, generation, "the files have changed: their policy is taken up");
        let Checked { policy, pipelines, .. } = checked;
        self.in_force.pipelines.put(pipelines);
        self.enrichers.rule_within(policy.least_ages_ms());
        self.state.put(Active { policy, generation, signers }, (self.clock)());
        Ok(())
    }

    /// Of what is stored, here or by those who rule.
    fn generation(&self, checked: &Checked) -> Result<i64, Failure> {
        // Where signatures are required, to have changed a file is no authority to go back.
        let must_sign = self.signing.as_ref().is_some_and(|signing| signing.required > 0);
        let active = self.in_force.policy.get();
        let back = if must_sign { Back::Never } else { Back::From(&active.policy.hash) };
        if !self.rules {
            return generation(&self.cluster, &checked.policy_hash, back);
        }
        let admin = Admin::connect(&self.cluster.settings)?;
        self.cluster.check_outputs(&admin, &checked.policy)?;
        activate(&self.cluster, &checked.policy_hash, &checked.bundle, back)
    }

    /// What a running process can't take up, each at the file that asks for it.
    fn needs_restart(&self, files: &Files, checked: &Checked) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |path: &str, message: String| {
            let at = At { path: path.into(), line: 1, column: 1 };
            problems.push(Problem::new(at, message));
        };
        let now = fixed_files(&checked.bundle);
        let changed = self.fixed_files.symmetric_difference(&now);
        let changed: BTreeSet<&str> = changed.map(|(path, _)| path.as_str()).collect();
        for path in changed {
            let what = if path.starts_with("enrichers/") { "enrichers" } else { "sinks" };
            let file = files.get(path).or_else(|| self.files.get(path));
            let path = file.map_or(path, |file| &*file.source.path);
            let message =
                format!("has changed, and {what} are set up at a start: restart to use it");
            add(path, message);
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
        let active = self.in_force.policy.get();
        for queue in checked.policy.queues().difference(&active.policy.queues()) {
            for path in &self.reads_all {
                let message =
                    format!("queue `{queue}` is new, and it reads every queue: restart to read it");
                add(path, message);
            }
        }
        problems
    }

    /// Another process may have stored a newer policy; which one rules is for each chain to say.
    fn look_at_newest(&mut self) {
        match self.newest.look() {
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

/// The files of the sinks of this process that name no queue.
fn reads_all(loaded: &Loaded, options: &Options) -> Vec<String> {
    let delivers = options.roles.contains(&Role::Deliver);
    let sinks = switched_on(loaded).into_iter().filter(|sink| delivers && sink.queues.is_none());
    sinks.map(|sink| sink.at.path.to_string()).collect()
}

fn fixed_files(bundle: &[(String, String)]) -> BTreeSet<(String, String)> {
    let is_fixed =
        |path: &str| path.starts_with("enrichers/") || path.starts_with("playbooks/sinks/");
    bundle.iter().filter(|(path, _)| is_fixed(path)).cloned().collect()
}
