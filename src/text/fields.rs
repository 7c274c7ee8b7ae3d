use super::{At, Data, Node, Problems};

/// Reads the keys of one mapping; whatever is left over when it is finished is an unknown key.
pub struct Fields<'n> {
    pub at: At,
    entries: Vec<(&'n Node, &'n Node, bool)>,
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Nothing, with a problem, when the node is no mapping with text keys.
    pub fn of(node: &'n Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let Data::Map(entries) = &node.data else {
            problems.add(&node.at, format!("{what} must be a mapping, not {}", node.kind()));
            return None;
        };
        let entries = entries.iter().map(|(key, value)| (key, value, false)).collect();
        Some(Self { at: node.at.clone(), entries, asked: Vec::new() })
    }

    pub fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.push(key);
        for (name, value, used) in &mut self.entries {
            if name.text() == Some(key) {
                *used = true;
                return Some(*value).filter(|node| node.data != Data::Null);
            }
        }
        None
    }

    pub fn require(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            problems.add(&self.at, format!("`{key}` is missing"));
        }
        found
    }

    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'n str> {
        let node = self.get(key)?;
        let text = node.text();
        if text.is_none() {
            problems.add(&node.at, format!("`{key}` must be text, not {}", node.kind()));
        }
        text
    }

    pub fn require_text(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'n str> {
        self.require(key, problems)?;
        self.text(key, problems)
    }

    pub fn int(&mut self, key: &'static str, problems: &mut Problems) -> Option<i64> {
        let node = self.get(key)?;
        if let Data::Int(value) = node.data {
            return Some(value);
        }
        problems.add(&node.at, format!("`{key}` must be a whole number, not {}", node.kind()));
        None
    }

    pub fn bool(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.get(key)?;
        if let Data::Bool(value) = node.data {
            return Some(value);
        }
        problems.add(&node.at, format!("`{key}` must be true or false, not {}", node.kind()));
        None
    }

    /// The items of a list; an absent key is an empty list.
    pub fn list(&mut self, key: &'static str, problems: &mut Problems) -> &'n [Node] {
        let Some(node) = self.get(key) else { return &[] };
        if let Data::List(items) = &node.data {
            return items;
        }
        problems.add(&node.at, format!("`{key}` must be a list, not {}", node.kind()));
        &[]
    }

    /// A list of texts; one text stands for a list of one.
    pub fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<(&'n str, &'n At)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let items = match &node.data {
            Data::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut texts = Vec::new();
        for item in items {
            match item.text() {
                Some(text) => texts.push((text, &item.at)),
                None => problems.add(&item.at, format!("must be text, not {}", item.kind())),
            }
        }
        texts
    }

    /// The entries not asked for by name, for mappings whose keys the user chooses.
    pub fn rest(&mut self) -> Vec<(&'n Node, &'n Node)> {
        let left = self.entries.iter_mut().filter(|(_, _, used)| !*used);
        left.map(|(key, value, used)| {
            *used = true;
            (*key, *value)
        })
        .collect()
    }

    /// Every key nobody asked for is a problem, with the nearest known key named, or all of them.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _, used) in &self.entries {
            if *used {
                continue;
            }
            let name = key.text().unwrap_or("?");
            let hint = match suggestion(name, self.asked.iter().copied()) {
                hint if hint.is_empty() => self.known(),
                hint => hint,
            };
            problems.add(&key.at, format!("unknown key `{name}`{hint}"));
        }
    }

    fn known(&self) -> String {
        let mut known: Vec<&str> = Vec::new();
        for key in &self.asked {
            if !known.contains(key) {
                known.push(key);
            }
        }
        format!("; known here: {}", known.join(", "))
    }
}

/// Nobody misspells a longer word; comparing it takes time.
const SUGGESTED_MAX: usize = 80;

/// `, did you mean …?` for the nearest candidate, or nothing when none is near.
pub fn suggestion<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    if word.len() > SUGGESTED_MAX {
        return String::new();
    }
    let near = candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(word.len()) / 4);
    near.map_or_else(String::new, |(_, candidate)| format!(", did you mean `{candidate}`?"))
}

/// Edits (insert, delete, replace, swap neighbors) from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let get = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX - 1);
            let replace = get(&last, j) + usize::from(a != b);
            let mut best = replace.min(get(&last, j + 1) + 1).min(get(&row, j) + 1);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if swapped && a != b {
                best = best.min(get(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["queue", "priority", "ack_within"];
        assert_eq!(suggestion("quue", known.into_iter()), ", did you mean `queue`?");
        assert_eq!(suggestion("prioirty", known.into_iter()), ", did you mean `priority`?");
        assert_eq!(suggestion("banana", known.into_iter()), "");
    }
}
