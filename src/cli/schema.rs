use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::say;
use crate::app::Failure;
use crate::config::SCHEMAS;

#[derive(Args)]
pub(super) struct Schema {
    /// Kind of file; without it the kinds are listed
    #[arg(value_parser = PossibleValuesParser::new(SCHEMAS.map(|(kind, _)| kind)))]
    kind: Option<String>,
}

impl Schema {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        for (kind, text) in SCHEMAS {
            match &self.kind {
                Some(wanted) if wanted == kind => {
                    say(text.trim_end());
                }
                Some(_) => {}
                None => {
                    say(kind);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
