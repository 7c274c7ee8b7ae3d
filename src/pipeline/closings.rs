//! What a playbook asks for before people close its case, looked up when their order comes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use super::orders::{Judge, Refused};
use crate::audit::{Order, Verified};
use crate::case::{
    Alert, Closing, Counters, FactRow, Field, Millis, Refusal, Value, Verdict, duration_text,
};
use crate::clause::{Clause, Scope};
use crate::correlate::Case;
use crate::enrich::Enrichers;
use crate::policy::{Playbook, Requirement};

/// What is asked about one credential: its names, the enrichers by index, and by enricher how old
/// an answer may be.
pub struct Ask<'a> {
    pub alert: Alert<'a>,
    pub wanted: Vec<usize>,
    pub max_age_ms: &'a [Option<i64>],
}

/// For each of those who were asked about a slot for each enricher, filled where it was wanted.
type Answers = Vec<Vec<Option<Arc<FactRow>>>>;

/// Looks up.
pub type Look<'l> = dyn Fn(&[Ask<'_>]) -> Answers + 'l;

/// Of enrichers, as new as is asked for.
pub fn answers(
    enrichers: &Enrichers,
    asks: &[Ask<'_>],
    (now, deadline): (Millis, Instant),
) -> Answers {
    let wanted: Vec<_> = asks.iter().map(|ask| (&ask.alert, &*ask.wanted)).collect();
    let ages: Vec<_> = asks.iter().map(|ask| ask.max_age_ms).collect();
    enrichers.fresh(&wanted, (&ages, now), deadline)
}

/// One requirement, and whom to ask about or why nobody is.
type Asked<'p, 'a> = (&'p Playbook, &'p Requirement, Result<Ask<'a>, &'static str>);

impl<'p> Judge<'_, 'p> {
    /// INVARIANT (INV-4, INV-12): what is false or unknown closes nothing.
    ///
    /// Errors: each requirement that is not met, with what was seen.
    pub(super) fn verify(
        &self,
        case: &Case,
        closing: &Closing,
        order: &mut Order<'p>,
        facts: &mut Vec<Arc<FactRow>>,
    ) -> Result<(), Refused> {
        let (mut asked, mut asks) = (Vec::new(), Vec::new());
        for (playbook, requirement, ask) in self.asked(case, closing) {
            asked.push((playbook, requirement, ask.as_ref().err().copied()));
            asks.extend(ask);
        }
        let looked = if asks.is_empty() { Vec::new() } else { (self.look)(&asks) };
        let mut looked = asks.iter().zip(looked);
        let counters = counters(case);
        let mut open = Vec::new();
        for (playbook, requirement, why) in asked {
            let mut verified = Verified {
                playbook: Cow::Borrowed(&playbook.name),
                requirement: Cow::Borrowed(&requirement.id),
                verdict: Verdict::False,
                why: why.map(Cow::Borrowed),
                because: Vec::new(),
                facts: Vec::new(),
            };
            let mut saw = why.map_or_else(String::new, |why| missing(requirement, why));
            if why.is_none()
                && let Some((ask, rows)) = looked.next()
            {
                let scope = Scope {
                    alert: &ask.alert,
                    facts: &rows,
                    counters: Some(&counters),
                    now: self.at,
                    max_age_ms: ask.max_age_ms,
                };
                let (found, first) = requirement.when.eval_with_first(&scope);
                verified.verdict = Verdict::of(found);
                verified.because = requirement.when.because(&scope);
                verified.facts = rows.iter().flatten().map(|row| place(facts, row)).collect();
                saw = first.map(|clause| seen(clause, &scope)).unwrap_or_default();
            }
            if verified.verdict != Verdict::True {
                let is = if verified.verdict == Verdict::False { "not so" } else { "not known" };
                let (id, playbook) = (&requirement.id, &playbook.name);
                open.push(format!("`{id}` of playbook {playbook} is {is}: {saw}"));
            }
            order.verified.push(verified);
        }
        if open.is_empty() { Ok(()) } else { Err((Refusal::NotVerified, open.join("; "))) }
    }

    fn asked<'a>(&self, case: &'a Case, closing: &'a Closing) -> Vec<Asked<'p, 'a>>
    where
        'p: 'a,
    {
        let playbooks = self.policy.playbooks().iter().filter(|each| case.may_be_of(&each.name));
        let mut asked = Vec::new();
        for playbook in playbooks {
            let Some(rules) = &playbook.closing else { continue };
            for requirement in rules.asks(closing.verdict, closing.part) {
                let link = requirement.link.as_ref().map(|name| closing.links.get(name));
                let ask = subject(case, link, requirement.is_of_link).map(|alert| Ask {
                    alert,
                    wanted: requirement.wanted(),
                    max_age_ms: &rules.max_age_ms,
                });
                asked.push((playbook, requirement, ask));
            }
        }
        asked
    }
}

/// Whom a requirement asks about, by the names that lookups know.
///
/// Errors: why there is nobody.
fn subject<'a>(
    case: &'a Case,
    link: Option<Option<&'a String>>,
    is_of_link: bool,
) -> Result<Alert<'a>, &'static str> {
    let linked = match link {
        Some(None) => return Err("not_linked"),
        Some(linked) => linked.map(String::as_str).filter(|_| is_of_link),
        None => None,
    };
    let mut alert = Alert::default();
    let mut set = |field, text: Option<&'a str>| {
        if let Some(text) = text {
            alert.set(field, Value::Text(text.into()));
        }
    };
    set(Field::NhiId, case.nhi.as_deref());
    let own = [case.credential.as_deref(), case.fingerprint.as_deref()];
    match linked {
        Some(linked) if own.contains(&Some(linked)) => return Err("own_credential"),
        Some(linked) => set(Field::CredentialId, Some(linked)),
        None => {
            let [id, fingerprint] = own;
            set(Field::CredentialId, id);
            set(Field::CredentialFingerprint, fingerprint);
        }
    }
    Ok(alert)
}

fn counters(case: &Case) -> Counters {
    Counters {
        // The case stands for itself, whether or not its alerts had a key.
        group: Some(case.id.to_string()),
        seen: case.seen,
        window_ms: case.window_ms,
        ..Counters::alone(case.id.to_string(), case.first_seen)
    }
}

/// Each row once.
fn place(facts: &mut Vec<Arc<FactRow>>, row: &Arc<FactRow>) -> usize {
    let is_it = |known: &Arc<FactRow>| known.json().get() == row.json().get();
    facts.iter().position(is_it).unwrap_or_else(|| {
        facts.push(Arc::clone(row));
        facts.len() - 1
    })
}

fn missing(requirement: &Requirement, why: &str) -> String {
    let link = requirement.link.as_deref().unwrap_or_default();
    match why {
        "not_linked" => format!("the order links nothing as `{link}`"),
        _ => format!("what is linked as `{link}` is the case's own credential"),
    }
}

/// For people: what a clause saw, from where, and how old.
fn seen(clause: &Clause, scope: &Scope<'_>) -> String {
    let each = clause.names().iter().zip(clause.seen(scope)).map(|(name, seen)| {
        let row = scope.row(name.slot);
        let source = row.map_or_else(String::new, |row| {
            let age = row.as_of.map(|as_of| duration_text(scope.now.since(as_of).max(0)));
            let age = age.map_or_else(String::new, |age| format!(", {age} old"));
            format!(" ({}{age})", row.source)
        });
        format!("{} = {}{source}", seen.name, seen.value)
    });
    let each: Vec<String> = each.collect();
    format!("`{}`, saw {}", clause.text, each.join(", "))
}
