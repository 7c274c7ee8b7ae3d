use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::case::Case;
use crate::case::{Alert, Excepted, Field, Millis};

/// What people have accepted, by when it ends and by whose it is. Made from the cases again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    ends: BTreeSet<(Millis, Arc<str>)>,
    by_subject: BTreeMap<Subject, BTreeSet<(Millis, Arc<str>)>>,
}

/// An NHI and its credential, as the order named it.
type Subject = (Box<str>, Box<str>);

impl Accepted {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Cases of what is over at this time, what ended first in front.
    pub fn ended(&self, at: Millis) -> impl Iterator<Item = &Arc<str>> {
        self.ends.iter().take_while(move |(end, _)| *end <= at).map(|(_, id)| id)
    }

    pub fn put(&mut self, case: &Case) {
        let Some((end, subject)) = of(case) else { return };
        self.ends.insert((end, case.id.clone()));
        if let Some(subject) = subject {
            self.by_subject.entry(subject).or_default().insert((end, case.id.clone()));
        }
    }

    pub fn take(&mut self, case: &Case) {
        let Some((end, subject)) = of(case) else { return };
        let ending = (end, case.id.clone());
        self.ends.remove(&ending);
        if let Some(subject) = subject
            && let Some(of_subject) = self.by_subject.get_mut(&subject)
        {
            of_subject.remove(&ending);
            if of_subject.is_empty() {
                self.by_subject.remove(&subject);
            }
        }
    }

    /// The case whose accepted risk covers this alert, and lasts longest.
    ///
    /// INVARIANT (INV-11): an alert that lacks its NHI or the name that the order gave is never
    /// covered.
    pub fn covering(&self, alert: &Alert<'_>, at: Millis) -> Option<&Arc<str>> {
        let nhi = alert.text(Field::NhiId)?;
        let names = [Field::CredentialId, Field::CredentialFingerprint];
        let names = names.into_iter().filter_map(|field| alert.text(field));
        let of = names.filter_map(|name| self.by_subject.get(&(nhi.into(), name.into())));
        let (end, id) = of.filter_map(BTreeSet::last).max()?;
        (*end > at).then_some(id)
    }
}

fn of(case: &Case) -> Option<(Millis, Option<Subject>)> {
    let Excepted { ends_at, credential, .. } = case.excepted()?;
    let subject = credential.as_deref().zip(case.nhi.as_deref());
    Some((*ends_at, subject.map(|(credential, nhi)| (nhi.into(), credential.into()))))
}
