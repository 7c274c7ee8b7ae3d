use std::collections::BTreeSet;

use super::read::strings;
use crate::case::{Alert, Field, id_of};
use crate::text::{Fields, Node, Problems};

/// The identities that a playbook rules before it is live; for all others it is in shadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Of all identities, the same ones always, and still those when it grows.
    percent: u32,
    nhis: BTreeSet<String>,
}

impl Canary {
    /// Never without its key (INV-11), and never where only the message it came by is known.
    pub fn has(&self, playbook: &str, alert: &Alert<'_>) -> bool {
        let is_known = alert.text(Field::NhiKnownBy) != Some("origin");
        let nhi = alert.text(Field::NhiId).filter(|nhi| is_known && !nhi.is_empty());
        let Some(nhi) = nhi else { return false };
        // The name is part of it, so that not always the same identities go first.
        self.nhis.contains(nhi)
            || share(&id_of("canary", &[playbook.as_bytes(), nhi.as_bytes()])) < self.percent
    }
}

/// 0 to 99, all as likely.
fn share(id: &str) -> u32 {
    let digits = id.get(..8).unwrap_or_default();
    u32::from_str_radix(digits, 16).unwrap_or(u32::MAX) % 100
}

pub(super) fn canary(node: &Node, problems: &mut Problems) -> Option<Canary> {
    let mut fields = Fields::of(node, "`canary`", problems)?;
    let at = fields.get("percent").map(|node| node.at.clone());
    let percent = fields.int("percent", problems);
    let nhis: BTreeSet<String> = strings(&mut fields, "nhis", problems).into_iter().collect();
    fields.finish(problems);
    if let Some(at) = at.filter(|_| !percent.is_none_or(|percent| (1..100).contains(&percent))) {
        problems.add(&at, "`percent` must be from 1 to 99: all of them is `mode: live`");
    }
    if percent.is_none() && nhis.is_empty() {
        let message = "says for whom: `percent` of the identities, `nhis` by their ids, or both";
        problems.add(&node.at, message);
    }
    Some(Canary { percent: u32::try_from(percent.unwrap_or(0)).unwrap_or(0), nhis })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Value;

    #[test]
    fn a_share_is_as_large_as_it_says_and_grows_without_letting_go() {
        let of = |percent| Canary { percent, nhis: BTreeSet::from(["named".to_owned()]) };
        let alert = |nhi: String| {
            let mut alert = Alert::default();
            alert.set(Field::NhiId, Value::Text(nhi.into()));
            alert
        };
        let (mut small, mut large, mut other) = (0, 0, 0);
        for n in 0..5000 {
            let alert = alert(format!("nhi-{n}"));
            let (is_small, is_large) = (of(5).has("p", &alert), of(20).has("p", &alert));
            assert!(is_large || !is_small, "nhi-{n} was let go");
            small += usize::from(is_small);
            large += usize::from(is_large);
            other += usize::from(is_small && of(5).has("q", &alert));
        }
        assert!((175..325).contains(&small) && (850..1150).contains(&large), "{small} {large}");
        assert!(other < small / 4, "{other} of {small} go first for another playbook, too");
        let nhi = alert("nhi-7".to_owned());
        let own = share(&id_of("canary", &[b"p", b"nhi-7"]));
        assert!(!of(own).has("p", &nhi) && of(own + 1).has("p", &nhi), "the first {own} of 100");
        assert!(of(1).has("p", &alert("named".to_owned())));
        assert!(!of(99).has("p", &Alert::default()) && !of(99).has("p", &alert(String::new())));
        for (known_by, is_in) in [("native", 1), ("credential_id", 1), ("origin", 0)] {
            let mut alert = alert("named".to_owned());
            alert.set(Field::NhiKnownBy, Value::Text(known_by.into()));
            assert_eq!(usize::from(of(99).has("p", &alert)), is_in, "{known_by}");
        }
    }
}
