//! Orders of people: built, shown, signed, sent, and waited for.

mod aim;
mod asked;
mod place;
mod sent;
mod signed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use self::aim::Aim;
use self::asked::{Asked, Resume};
use self::place::{find_case, person_of};
use super::{Config, connect, put, read_input, say};
use crate::app::{Failure, Loaded, system_clock};
use crate::case::{Statement, Subject, Verb, parse_duration};

#[derive(Subcommand)]
pub(super) enum OrderVerb {
    /// Say that you have seen a case: its deadline stops
    Ack(asked::Ack),
    /// Give a case to somebody
    Assign(asked::Assign),
    /// End the hold of a case: its alerts are ruled again, and never suppressed by that
    Release(asked::Release),
    /// Open a closed case again
    Reopen(asked::Reopen),
    /// Close a case with a verdict, which only people do
    Close(asked::Close),
    /// Accept a risk for a time, with somebody else who approves it
    Except(asked::Except),
    /// Stop everything automatic, on every chain: what would be suppressed or contained is routed
    Stop(asked::Everything),
    /// Let what was stopped go on
    Resume(asked::Resume),
    /// Send a statement that was signed elsewhere, or by several people
    Send(Send),
}

/// How an order about a case is made.
#[derive(Args)]
struct Making {
    #[command(flatten)]
    signing: Signing,
    /// The case's id, whole
    #[arg(value_parser = case_id)]
    case: String,
    /// The identity that the case is about; without it, it is looked for on the decisions topic
    #[arg(long)]
    nhi: Option<String>,
    /// The credential that the case is about, by id or fingerprint
    #[arg(long, requires = "nhi")]
    credential: Option<String>,
}

/// How every order is made.
#[derive(Args)]
struct Signing {
    #[command(flatten)]
    config: Config,
    /// Your key, or its public half when an agent holds it
    #[arg(long, value_name = "FILE", required_unless_present = "print")]
    key: Option<PathBuf>,
    /// Your name as in the file of allowed signers; without it, the one that has this key
    #[arg(long, value_name = "PERSON")]
    by: Option<String>,
    /// How long the order is good, at most 24h
    #[arg(long = "valid", value_name = "DURATION", default_value = "1h")]
    valid: String,
    /// Write the statement to standard output, and sign and send nothing
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Args)]
struct Waiting {
    /// How long to wait for the order's record
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    wait: String,
}

#[derive(Args)]
pub(super) struct Send {
    #[command(flatten)]
    config: Config,
    /// The statement as it was signed
    #[arg(long, value_name = "FILE")]
    statement: PathBuf,
    /// A signature over it, made by `ssh-keygen -Y sign -n tipstaff`; once for each person
    #[arg(long, value_name = "FILE", required = true)]
    signature: Vec<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

impl OrderVerb {
    /// Exit code 1 when the order is refused, or nobody says what became of it.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Ack(asked) => asked.making.made(Asked::of(Verb::Ack)),
            Self::Assign(asked) => asked.making.made(Asked::assign(asked.to)),
            Self::Release(asked) => asked.making.made(Asked::of(Verb::Release)),
            Self::Reopen(asked) => asked.making.made(Asked::of(Verb::Reopen)),
            Self::Close(asked) => asked.making.made(asked.what()?),
            Self::Except(asked) => asked.making.made(asked.what()?),
            Self::Stop(asked) => asked.signing.made(asked.what(Verb::Stop), Aim::at_all),
            Self::Resume(asked) => {
                let Resume { everything, ends } = asked;
                let what = everything.what(Verb::Resume);
                everything.signing.made(what, |loaded, wait| Aim::at_stop(loaded, wait, ends))
            }
            Self::Send(send) => send.run(),
        }
    }
}

impl Waiting {
    fn time(&self) -> Result<Duration, Failure> {
        let time = duration("--wait", &self.wait)?;
        Ok(Duration::from_millis(u64::try_from(time).unwrap_or(0)))
    }
}

fn case_id(text: &str) -> Result<String, String> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == 32 && text.bytes().all(is_digit) {
        return Ok(text.to_owned());
    }
    Err("a case's id has 32 hexadecimal digits: an order names it whole".to_owned())
}

fn duration(option: &str, text: &str) -> Result<i64, Failure> {
    parse_duration(text).filter(|time| *time > 0).ok_or_else(|| {
        Failure::Usage(format!("`{option} {text}` is not a duration such as 30s, 15m or 24h"))
    })
}

impl Making {
    fn made(&self, asked: Asked) -> Result<ExitCode, Failure> {
        let is_exception = asked.is_exception();
        self.signing.made(asked, |loaded, wait| match &self.nhi {
            Some(nhi) => Ok(Aim::at_case(Subject {
                case_id: self.case.clone(),
                nhi: nhi.clone(),
                credential: self.credential.clone(),
            })),
            None => find_case(loaded, &self.case, is_exception, wait).map(Aim::at_case),
        })
    }
}

impl Signing {
    fn made(
        &self,
        asked: Asked,
        aim: impl FnOnce(&Loaded, Duration) -> Result<Aim, Failure>,
    ) -> Result<ExitCode, Failure> {
        let now = system_clock()();
        let loaded = self.config.load(now)?;
        let wait = self.waiting.time()?;
        let by = self.person(&loaded)?;
        let valid = duration("--valid", &self.valid)?;
        let statement = asked.statement((by, aim(&loaded, wait)?), (now, now.plus(valid)))?;
        let text = statement.to_string();
        if let Err(why) = Statement::read(&text) {
            return Err(Failure::Usage(format!("no order can be made of that: {why}")));
        }
        if self.print {
            let is_written = put(&text);
            return Ok(if is_written { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let Some(key) = &self.key else {
            return Err(Failure::Usage("`--key` says which key to sign with".to_owned()));
        };
        let (file, until) = (key.display(), statement.expires_at);
        eprintln!("signing with {file}, good until {until}:\n{text}\n");
        let signature = signed::sign(key, &text)?;
        sent::send(&loaded, &statement, &text, &[signature], wait)
    }

    fn person(&self, loaded: &Loaded) -> Result<String, Failure> {
        match (&self.by, &self.key) {
            (Some(by), _) => Ok(by.clone()),
            (None, Some(key)) => person_of(loaded, key),
            (None, None) => Err(Failure::Usage("`--by` says who orders it".to_owned())),
        }
    }
}

impl Send {
    fn run(self) -> Result<ExitCode, Failure> {
        let loaded = self.config.load(system_clock()())?;
        let wait = self.waiting.time()?;
        let text = text_of(&self.statement)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let statement = Statement::read(text).map_err(|why| {
            Failure::Usage(format!("{}:1:1: this is no order: {why}", self.statement.display()))
        })?;
        let signatures =
            self.signature.iter().map(|file| text_of(file)).collect::<Result<Vec<_>, _>>()?;
        sent::send(&loaded, &statement, text, &signatures, wait)
    }
}

fn text_of(file: &Path) -> Result<String, Failure> {
    let bytes = read_input(file)?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::Usage(format!("{}:1:1: this is no text", file.display())))
}
