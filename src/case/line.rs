use std::io;

use serde::Serialize;

/// Puts a value behind what a line has already, as JSON. Errors: when it can't be written as such,
/// which our own types always can.
pub fn write_json<T: Serialize>(line: &mut Vec<u8>, value: &T) -> Result<(), serde_json::Error> {
    serde_json::to_writer(Line(line), value)
}

struct Line<'l>(&'l mut Vec<u8>);

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    /// Most of what is written is one byte, for which a copy is a detour.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match bytes {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
