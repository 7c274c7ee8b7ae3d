use super::case::Case;
use super::cases::Cases;
use super::had::{Had, WORDS_MAX, action_of, rule_of, severity};
use super::silences::Silence;
use crate::case::{
    Alert, BreakOut, CaseState, Change, Counters, Decision, Field, Id, Millis, Priority, Revised,
    Spread, Statement, Told, Worked,
};

/// One ruling, as its case sees it.
#[derive(Debug, Clone, Copy)]
pub struct News<'n> {
    pub alert_id: &'n Id,
    pub alert: &'n Alert<'n>,
    pub counters: &'n Counters,
    pub decision: &'n Decision<'n>,
    pub break_out: Option<BreakOut>,
    /// Where it is ruled again.
    pub revised: Option<&'n Revised<'n>>,
    pub now: Millis,
}

impl News<'_> {
    fn was_suppressed(&self) -> bool {
        self.revised.is_some_and(|revised| revised.standing.is_none())
    }
}

impl Cases {
    /// What people are told because of it. Nothing where it is one more of what they know.
    pub fn told(&self, news: &News<'_>) -> Option<Told<'static>> {
        let state = CaseState::of(&news.decision.fate)?;
        let (queue, priority) = (news.decision.fate.queue()?, news.decision.fate.priority()?);
        let case = self.get(&news.counters.case_id);
        let had = case.and_then(|case| case.had.as_ref());
        let mut changed = match (case, had) {
            (Some(case), Some(had)) => changes(case, had, news, (state, priority)),
            _ if news.was_suppressed() => vec![Change::Opened, Change::SuppressionOver],
            _ => vec![Change::Opened],
        };
        let reopens = case.is_some_and(|case| case.reopens(news, &changed));
        changed.extend(reopens.then_some(Change::Reopened));
        if changed.is_empty() {
            return None;
        }
        let is_as_urgent = had.is_none_or(|had| (state, priority) >= (had.state, had.priority));
        let stays = had.filter(|_| !is_as_urgent);
        let queue = stays.map_or(queue, |had| &had.queue).to_owned();
        let left = had.filter(|had| *had.queue != *queue).map(|had| had.queue.to_string().into());
        let [mut detectors, mut repositories, mut sources] = case.map_or_else(
            || [const { Spread { count: 0, some: Vec::new(), is_more: false } }; 3],
            |case| [&case.detectors, &case.repositories, &case.sources].map(Clone::clone),
        );
        detectors.add(news.alert.text(Field::Detector));
        repositories.add(news.alert.text(Field::Repository));
        sources.add(news.alert.text(Field::SourceIp));
        Some(Told {
            case_id: news.counters.case_id.clone(),
            revision: had.map_or(0, |had| had.revision) + 1,
            state: had.map_or(state, |had| state.max(had.state)),
            queue: queue.into(),
            left,
            priority: had.map_or(priority, |had| priority.max(had.priority)),
            ack_by: ack_by(had, news, &changed),
            nhi: news.alert.text(Field::NhiId).map(|nhi| nhi.to_owned().into()),
            count: case.map_or(0, |case| case.seen).max(news.counters.seen),
            first_seen: news.counters.first_seen,
            last_seen: match news.revised {
                Some(_) => case.map_or(news.now, |case| case.last_seen),
                None => news.now,
            },
            detectors,
            repositories,
            sources,
            related: self.related(&news.counters.case_id, news.alert),
            worked: case.and_then(|case| worked_after(case, &changed)),
            changed,
        })
    }
}

/// Those who have a deadline keep it. Where the case asks for attention anew, it may come earlier,
/// and those who have met or missed theirs have no longer than they had before.
fn ack_by(had: Option<&Had>, news: &News<'_>, changed: &[Change]) -> Option<Millis> {
    let own = news.decision.fate.ack_by();
    let Some(had) = had else { return own };
    if !asks_anew(changed) {
        return had.ack_by;
    }
    // What is ruled again has kept its first deadline.
    let own = own.filter(|due| news.revised.is_none() || *due > news.now);
    [own, had.due_again(news.now)].into_iter().flatten().min()
}

fn asks_anew(changed: &[Change]) -> bool {
    use Change::{BreakOut, Priority, Reopened, Severity, State};
    changed.iter().any(|change| [State, Priority, Severity, BreakOut, Reopened].contains(change))
}

/// An acknowledgement is of what the case was then.
fn worked_after(case: &Case, changed: &[Change]) -> Option<Box<Worked>> {
    let mut worked = case.worked.clone()?;
    if changed.contains(&Change::Reopened) {
        worked.reopen();
    } else if asks_anew(changed) {
        worked.acked = None;
    }
    Some(worked)
}

fn changes(
    case: &Case,
    had: &Had,
    news: &News<'_>,
    (state, priority): (CaseState, Priority),
) -> Vec<Change> {
    let text = |field| news.alert.text(field);
    let is_new = |spread: &Spread, field| text(field).is_some_and(|value| spread.is_new(value));
    let rule = rule_of(news.decision);
    let is_new_rule = had.rules.len() < WORDS_MAX && !had.rules.contains(&rule);
    let is_urgent = (state, priority) >= (had.state, had.priority);
    let action = action_of(news.decision);
    let is_new_action = action.is_some() && action != had.action;
    let validity = text(Field::CredentialValidity);
    let is_new_validity = |word: &str| !had.validities.iter().any(|known| **known == *word);
    let another = is_new(&case.sources, Field::SourceIp);
    let sources = case.sources.count + u32::from(another);
    let is_first = news.revised.is_none();
    let found = [
        (Change::Facts, news.revised.is_some() && had.alert_id == *news.alert_id),
        (Change::SuppressionOver, news.was_suppressed()),
        (Change::State, state > had.state || is_new_action),
        (Change::Priority, priority > had.priority),
        (Change::Severity, severity(text(Field::Severity)) > had.severity),
        (Change::Rule, is_new_rule && is_urgent),
        (Change::Validity, validity.is_some_and(is_new_validity)),
        (Change::Detector, is_new(&case.detectors, Field::Detector)),
        (Change::Repository, is_new(&case.repositories, Field::Repository)),
        (Change::Sources, another && sources >= had.sources.max(1) * 2),
        (Change::Count, is_first && is_power_of_ten(news.counters.seen)),
        (Change::BreakOut, news.break_out.is_some_and(|out| breaks_out(case, out, news.alert))),
    ];
    found.into_iter().filter(|(_, is_so)| *is_so).map(|(change, _)| change).collect()
}

fn is_power_of_ten(count: i64) -> bool {
    let mut rest = count;
    while rest >= 10 && rest % 10 == 0 {
        rest /= 10;
    }
    rest == 1 && count >= 10
}

/// Once, with the alert that goes over the limit.
fn breaks_out(case: &Case, out: BreakOut, alert: &Alert<'_>) -> bool {
    let spread = case.spread(out.distinct);
    spread.count == out.over && alert.text(out.distinct).is_some_and(|value| spread.is_new(value))
}

impl Cases {
    /// What people are told of alerts that were suppressed and are not ruled again.
    pub fn told_released(
        &self,
        silence: &Silence,
        (queue, priority, ack_by): (&str, Priority, Option<Millis>),
    ) -> Told<'static> {
        let case = self.get(&silence.case_id);
        let had = case.and_then(|case| case.had.as_ref());
        let is_closed = case.and_then(|case| case.worked.as_ref()).is_some_and(|w| w.is_closed());
        let reopened = is_closed.then_some(Change::Reopened);
        let changed: Vec<Change> = [Change::SuppressionOver].into_iter().chain(reopened).collect();
        let worked = case.and_then(|case| worked_after(case, &changed));
        let is_acked = worked.as_ref().is_some_and(|worked| worked.acked.is_some());
        let spread = |of: fn(&Case) -> &Spread| case.map(of).cloned().unwrap_or_default();
        Told {
            case_id: silence.case_id.clone(),
            revision: had.map_or(0, |had| had.revision) + 1,
            worked,
            changed,
            state: had.map_or(CaseState::New, |had| had.state.max(CaseState::New)),
            queue: had.map_or(queue, |had| &had.queue).to_owned().into(),
            left: None,
            priority: had.map_or(priority, |had| had.priority.max(priority)),
            ack_by: had.and_then(|had| had.ack_by).or(ack_by).filter(|_| !is_acked),
            nhi: silence.nhi.as_ref().map(|nhi| nhi.to_string().into()),
            count: silence.count,
            first_seen: silence.since,
            last_seen: silence.last,
            detectors: spread(|case| &case.detectors),
            repositories: spread(|case| &case.repositories),
            sources: spread(|case| &case.sources),
            related: Vec::new(),
        }
    }
}

impl Case {
    /// What is seen again after people closed all of it is a regression. While a part of it is
    /// open, a repeat is of that part, and only something new is not.
    fn reopens(&self, news: &News<'_>, changed: &[Change]) -> bool {
        let Some(worked) = self.worked.as_ref().filter(|worked| worked.is_partly_closed()) else {
            return false;
        };
        let is_new = |change: &Change| !matches!(change, Change::Facts | Change::Count);
        (worked.is_closed() && news.revised.is_none()) || changed.iter().any(is_new)
    }

    /// What people are told when its deadline has passed.
    pub fn told_overdue(&self) -> Option<Told<'static>> {
        let told = self.told_again(Change::Overdue)?;
        Some(Told { priority: told.priority.raised(), ..told })
    }

    /// What people are told of what is held and can't be ruled again. Nothing where they have the
    /// case for another reason.
    pub fn told_unruled(
        &self,
        (queue, priority, ack_by): (&str, Priority, Option<Millis>),
    ) -> Option<Told<'static>> {
        let told = self.told_again(Change::State).filter(|told| told.state == CaseState::Held)?;
        let is_open = !self.worked.as_ref().is_some_and(|worked| worked.is_partly_closed());
        let reopened = if is_open { None } else { Some(Change::Reopened) };
        let changed: Vec<Change> = told.changed.iter().copied().chain(reopened).collect();
        Some(Told {
            state: CaseState::New,
            left: (told.queue != queue).then(|| told.queue.clone()),
            queue: queue.to_owned().into(),
            priority: told.priority.max(priority),
            ack_by,
            worked: worked_after(self, &changed),
            changed,
            ..told
        })
    }

    /// What people are told of an order that was accepted. Nothing of a `release`: the revision
    /// that follows from it tells of itself.
    pub fn told_ordered(&self, statement: &Statement, at: Millis) -> Option<Told<'static>> {
        self.told_worked(at, |worked| worked.take(statement, at))
    }

    /// What people are told when what they accepted for a time is over.
    pub fn told_returned(&self, at: Millis) -> Option<Told<'static>> {
        self.told_worked(at, |worked| {
            worked.end_exception();
            Some(Change::Returned)
        })
    }

    /// A case of its own, for whoever looks at what one person alone accepted of this one.
    pub fn told_review(
        &self,
        case_id: Id,
        (queue, priority, ack_by): (&str, Priority, Option<Millis>),
        at: Millis,
    ) -> Told<'static> {
        Told {
            case_id,
            revision: 1,
            changed: vec![Change::Review],
            state: CaseState::New,
            queue: queue.to_owned().into(),
            left: None,
            priority,
            ack_by,
            nhi: self.subject().map(|nhi| nhi.to_owned().into()),
            count: 1,
            first_seen: at,
            last_seen: at,
            detectors: Spread::default(),
            repositories: Spread::default(),
            sources: Spread::default(),
            related: vec![self.id.to_string()],
            worked: None,
        }
    }

    fn told_worked(
        &self,
        at: Millis,
        work: impl FnOnce(&mut Worked) -> Option<Change>,
    ) -> Option<Told<'static>> {
        let mut worked = self.worked.clone().unwrap_or_default();
        let told = self.told_again(work(&mut worked)?)?;
        let had = self.had.as_ref().filter(|_| worked.acked.is_none());
        let ack_by = had.and_then(|had| had.due_again(at));
        Some(Told { ack_by, worked: Some(worked), ..told })
    }

    /// What people have already, because of this.
    fn told_again(&self, change: Change) -> Option<Told<'static>> {
        let had = self.had.as_ref()?;
        Some(Told {
            case_id: self.id.to_string(),
            revision: had.revision + 1,
            changed: vec![change],
            state: had.state,
            queue: had.queue.to_string().into(),
            left: None,
            priority: had.priority,
            ack_by: had.ack_by,
            nhi: self.nhi.as_ref().map(|nhi| nhi.to_string().into()),
            count: self.seen,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            detectors: self.detectors.clone(),
            repositories: self.repositories.clone(),
            sources: self.sources.clone(),
            related: Vec::new(),
            worked: self.worked.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_at_powers_of_ten() {
        let told: Vec<i64> = (0..=10_000).filter(|count| is_power_of_ten(*count)).collect();
        assert_eq!(told, [10, 100, 1000, 10_000]);
    }
}
