use std::path::PathBuf;
use std::time::SystemTime;

use tracing::{error, info};

use super::signers::AllowedSigners;
use crate::text::Problem;

type Stamp = Option<(SystemTime, u64)>;

/// Whose signatures under orders count: a file that may change while triage runs.
#[derive(Debug, Default)]
pub struct People {
    path: Option<PathBuf>,
    allowed: AllowedSigners,
    read: Stamp,
}

impl People {
    /// Errors: what is wrong with the file.
    pub fn of(path: PathBuf) -> Result<Self, Vec<Problem>> {
        let read = stamp(&path);
        Ok(Self { allowed: AllowedSigners::load(&path)?, path: Some(path), read })
    }

    /// The people of the file as it is now; while it is wrong, those it had before.
    pub(super) fn now(&mut self) -> &AllowedSigners {
        if let Some(path) = &self.path {
            let found = stamp(path);
            if found != self.read {
                self.read = found;
                let file = path.display();
                match AllowedSigners::load(path) {
                    Ok(allowed) => {
                        info!(file = %file, "read again whose orders count");
                        self.allowed = allowed;
                    }
                    Err(problems) => {
                        for problem in problems {
                            error!("{problem}; the people before this change still count");
                        }
                    }
                }
            }
        }
        &self.allowed
    }
}

fn stamp(path: &std::path::Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
