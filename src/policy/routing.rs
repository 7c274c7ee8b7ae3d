use crate::case::{Alert, Field};
use crate::text::Problems;

use super::findings::Code;
use super::playbook::{Mode, Playbook};

/// Which playbooks an alert goes to, worked out once for every kind and detector they name.
#[derive(Debug)]
pub(super) struct Routing {
    kinds: Vec<KindRoutes>,
    nowhere: Route,
}

#[derive(Debug)]
struct KindRoutes {
    kind: String,
    detectors: Vec<(String, Route)>,
    others: Route,
}

#[derive(Debug)]
pub(super) struct Route {
    pub live: Option<usize>,
    /// Takes the live one's place for its share of the identities.
    pub canary: Option<usize>,
    pub shadows: Vec<usize>,
    pub wanted: Vec<usize>,
}

impl Routing {
    /// `always` are the enrichers that the boundary needs.
    ///
    /// Errors: two live playbooks for one alert without an order, and playbooks nothing reaches.
    pub(super) fn new(playbooks: &[Playbook], always: &[usize], problems: &mut Problems) -> Self {
        let before = problems.len();
        let mut reached = vec![false; playbooks.len()];
        let mut kinds: Vec<&String> = playbooks.iter().flat_map(|each| &each.kinds).collect();
        kinds.sort();
        kinds.dedup();
        let mut route = |kind: &str, detector: Option<&str>| {
            let route = Route::new(playbooks, kind, detector, always, problems);
            if let Some(slot) = route.live.and_then(|live| reached.get_mut(live)) {
                *slot = true;
            }
            route
        };
        let kinds = kinds
            .into_iter()
            .map(|kind| {
                let of_kind = playbooks.iter().filter(|each| each.kinds.contains(kind));
                let mut detectors: Vec<&String> =
                    of_kind.flat_map(|each| &each.detectors).collect();
                detectors.sort();
                detectors.dedup();
                KindRoutes {
                    kind: kind.clone(),
                    others: route(kind, None),
                    detectors: detectors
                        .into_iter()
                        .map(|detector| (detector.clone(), route(kind, Some(detector))))
                        .collect(),
                }
            })
            .collect();
        // Without an order nobody can say who is reached.
        let is_ordered = problems.len() == before;
        for (playbook, reached) in playbooks.iter().zip(reached).filter(|_| is_ordered) {
            if playbook.mode == Mode::Live && !reached {
                let message =
                    "no alert reaches this playbook: others with a lower order take them all";
                problems.under(Code::Unreached.id(), |problems| {
                    problems.add(&playbook.on_at, message);
                });
            }
        }
        let nowhere =
            Route { live: None, canary: None, shadows: Vec::new(), wanted: always.to_vec() };
        Self { kinds, nowhere }
    }

    pub(super) fn route(&self, alert: &Alert<'_>) -> &Route {
        let kind = alert.text(Field::Kind);
        let Some(routes) = self.kinds.iter().find(|each| Some(each.kind.as_str()) == kind) else {
            return &self.nowhere;
        };
        let detector = alert.text(Field::Detector);
        let named = routes.detectors.iter().find(|(name, _)| Some(name.as_str()) == detector);
        named.map_or(&routes.others, |(_, route)| route)
    }
}

impl Route {
    fn new(
        playbooks: &[Playbook],
        kind: &str,
        detector: Option<&str>,
        always: &[usize],
        problems: &mut Problems,
    ) -> Self {
        let fits = |mode: Mode| {
            let all = playbooks.iter().enumerate();
            all.filter(move |(_, each)| each.mode == mode && each.is_for(kind, detector))
        };
        let mut live: Vec<(usize, &Playbook)> = fits(Mode::Live).collect();
        check_orders(kind, &live, problems);
        live.sort_by_key(|(index, playbook)| (playbook.order, *index));
        let live = live.first().map(|(index, _)| *index);
        let canaries: Vec<(usize, &Playbook)> = fits(Mode::Canary).collect();
        check_canaries(kind, &canaries, problems);
        let canary = canaries.first().map(|(index, _)| *index);
        let shadows: Vec<usize> = fits(Mode::Shadow).map(|(index, _)| index).collect();
        let mut wanted = always.to_vec();
        for playbook in
            live.iter().chain(&canary).chain(&shadows).filter_map(|index| playbooks.get(*index))
        {
            let declared = playbook.max_age_ms.iter().enumerate();
            wanted.extend(declared.filter(|(_, age)| age.is_some()).map(|(index, _)| index));
        }
        wanted.sort_unstable();
        wanted.dedup();
        Self { live, canary, shadows, wanted }
    }
}

fn check_canaries(kind: &str, canaries: &[(usize, &Playbook)], problems: &mut Problems) {
    let Some(((_, first), others)) = canaries.split_first() else { return };
    for (_, playbook) in others {
        let message = format!(
            "alerts of kind `{kind}` also go to playbook `{}` ({}): one `mode: canary` at a time",
            first.name, first.at
        );
        problems.add(&playbook.on_at, message);
    }
}

fn check_orders(kind: &str, live: &[(usize, &Playbook)], problems: &mut Problems) {
    for (position, (_, playbook)) in live.iter().enumerate() {
        let clash = live.iter().take(position).find(|(_, earlier)| {
            playbook.order.is_none() || earlier.order.is_none() || earlier.order == playbook.order
        });
        if let Some((_, earlier)) = clash {
            let message = format!(
                "alerts of kind `{kind}` also go to playbook `{}` ({}): give both a different `order`",
                earlier.name, earlier.at
            );
            problems.under(Code::Overlap.id(), |problems| problems.add(&playbook.on_at, message));
        }
    }
}
