use super::verify::valid;
use crate::audit::{Finding, Order, Signer};
use crate::case::Millis;
use crate::pipeline::{AllowedSigners, check_signature};

/// What is wrong with the signatures of a chain's orders: each must be over its statement, and
/// where the allowed signers are given, by that person with a key that was valid then.
pub(super) fn unproved(
    records: &[(i64, Vec<u8>)],
    allowed: Option<&AllowedSigners>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (offset, record) in valid(records) {
        let Some(order) = &record.order else { continue };
        // As it was judged: of an order to everything a chain may have read late.
        let at = record.input.as_ref().and_then(|input| input.received_at).unwrap_or(record.at);
        findings.extend(unproved_of(order, at, allowed).into_iter().map(|why| {
            let what = format!("the signature of its order {why}");
            Finding { offset, seq: Some(record.seq), what }
        }));
    }
    findings
}

fn unproved_of(order: &Order<'_>, at: Millis, allowed: Option<&AllowedSigners>) -> Vec<String> {
    let Some(statement) = order.statement.as_deref() else { return Vec::new() };
    let why = |signer: &Signer<'_>| {
        check_signature(signer, statement).err().or_else(|| {
            match allowed?.signer(statement, &signer.signature, at) {
                Err(not) => Some(not.why),
                Ok(found) if found.person == signer.person => None,
                Ok(found) => Some(format!("is by {}, not by {}", found.person, signer.person)),
            }
        })
    };
    order.signers.iter().filter_map(why).collect()
}
