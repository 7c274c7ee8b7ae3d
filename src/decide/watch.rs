use super::walk::Walk;
use crate::case::Decision;
use crate::clause::Scope;
use crate::policy::Playbook;

/// Told how a ruling came about, by the very evaluation that makes it.
pub trait Watch<'p> {
    /// A playbook was walked and gave this decision, as the fate or in shadow.
    fn ruled(
        &mut self,
        playbook: &'p Playbook,
        scope: &Scope<'p>,
        walk: &Walk<'p>,
        decision: &Decision<'p>,
    );
}

/// Nobody watches: compiled to nothing.
pub struct Unwatched;

impl<'p> Watch<'p> for Unwatched {
    fn ruled(&mut self, _: &'p Playbook, _: &Scope<'p>, _: &Walk<'p>, _: &Decision<'p>) {}
}
