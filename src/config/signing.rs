use super::words::number;
use crate::text::{At, Fields, Node, Problems};

/// Who must have signed a policy before it rules. Paths are from the directory of `tipstaff.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningConfig {
    /// As `ssh-keygen` and git read it.
    pub allowed_signers: String,
    /// The folder of the signatures, each in a file whose name ends with `.sig`.
    pub signatures: String,
    /// Different people; with 0 those who did sign are on record all the same.
    pub required: usize,
    pub at: At,
}

/// Whose signatures under orders count. The path is from the directory of `tipstaff.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdersConfig {
    /// As `ssh-keygen` and git read it.
    pub allowed_signers: String,
    pub at: At,
}

const SIGNATURES: &str = "signatures";

pub(super) fn signing(node: &Node, problems: &mut Problems) -> Option<SigningConfig> {
    let mut fields = Fields::of(node, "`policy`", problems)?;
    let allowed_signers = fields.require_text("allowed_signers", problems).map(str::to_owned);
    let signatures = fields.text("signatures", problems).unwrap_or(SIGNATURES).to_owned();
    fields.require("required", problems);
    let required = number(&mut fields, "required", (0, 2), problems);
    let at = fields.at.clone();
    fields.finish(problems);
    Some(SigningConfig { allowed_signers: allowed_signers?, signatures, required: required?, at })
}

pub(super) fn orders(node: &Node, problems: &mut Problems) -> Option<OrdersConfig> {
    let mut fields = Fields::of(node, "`orders`", problems)?;
    let allowed_signers = fields.require_text("allowed_signers", problems).map(str::to_owned);
    let at = fields.at.clone();
    fields.finish(problems);
    Some(OrdersConfig { allowed_signers: allowed_signers?, at })
}
