use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{check_pipeline, say};
use crate::app::{self, Failure, system_clock};
use crate::config::{Files, SCHEMAS, SERVICE_FILE, schema_kind};
use crate::trial::run_tests;

#[derive(Args)]
pub(super) struct Init {
    /// Where to: a directory that is not there yet, or is empty
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Only these pipelines; without it all that are shipped
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pipelines: Vec<String>,
}

/// The commented example, which stands beside the folders there.
const SERVICE: &str = include_str!("../../deploy/tipstaff.yaml");

impl Init {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let now = system_clock()();
        let shipped = app::shipped(now)?;
        for name in &self.pipelines {
            check_pipeline(&shipped.checked.pipelines, name, "")?;
        }
        self.refuse_what_is_there()?;
        let service = SERVICE.replace("../", "").replace("--config deploy", "--config DIR");
        let mut written = 0;
        for (path, text) in self.wanted(&shipped.files) {
            self.write(&path, &with_hint(&path, &text))?;
            written += 1;
        }
        self.write(SERVICE_FILE, &with_hint(SERVICE_FILE, &service))?;
        for (kind, text) in SCHEMAS {
            self.write(&format!("schemas/{kind}.json"), text)?;
        }
        written += 1 + SCHEMAS.len();
        self.tell(written, now)
    }

    /// Nothing is ever written over.
    fn refuse_what_is_there(&self) -> Result<(), Failure> {
        let place = self.directory.display();
        let is_free = match fs::read_dir(&self.directory) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(Failure::Usage(format!("{place}: {error}"))),
        };
        if is_free {
            return Ok(());
        }
        Err(Failure::Usage(format!("{place} is not empty; nothing was written")))
    }

    fn wanted(&self, shipped: &Files) -> Vec<(String, String)> {
        let is_wanted = |path: &str| {
            let mut parts = path.split('/');
            let is_pipeline = parts.next() == Some("pipelines");
            let name = parts.next().unwrap_or_default();
            !is_pipeline
                || self.pipelines.is_empty()
                || self.pipelines.iter().any(|wanted| wanted == name)
        };
        let files = shipped.iter().filter(|(path, _)| is_wanted(path));
        files.map(|(path, file)| (path.to_owned(), file.source.text.clone())).collect()
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        let place = self.directory.join(path);
        let failed = |error: std::io::Error| {
            Failure::Ended(format!("{} could not be written: {error}", place.display()))
        };
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = fs::File::create_new(&place).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)
    }

    /// What was written is read again: a start that fails its own check is none.
    fn tell(&self, written: usize, now: crate::case::Millis) -> Result<ExitCode, Failure> {
        let loaded = app::load(Some(&self.directory), now)?;
        let checked = &loaded.checked;
        let tests = run_tests(&checked.policy, |_, _| true);
        let failed = tests.iter().filter(|test| !test.passed()).count();
        let place = self.directory.display();
        say(&format!(
            "{place}: {written} files: {} pipelines, {} enrichers, {} playbooks, {} tests",
            checked.pipelines.list().len(),
            checked.enrichers.len(),
            checked.policy.playbooks().len(),
            tests.len()
        ));
        for line in NEXT {
            say(&line.replace("DIR", &place.to_string()));
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

const NEXT: [&str; 8] = [
    "",
    "Next:",
    "  DIR/tipstaff.yaml                 where Kafka is; export TIPSTAFF_FINGERPRINT_KEY=$(openssl rand -hex 32)",
    "  DIR/pipelines                     delete the folders of detectors that you do not have",
    "  DIR/enrichers                     the tables are examples: put yours in, or ask a service",
    "  DIR/playbooks/boundary.yaml       names and limits that are yours; let its owner read it",
    "  tipstaff check --config DIR       every mistake in every file",
    "  tipstaff test --config DIR        the tests of the playbooks",
];

/// For editors that read YAML by a schema.
fn with_hint(path: &str, text: &str) -> String {
    let Some(kind) = schema_kind(path) else { return text.to_owned() };
    let depth = Path::new(path).components().count().saturating_sub(1);
    let up = "../".repeat(depth);
    let up = if up.is_empty() { "./" } else { &*up };
    format!("# yaml-language-server: $schema={up}schemas/{kind}.json\n{text}")
}
