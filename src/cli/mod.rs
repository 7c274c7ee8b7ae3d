//! The verbs. Each reads its configuration whole before it touches anything.
//!
//! Exit codes: 0 done, 1 it went wrong (or `verify`, `test`, `diff`, `topics check`,
//! `check --deny` found something), 64 the configuration or the command line is wrong and nothing
//! was started.

mod against;
mod boundary;
mod cases;
mod check;
mod control;
mod decide;
mod demo;
mod diff;
mod explain;
mod init;
mod lines;
mod lookup;
mod map;
mod order;
mod policy;
mod schema;
mod screen;
mod signatures;
mod sinks;
mod suppressions;
mod test;
mod verify;

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::{
    self, Cluster, Failure, Loaded, Options, PATIENCE, Place, Plan, Role, system_clock,
};
use crate::case::{Millis, Reason};
use crate::normalize::{Pipelines, canonical};
use crate::pipeline::Drain;

#[derive(Parser)]
#[command(
    name = "tipstaff",
    version,
    about = "Triage for alerts about non-human identities, on Kafka"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Rule a few hundred example alerts on an embedded broker and show what happens
    Demo(demo::Demo),
    /// Write a starting configuration into a new directory
    Init(init::Init),
    /// Run intake, triage and delivery against a Kafka cluster until SIGTERM
    Run(Run),
    /// Create or compare the topics, genesis records and starting offsets
    #[command(subcommand)]
    Topics(TopicsVerb),
    /// Rule alerts offline: a detector's events in, one decision record a line out
    Decide(decide::Decide),
    /// Rule recorded alerts under two policies and show what would change
    Diff(diff::Diff),
    /// Show the alerts a message becomes, field by field, and what no path used
    Map(map::Map),
    /// Write the first version of a new pipeline
    #[command(subcommand)]
    Pipeline(PipelineVerb),
    /// Look one key up and show the fact: its values, where they are from and how old they are
    Lookup(lookup::Lookup),
    /// What people sign, and what the policy of a running process does
    #[command(subcommand)]
    Policy(policy::PolicyVerb),
    /// Where cases are told of: what waits and what is parked
    #[command(subcommand)]
    Sinks(sinks::SinksVerb),
    /// Check every file and report every problem, touching no network
    Check(check::Check),
    /// Run the tests that the playbooks carry
    Test(test::Test),
    /// Print the JSON Schema of a kind of file
    Schema(schema::Schema),
    /// What the boundary allows, whatever the playbooks say
    #[command(subcommand)]
    Boundary(boundary::BoundaryVerb),
    /// What the queues hold, case by case
    #[command(subcommand)]
    Cases(cases::CasesVerb),
    /// What is silenced: by which rule, on what evidence, how often and until when
    Suppressions(suppressions::Suppressions),
    /// Whether everything automatic is stopped, by whom and since when
    Control(control::Control),
    /// Order something about a case or about everything, signed with your SSH key
    #[command(subcommand)]
    Order(order::OrderVerb),
    /// Prove the chains of a cluster or of an exported file
    Verify(verify::Verify),
    /// Read a secret on standard input and print its fingerprint
    Fingerprint(Config),
}

#[derive(Args)]
pub(super) struct Config {
    /// Directory with tipstaff.yaml, pipelines, enrichers and playbooks; without it the shipped
    /// files
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    config: Config,
    /// Parts of the work to do here
    #[arg(
        long, value_enum, value_delimiter = ',',
        default_values_t = [RoleArg::Intake, RoleArg::Triage, RoleArg::Deliver],
    )]
    role: Vec<RoleArg>,
    /// Name of this process; every process of a deployment needs its own
    #[arg(long)]
    instance: Option<String>,
    /// Make this policy the active one although a newer one was active before
    #[arg(long)]
    activate: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    Intake,
    Triage,
    Deliver,
}

#[derive(Subcommand)]
enum TopicsVerb {
    /// Create what is missing, write genesis records and starting offsets
    Create {
        #[command(flatten)]
        config: Config,
        /// Accept a detector topic, or the decisions topic, that was deleted and made again
        #[arg(long, value_name = "TOPIC")]
        adopt: Vec<String>,
    },
    /// Compare the cluster with the configuration; change nothing
    Check(Config),
}

#[derive(Subcommand)]
enum PipelineVerb {
    /// Guess a pipeline from one event and write its folder
    New(map::New),
}

pub fn main() -> ExitCode {
    crate::observe::hide_panic_messages();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            // Printing help fails only when nobody can read it.
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let result = match cli.verb {
        Verb::Demo(demo) => demo.run(),
        Verb::Run(run) => run.run(),
        Verb::Topics(verb) => verb.run(),
        Verb::Decide(decide) => decide.run(),
        Verb::Diff(diff) => diff.run(),
        Verb::Map(map) => map.run(),
        Verb::Pipeline(PipelineVerb::New(new)) => new.run(),
        Verb::Lookup(lookup) => lookup.run(),
        Verb::Init(init) => init.run(),
        Verb::Schema(schema) => schema.run(),
        Verb::Boundary(verb) => verb.run(),
        Verb::Policy(verb) => verb.run(),
        Verb::Order(verb) => verb.run(),
        Verb::Sinks(verb) => verb.run(),
        Verb::Check(check) => check.run(),
        Verb::Test(test) => test.run(),
        Verb::Cases(verb) => verb.run(),
        Verb::Suppressions(suppressions) => suppressions.run(),
        Verb::Control(control) => control.run(),
        Verb::Verify(verify) => verify.run(),
        Verb::Fingerprint(config) => fingerprint(&config),
    };
    match (result, UNWRITTEN.get()) {
        (Err(failure), _) => report(&failure),
        (Ok(_), Some(error)) => report(&Failure::Ended(format!("standard output: {error}"))),
        (Ok(code), None) => code,
    }
}

fn report(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Configuration(problems) => {
            for problem in problems {
                eprintln!("{problem:#}\n");
            }
            eprintln!("{failure}; nothing was started");
            ExitCode::from(64)
        }
        Failure::Usage(_) => {
            eprintln!("tipstaff: {failure}");
            ExitCode::from(64)
        }
        Failure::Kafka(_) | Failure::Ended(_) => {
            eprintln!("tipstaff: {failure}");
            ExitCode::FAILURE
        }
    }
}

impl Config {
    fn load(&self, now: Millis) -> Result<Loaded, Failure> {
        app::load(self.config.as_deref(), now)
    }

    fn check_pipeline(&self, pipelines: &Pipelines, name: Option<&str>) -> Result<(), Failure> {
        let own = match self.config {
            Some(_) => "",
            None => "; your own files are read with `--config DIR`",
        };
        name.map_or(Ok(()), |name| check_pipeline(pipelines, name, own))
    }
}

fn check_pipeline(pipelines: &Pipelines, name: &str, advice: &str) -> Result<(), Failure> {
    if pipelines.names().any(|known| known == name) {
        return Ok(());
    }
    let hint = crate::text::suggestion(name, pipelines.names());
    Err(Failure::Usage(format!("no pipeline is called `{name}`{hint}{advice}")))
}

/// What the person at the screen can do about a document that could not be read.
fn way_out(reason: Reason) -> &'static str {
    if reason == Reason::AmbiguousShape { ": name one with `--pipeline`" } else { "" }
}

/// The bytes of a file, or of standard input for `-`.
fn read_input(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let result = if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    result.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    Ok(bytes)
}

/// The time of `--now`, or the clock's.
fn parse_now(now: Option<&str>) -> Result<Millis, Failure> {
    let Some(text) = now else { return Ok(system_clock()()) };
    Millis::parse(text).ok_or_else(|| {
        Failure::Usage(format!("`--now {text}` is not a time like 2026-01-31T12:00:00Z"))
    })
}

/// Why standard output does not hold all of what was said.
static UNWRITTEN: OnceLock<std::io::Error> = OnceLock::new();

/// Writes one line to standard output. False when nobody reads it any more, or nothing can be
/// written; of that the exit code tells.
fn say(line: &str) -> bool {
    put(&format!("{line}\n"))
}

/// The same, of a text as it is.
fn put(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    let Err(error) = written else { return true };
    if error.kind() != ErrorKind::BrokenPipe {
        // The first of them says why.
        drop(UNWRITTEN.set(error));
    }
    false
}

fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// As <https://no-color.org> asks.
fn is_colored() -> bool {
    is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Connects to the cluster of a configuration, and says meanwhile what it waits for.
fn connect(loaded: &Loaded, patience: Duration) -> Result<Cluster, Failure> {
    let service = loaded.service()?;
    crate::observe::start_logs(service.log.level, service.log.json);
    Cluster::reach(Place::of(loaded)?, patience)
}

impl Run {
    fn run(self) -> Result<ExitCode, Failure> {
        let clock = system_clock();
        let loaded = self.config.load(clock())?;
        let service = loaded.service()?;
        let keys = loaded.keys()?;
        crate::observe::start_logs(service.log.level, service.log.json);
        let (drain, reload) = (Drain::default(), app::Reload::default());
        heed_signals(drain.clone(), reload.clone())?;
        let roles = self.role.iter().map(|role| match role {
            RoleArg::Intake => Role::Intake,
            RoleArg::Triage => Role::Triage,
            RoleArg::Deliver => Role::Deliver,
        });
        let options = Options {
            roles: roles.collect(),
            instance: self.instance.unwrap_or_else(|| service.instance.clone()),
            workers: service.workers,
            batch: service.batch,
            activate: self.activate,
            reload,
            clock,
        };
        app::run(&loaded, keys, &options, drain)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whatever hangs: supervisors kill after 10 s.
const DRAIN_MAX: Duration = Duration::from_millis(9500);

/// SIGTERM and SIGINT start the drain. A second SIGINT ends the process at once. SIGHUP asks for
/// the policy's files to be read again.
fn heed_signals(drain: Drain, reload: app::Reload) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Ended(format!("no runtime: {error}")))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut term), Ok(mut int), Ok(mut hup)) = (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
                signal(SignalKind::hangup()),
            ) else {
                return tracing::error!("signals can't be caught");
            };
            loop {
                tokio::select! {
                    _ = term.recv() => break,
                    _ = int.recv() => break,
                    _ = hup.recv() => reload.ask(),
                }
            }
            drain.start();
            tokio::select! {
                _ = int.recv() => std::process::exit(130),
                () = tokio::time::sleep(DRAIN_MAX) => {
                    tracing::error!("the drain did not end in time; ending without it");
                    std::process::exit(1);
                }
            }
        });
    });
    Ok(())
}

impl TopicsVerb {
    fn run(self) -> Result<ExitCode, Failure> {
        let now = system_clock()();
        let (config, adopt, creates) = match self {
            Self::Create { config, adopt } => (config, adopt, true),
            Self::Check(config) => (config, Vec::new(), false),
        };
        let loaded = config.load(now)?;
        let service = loaded.service()?;
        let cluster = connect(&loaded, PATIENCE)?;
        let plan = Plan {
            detectors: Cluster::detector_topics(&loaded.checked.pipelines),
            outputs: cluster.output_topics(&loaded.checked.policy),
            sinks: app::sink_starts(&cluster, &loaded),
            replication: service.topics.replication,
            retention_ms: service.topics.retention_ms,
            start: service.start,
            adopt,
            instance: service.instance.clone(),
            now,
        };
        let mut lines =
            if creates { app::create(&cluster, &plan)? } else { app::check(&cluster, &plan)? };
        lines.extend(app::missing_tables(&cluster, &loaded.checked.enrichers)?);
        let found = !lines.is_empty();
        for line in lines {
            say(&line);
        }
        if !creates && !found {
            say("topics, genesis records and ids are as configured");
        }
        Ok(if creates || !found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn fingerprint(config: &Config) -> Result<ExitCode, Failure> {
    let loaded = config.load(system_clock()())?;
    let keys = loaded.keys()?;
    let mut secret = String::new();
    std::io::stdin()
        .read_to_string(&mut secret)
        .map_err(|error| Failure::Ended(format!("standard input: {error}")))?;
    let secret = canonical(&secret);
    if secret.is_empty() {
        return Err(Failure::Usage("give the secret on standard input".to_owned()));
    }
    say(&keys.fingerprint(secret.as_bytes()));
    Ok(ExitCode::SUCCESS)
}
