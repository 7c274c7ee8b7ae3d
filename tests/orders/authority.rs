use tipstaff::case::Verb;

use crate::rig::{BOUNDARY, policy};

const BARE: &str = "boundary: base\nowner: o\ndefault_queue: {queue: triage, priority: low}\n\
    queues: {triage: people}\n";

/// By verb and person the role that lets them.
fn may(layers: &[&str]) -> Vec<(Verb, &'static str)> {
    let checked = policy(layers).unwrap();
    let authority = &checked.policy.boundary().authority;
    let all = Verb::ALL
        .into_iter()
        .flat_map(|verb| ["sam", "dana", "kim", "lee", "eve"].map(|person| (verb, person)));
    all.filter(|(verb, person)| authority.role(person, *verb).is_some()).collect()
}

#[test]
fn an_added_layer_only_narrows() {
    let base = may(&[BOUNDARY]);
    assert!(base.contains(&(Verb::Ack, "sam")) && base.contains(&(Verb::Close, "lee")));
    for more in [
        "roles: {lead: [dana, eve]}\n",
        "orders: {ack: [lead], close: [analyst]}\n",
        "orders: {except: {requester: [lead], approver: [analyst], max: 90d}}\n",
        "roles: {analyst: [kim, eve]}\norders: {assign: [analyst]}\n",
        "stop: false\n",
    ] {
        let layer = format!("boundary: more\nowner: q\n{more}");
        let both = may(&[BOUNDARY, &layer]);
        assert!(both.iter().all(|each| base.contains(each)), "{more}: {both:?}");
        let is_silent = more.starts_with("stop");
        assert_eq!(both == base, is_silent, "{more}");
    }
    let layer = "boundary: more\nowner: q\nroles: {lead: [dana, eve]}\n";
    assert!(!may(&[BOUNDARY, layer]).contains(&(Verb::Close, "lee")));
    // A role that the base does not have is in no layer.
    let roles = BOUNDARY.split_once("roles").unwrap().1;
    assert!(policy(&[BARE, &format!("boundary: more\nowner: q\nroles{roles}")]).is_err());
}

#[test]
fn the_strictest_cap_counts() {
    let cap = |more: &str| {
        let layer = format!("boundary: more\nowner: q\n{more}");
        let checked = policy(&[BOUNDARY, &layer]).unwrap();
        let except = checked.policy.boundary().authority.except.as_ref();
        except.map(|except| (except.max_ms / 86_400_000, except.emergency_max_ms.is_some()))
    };
    assert_eq!(cap("stop: false\n"), Some((30, true)));
    let except = |max: &str| {
        format!("orders: {{except: {{requester: [analyst], approver: [lead], max: {max}}}}}\n")
    };
    assert_eq!(cap(&except("7d")), Some((7, false)), "nor an emergency, which it does not name");
    assert_eq!(cap(&except("90d")), Some((30, false)));
}

#[test]
fn what_names_nobody_is_a_mistake_at_its_place() {
    let wrong =
        |more: &str| policy(&[&format!("{BARE}{more}")]).err().unwrap_or_default().join("\n");
    for (more, expected) in [
        ("roles: {a: [x]}\norders: {ack: [b]}\n", "boundary.yaml:6:16: there is no role `b`"),
        ("roles: {a: []}\n", "boundary.yaml:5:12: role `a` is empty"),
        ("roles: {a: [x, x]}\n", "boundary.yaml:5:16: `x` is there already"),
        ("roles: {a: [x]}\norders: {ack: []}\n", "boundary.yaml:6:15: `ack` is empty"),
        ("roles: {a: [1]}\n", "boundary.yaml:5:13: must be the name of a person"),
        ("orders: {aks: [a]}\n", "unknown key `aks`; known here: ack, assign"),
        (
            "roles: {a: [x]}\norders: {except: {requester: a, approver: a, max: 1h, emergency_max: 2h}}\n",
            "`emergency_max` is longer than `max`",
        ),
    ] {
        let found = wrong(more);
        assert!(found.contains(expected), "{more}: {found}");
    }
    let as_long = "except: {requester: a, approver: a, max: 2h, emergency_max: 2h}";
    assert_eq!(wrong(&format!("roles: {{a: [x]}}\norders: {{{as_long}}}\n")), "");
}
