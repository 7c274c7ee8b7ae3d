//! What a sink's user acknowledged becomes an order: signed by this service's own key, which the
//! boundary lets vouch for sinks and do nothing else.

use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::orders::order_message;
use super::signers::NAMESPACE;
use crate::case::{STATEMENT, Statement, Subject, Verb, Via};
use crate::receive::Asked;

/// More than twice the longest window in which a request may be shown again: as long as an order
/// is good, its id is remembered.
const VALID_MS: i64 = 3 * 3_600_000;

/// An SSH key without a passphrase.
pub struct VouchKey(PrivateKey);

impl VouchKey {
    /// Errors: why it can't be used.
    pub fn read(text: &str) -> Result<Self, String> {
        let key = PrivateKey::from_openssh(text)
            .map_err(|error| format!("is no private key of ssh-keygen: {error}"))?;
        if key.is_encrypted() {
            return Err("has a passphrase, which nobody could type".to_owned());
        }
        Ok(Self(key))
    }

    /// As the file of allowed signers has it.
    ///
    /// Errors: why it can't be written.
    pub fn public(&self) -> Result<String, String> {
        self.0.public_key().to_openssh().map_err(|error| error.to_string())
    }

    /// The message of the orders topic. Nothing where what was said makes no order.
    pub fn order(&self, asked: Asked) -> Option<Vec<u8>> {
        let text = statement(asked).to_string();
        Statement::read(&text).ok()?;
        let signed = self.0.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes()).ok()?;
        Some(order_message(&text, &[signed.to_pem(LineEnding::LF).ok()?]))
    }
}

fn statement(asked: Asked) -> Statement {
    let Asked { order: id, sink, secret, user, person, case_id, revision, nhi, at } = asked;
    Statement {
        statement: STATEMENT.to_owned(),
        v: 1,
        order: Verb::Ack,
        id,
        at: None,
        subject: Some(Subject { case_id, nhi, credential: None }),
        issued_at: at,
        expires_at: at.plus(VALID_MS),
        by: person,
        via: Some(Box::new(Via { sink, user, secret, revision })),
        to: None,
        close: None,
        except: None,
        why: None,
        ends: None,
    }
}
