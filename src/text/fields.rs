use super::{At, Data, Node, Problems};

/// Reads the keys of one mapping; whatever is left over when it is finished is an unknown key.
pub struct Fields<'n> {
    pub at: At,
    entries: Vec<Entry<'n>>,
    asked: Vec<&'static str>,
}

struct Entry<'n> {
    key: &'n Node,
    value: &'n Node,
    is_used: bool,
    /// It is said already that nothing stands there.
    is_told: bool,
}

impl Entry<'_> {
    fn is_empty(&self) -> bool {
        self.value.data == Data::Null
    }

    /// INVARIANT (INV-5): who forgot the value did not mean that there is none.
    fn tell_empty(&mut self, problems: &mut Problems) {
        if !std::mem::replace(&mut self.is_told, true) {
            let name = self.key.text().unwrap_or("?");
            problems.add(&self.key.at, format!("`{name}` has no value: write one, or no `{name}`"));
        }
    }
}

impl<'n> Fields<'n> {
    /// Nothing, with a problem, when the node is no mapping with text keys.
    pub fn of(node: &'n Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let Data::Map(entries) = &node.data else {
            problems.add(&node.at, format!("{what} must be a mapping, not {}", node.kind()));
            return None;
        };
        let entries = entries.iter();
        let entries =
            entries.map(|(key, value)| Entry { key, value, is_used: false, is_told: false });
        Some(Self { at: node.at.clone(), entries: entries.collect(), asked: Vec::new() })
    }

    fn entry(&mut self, key: &'static str) -> Option<&mut Entry<'n>> {
        self.asked.push(key);
        let entry = self.entries.iter_mut().find(|entry| entry.key.text() == Some(key))?;
        entry.is_used = true;
        Some(entry)
    }

    /// Nothing when the key is absent, or has no value, which is a problem by the end.
    pub fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        self.entry(key).filter(|entry| !entry.is_empty()).map(|entry| entry.value)
    }

    pub fn require(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'n Node> {
        match self.entry(key) {
            Some(entry) if entry.is_empty() => {
                entry.tell_empty(problems);
                None
            }
            Some(entry) => Some(entry.value),
            None => {
                problems.add(&self.at, format!("`{key}` is missing"));
                None
            }
        }
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
        let left = self.entries.iter_mut().filter(|entry| !entry.is_used);
        left.map(|entry| {
            (entry.is_used, entry.is_told) = (true, true);
            (entry.key, entry.value)
        })
        .collect()
    }

    /// Every key that has no value is a problem, and every key nobody asked for, with the nearest
    /// known key named, or all of them.
    pub fn finish(mut self, problems: &mut Problems) {
        let mut entries = std::mem::take(&mut self.entries);
        for entry in &mut entries {
            if entry.is_used && entry.is_empty() {
                entry.tell_empty(problems);
            }
            if entry.is_used {
                continue;
            }
            let name = entry.key.text().unwrap_or("?");
            let hint = match suggestion(name, self.asked.iter().copied()) {
                hint if hint.is_empty() => self.known(),
                hint => hint,
            };
            problems.add(&entry.key.at, format!("unknown key `{name}`{hint}"));
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
    fn a_key_without_a_value_is_told_once_and_counts_as_none() {
        let source = crate::text::Source::new("f.yaml", "a:\nb: ~\nc: null\nd: 1\n");
        let mut problems = Problems::default();
        let node = crate::text::read(&source, &mut problems).unwrap();
        let mut fields = Fields::of(&node, "it", &mut problems).unwrap();
        assert!(fields.get("a").is_none() && fields.require("b", &mut problems).is_none());
        assert!(fields.require("e", &mut problems).is_none());
        assert_eq!(fields.rest().len(), 2, "what is read by name of the user tells it itself");
        fields.finish(&mut problems);
        let told: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "f.yaml:1:1: `a` has no value: write one, or no `a`",
                "f.yaml:1:1: `e` is missing",
                "f.yaml:2:1: `b` has no value: write one, or no `b`",
            ]
        );
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["queue", "priority", "ack_within"];
        assert_eq!(suggestion("quue", known.into_iter()), ", did you mean `queue`?");
        assert_eq!(suggestion("prioirty", known.into_iter()), ", did you mean `priority`?");
        assert_eq!(suggestion("banana", known.into_iter()), "");
    }
}
