use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::lists::{Listed, each_network};
use super::{Answer, Lookup};
use crate::case::{FactRow, FactState, Millis, Type, Value, Why, hex};
use crate::config::{AddressSource, EnricherConfig, Files, Given};
use crate::text::Problems;

/// Networks in memory, by how long their prefix is.
pub struct Addresses {
    /// Longest first: the narrowest network says most.
    lengths: Vec<u8>,
    networks: HashMap<IpNet, Vec<Entry>>,
    lists: Vec<List>,
    names: Names,
    provides: Vec<(String, Type)>,
    gives: Vec<Given>,
}

type Names = (Arc<str>, Arc<str>, Arc<str>);

struct List {
    name: String,
    /// That late the list was known to be so.
    as_of: Millis,
}

struct Entry {
    list: usize,
    label: Option<Arc<str>>,
    valid_until: Option<Millis>,
}

const NETWORKS_MAX: usize = 2_000_000;

impl Addresses {
    /// `now` is the age of a list whose file has no time, and what indicators must be valid at.
    ///
    /// Errors: adds each line that is no network, up to a limit, and returns nothing.
    pub fn read(
        config: &EnricherConfig,
        source: &AddressSource,
        files: &Files,
        now: Millis,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let mut hash = Sha256::new();
        let (mut networks, mut lists) = (HashMap::<IpNet, Vec<Entry>>::new(), Vec::new());
        for (index, list) in source.lists.iter().enumerate() {
            let Some(file) = files.get(&list.file) else {
                problems.add(&list.at, format!("there is no file `{}`", list.file));
                continue;
            };
            hash.update((file.source.text.len() as u64).to_be_bytes());
            hash.update(&file.source.text);
            let mut count = 0;
            each_network(&file.source, list, now, problems, &mut |listed| {
                let Listed { network, label, valid_until } = listed;
                let label = label.or(list.label.as_deref()).map(Arc::from);
                let entry = Entry { list: index, label, valid_until };
                networks.entry(network).or_default().push(entry);
                count += 1;
                count <= NETWORKS_MAX
            });
            if count > NETWORKS_MAX {
                problems.add(&list.at, format!("the list has more than {NETWORKS_MAX} networks"));
            }
            lists.push(List { name: list.name.clone(), as_of: file.modified.unwrap_or(now) });
        }
        let lengths: BTreeSet<u8> = networks.keys().map(IpNet::prefix_len).collect();
        let version: String = hex(&hash.finalize()).chars().take(16).collect();
        let of = match source.lists.as_slice() {
            [list] => format!("list:{}", list.file.rsplit('/').next().unwrap_or_default()),
            lists => format!("lists:{}", lists.len()),
        };
        (problems.len() == before).then(|| Self {
            lengths: lengths.into_iter().rev().collect(),
            networks,
            lists,
            names: (config.name.clone(), of.into(), version.into()),
            provides: config.provides.clone(),
            gives: source.gives.clone(),
        })
    }

    fn row(&self, key: &str) -> FactRow {
        let Ok(address) = key.parse::<IpAddr>() else {
            let state = FactState::Unknown(Why::Error);
            let nothing = (self.provides.as_slice(), Vec::new());
            return FactRow::new(self.names.clone(), key, None, state, nothing);
        };
        let found = self.found(address.to_canonical());
        let of = |entry: &Entry| self.lists.get(entry.list);
        let holding = found.iter().flat_map(|(_, entries)| entries.iter()).filter_map(of);
        let all = self.lists.iter();
        // An address in no list was in none of them when the oldest was made.
        let as_of = match found.is_empty() {
            true => all.map(|list| list.as_of).min(),
            false => holding.clone().map(|list| list.as_of).min(),
        };
        let names: BTreeSet<&str> = holding.map(|list| list.name.as_str()).collect();
        let values = self.gives.iter().map(|given| value(*given, &found, &names)).collect();
        let values = (self.provides.as_slice(), values);
        FactRow::new(self.names.clone(), key, as_of, FactState::Known, values)
    }

    /// Narrowest first.
    fn found(&self, address: IpAddr) -> Vec<(IpNet, &[Entry])> {
        let inside = |length: &u8| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            Some((network, self.networks.get(&network)?.as_slice()))
        };
        self.lengths.iter().filter_map(inside).collect()
    }
}

fn value(given: Given, found: &[(IpNet, &[Entry])], names: &BTreeSet<&str>) -> Value<'static> {
    let text = |text: String| Value::Text(text.into());
    let narrowest = found.first().and_then(|(network, entries)| Some((network, entries.first()?)));
    match (given, narrowest) {
        (Given::Listed, _) => Value::Bool(narrowest.is_some()),
        (_, None) => Value::Absent,
        (Given::Lists, Some(_)) => text(names.iter().copied().collect::<Vec<_>>().join(",")),
        (Given::Network, Some((network, _))) => text(network.to_string()),
        (Given::Label, Some((_, entry))) => {
            entry.label.as_ref().map_or(Value::Absent, |label| text(label.to_string()))
        }
        (Given::ValidUntil, Some((_, entry))) => {
            entry.valid_until.map_or(Value::Absent, Value::Time)
        }
    }
}

impl Lookup for Addresses {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        keys.iter().map(|key| Answer::Now(Arc::new(self.row(key)))).collect()
    }
}
