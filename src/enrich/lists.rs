//! Lists of networks as those who make them publish them.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use regex::Regex;
use serde::Deserialize;

use super::rows::each_row;
use crate::case::Millis;
use crate::config::{AddressList, ListFormat, TableFormat};
use crate::text::{At, Problems, Source};

pub(super) struct Listed<'l> {
    pub network: IpNet,
    pub label: Option<&'l str>,
    pub valid_until: Option<Millis>,
}

/// A list whose first lines are all wrong need not tell each of them.
const PROBLEMS_MAX: usize = 20;

/// Hands each network of a list to `take`, which says whether to go on.
///
/// Errors: adds what is no network, and columns that the list does not have.
pub(super) fn each_network(
    source: &Source,
    list: &AddressList,
    now: Millis,
    problems: &mut Problems,
    take: &mut dyn FnMut(Listed<'_>) -> bool,
) {
    match list.format {
        ListFormat::Plain => plain(source, problems, take),
        ListFormat::Csv => csv(source, list, problems, take),
        ListFormat::Stix => stix(source, now, problems, take),
    }
}

/// An address is the network of itself alone.
fn network_of(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| network.trunc())
}

fn at(source: &Source, line: usize, column: usize) -> At {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    At { path: source.path.clone(), line: number(line), column: number(column) }
}

fn is_enough(at: &At, limit: usize, problems: &mut Problems) -> bool {
    let is_enough = problems.len() >= limit;
    if is_enough {
        problems.add(at, "the rest of this list is not checked before these are right");
    }
    is_enough
}

/// `#` and `;` begin a comment, wherever they stand.
fn plain(source: &Source, problems: &mut Problems, take: &mut dyn FnMut(Listed<'_>) -> bool) {
    let limit = problems.len() + PROBLEMS_MAX;
    for (index, line) in source.text.lines().enumerate() {
        let text = line.split(['#', ';']).next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let Some(network) = network_of(text) else {
            let place = at(source, index + 1, 1);
            problems.add(&place, "no address and no network like 192.0.2.0/24");
            if is_enough(&place, limit, problems) {
                return;
            }
            continue;
        };
        if !take(Listed { network, label: None, valid_until: None }) {
            return;
        }
    }
}

fn csv(
    source: &Source,
    list: &AddressList,
    problems: &mut Problems,
    take: &mut dyn FnMut(Listed<'_>) -> bool,
) {
    let columns: Vec<&str> =
        list.column.iter().chain(&list.label_column).map(String::as_str).collect();
    each_row(source, TableFormat::Csv, &columns, &|_| false, problems, &mut |row, problems| {
        let cell = |index: usize| row.cells.get(index).and_then(Option::as_deref);
        let Some(network) = cell(0).and_then(network_of) else {
            problems.add(&row.at(Some(0)), "no address and no network like 192.0.2.0/24");
            return true;
        };
        take(Listed { network, label: cell(1), valid_until: None })
    });
}

#[derive(Deserialize)]
struct Bundle {
    objects: Vec<Object>,
    /// Of a TAXII 2.1 envelope, which holds objects as a bundle does.
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct Object {
    r#type: String,
    pattern: Option<String>,
    pattern_type: Option<String>,
    valid_from: Option<String>,
    valid_until: Option<String>,
    #[serde(default)]
    revoked: bool,
    #[serde(default)]
    indicator_types: Vec<String>,
    name: Option<String>,
}

/// Indicators that are nothing but addresses, in force now. One that asks for more than an address
/// says nothing of the address alone.
fn stix(
    source: &Source,
    now: Millis,
    problems: &mut Problems,
    take: &mut dyn FnMut(Listed<'_>) -> bool,
) {
    let bundle: Bundle = match serde_json::from_str(&source.text) {
        Ok(bundle) => bundle,
        Err(error) => {
            let place = at(source, error.line(), error.column());
            return problems.add(&place, "no STIX 2.1 bundle: `objects` with a `type` each");
        }
    };
    if bundle.more {
        let told = "one page of a TAXII collection that has more: a part would pass for the whole";
        return problems.add(&at(source, 1, 1), told);
    }
    for object in &bundle.objects {
        let time = |text: &Option<String>| text.as_deref().and_then(Millis::parse);
        let (from, until) = (time(&object.valid_from), time(&object.valid_until));
        let is_stix = object.pattern_type.as_deref().unwrap_or("stix") == "stix";
        let is_in_force = !object.revoked
            && from.is_none_or(|from| from <= now)
            && until.is_none_or(|until| until > now);
        if object.r#type != "indicator" || !is_stix || !is_in_force {
            continue;
        }
        let label = object.indicator_types.first().or(object.name.as_ref()).map(String::as_str);
        let networks = object.pattern.as_deref().and_then(addresses_of).unwrap_or_default();
        for network in networks {
            if !take(Listed { network, label, valid_until: until }) {
                return;
            }
        }
    }
}

/// Nothing when the pattern is more than a choice of addresses.
fn addresses_of(pattern: &str) -> Option<Vec<IpNet>> {
    static COMPARISON: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let is = r"^\s*\[?\s*ipv[46]-addr:value\s*(?:=|ISSUBSET)\s*'([^']*)'\s*\]?\s*$";
        Regex::new(is).ok()
    });
    let comparison = COMPARISON.as_ref()?;
    let network = |part: &str| network_of(comparison.captures(part)?.get(1)?.as_str());
    pattern.split(" OR ").map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_taken_only_when_it_is_addresses_alone() {
        let of = |pattern| addresses_of(pattern).map(|all| format!("{all:?}"));
        for (pattern, expected) in [
            ("[ipv4-addr:value = '192.0.2.1']", "[192.0.2.1/32]"),
            ("[ipv4-addr:value ISSUBSET '192.0.2.9/24']", "[192.0.2.0/24]"),
            (
                "[ipv4-addr:value='192.0.2.1' OR ipv6-addr:value = '2001:db8::1']",
                "[192.0.2.1/32, 2001:db8::1/128]",
            ),
            (
                "[ipv4-addr:value = '192.0.2.1'] OR [ipv4-addr:value = '192.0.2.2']",
                "[192.0.2.1/32, 192.0.2.2/32]",
            ),
        ] {
            assert_eq!(of(pattern).as_deref(), Some(expected), "{pattern}");
        }
        for pattern in [
            "[domain-name:value = 'example.com']",
            "[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port = 22]",
            "[ipv4-addr:value = '192.0.2.1'] FOLLOWEDBY [ipv4-addr:value = '192.0.2.2']",
            "[ipv4-addr:value != '192.0.2.1']",
            "[ipv4-addr:value = 'nonsense']",
            "",
        ] {
            assert_eq!(of(pattern), None, "{pattern}");
        }
    }
}
