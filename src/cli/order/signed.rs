use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::app::Failure;

/// Lets `ssh-keygen` sign: with the key itself, which it may ask a passphrase for, or with an agent
/// when only the public half is given.
pub(super) fn sign(key: &Path, statement: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::Ended(format!("ssh-keygen: {error}"));
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", "tipstaff", "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // When it has ended already, its exit code says more.
        drop(input.write_all(statement.as_bytes()));
    }
    let output = child.wait_with_output().map_err(failed)?;
    let signature = String::from_utf8(output.stdout).unwrap_or_default();
    if !output.status.success() || !signature.starts_with("-----BEGIN SSH SIGNATURE-----") {
        let key = key.display();
        return Err(Failure::Ended(format!(
            "ssh-keygen has not signed with {key}; nothing was sent"
        )));
    }
    Ok(signature)
}
