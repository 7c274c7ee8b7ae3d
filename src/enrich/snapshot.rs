//! What caches hold, kept in a file over a restart. Holds facts, no secret.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::cache::{Cached, wall_clock};
use super::remotes::Remotes;
use crate::case::{EnricherShape, FactRow, Millis};

/// The first line. A file with fewer lines than this says was cut off.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    v: u32,
    written_at: Millis,
    answers: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    fresh_until: Millis,
    ends: Millis,
    #[serde(borrow)]
    row: &'l RawValue,
}

#[derive(Deserialize)]
struct Names<'l> {
    #[serde(borrow)]
    enricher: std::borrow::Cow<'l, str>,
    #[serde(borrow)]
    version: std::borrow::Cow<'l, str>,
}

const VERSION: u32 = 1;
const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

impl Remotes {
    /// Writes every answer that can still be given, whole or not at all, readable for nobody else.
    pub fn save(&self, path: &Path) -> io::Result<usize> {
        let (now, wall) = (Instant::now(), wall_clock());
        let at = |instant: Instant| {
            let left = instant.saturating_duration_since(now).as_millis();
            let past = now.saturating_duration_since(instant).as_millis();
            wall.plus(i64::try_from(left).unwrap_or(i64::MAX))
                .plus(-i64::try_from(past).unwrap_or(i64::MAX))
        };
        let all: Vec<_> = self.caches().iter().flat_map(|cached| cached.kept()).collect();
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let part = path.with_extension("part");
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        let mut out = BufWriter::new(file);
        let head = Head { v: VERSION, written_at: wall, answers: all.len() };
        line(&mut out, &head)?;
        for entry in &all {
            let (fresh_until, ends) = (at(entry.fresh_until), at(entry.ends));
            line(&mut out, &Line { fresh_until, ends, row: entry.row.json() })?;
        }
        let file: File = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        Ok(all.len())
    }

    /// Takes what an earlier process kept; answers of another configuration and those past their
    /// bound are left out. No file is no answer.
    ///
    /// Errors: the file is not what was written, and nothing of it is taken.
    pub fn restore(&self, path: &Path) -> Result<usize, String> {
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Ok(about) if about.len() > BYTES_MAX => return Err("it is too large".to_owned()),
            _ => fs::read_to_string(path).map_err(|error| error.to_string())?,
        };
        let mut lines = text.lines();
        let head: Option<Head> = lines.next().and_then(|head| serde_json::from_str(head).ok());
        let head = head.filter(|head| head.v == VERSION);
        let head = head.ok_or("its first line is not that of a snapshot")?;
        let caches = self.by_version();
        let (mut found, mut count) = (Vec::new(), 0);
        for (number, text) in (2..).zip(lines) {
            let broken = || format!("line {number} is not what was written");
            let line: Line<'_> = serde_json::from_str(text).map_err(|_| broken())?;
            let names: Names<'_> = serde_json::from_str(line.row.get()).map_err(|_| broken())?;
            count += 1;
            let of = (names.enricher.into_owned(), names.version.into_owned());
            let Some((cached, shape)) = caches.get(&of) else { continue };
            let row = FactRow::read(line.row, shape).ok_or_else(broken)?;
            found.push((cached, row, line.fresh_until, line.ends));
        }
        if count != head.answers {
            return Err(format!("it has {count} answers of {}", head.answers));
        }
        let (now, wall) = (Instant::now(), wall_clock());
        let at =
            |time: Millis| now + Duration::from_millis(time.since(wall).try_into().unwrap_or(0));
        let restored = found.into_iter().filter(|(cached, row, fresh_until, ends)| {
            *ends > wall && cached.restore(row.clone(), at(*fresh_until), at(*ends), wall)
        });
        Ok(restored.count())
    }

    fn by_version(&self) -> HashMap<(String, String), (Arc<Cached>, EnricherShape)> {
        let caches = self.caches();
        let named = caches.iter().map(|cached| {
            let rows = cached.rows();
            let shape =
                EnricherShape { name: Arc::clone(&rows.enricher), provides: rows.provides.clone() };
            let names = (rows.enricher.to_string(), rows.version.to_string());
            (names, (Arc::clone(cached), shape))
        });
        named.collect()
    }
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
