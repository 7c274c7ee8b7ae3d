use super::keys::Keys;
use super::scan::{Name, Scanner};
use super::{Fault, Kind, Malformed, Path, Raw, Step};
use crate::pattern::is_same;

/// Room for this many values is made before any is found.
const FOUND_USUALLY: usize = 32;
/// And for this many keys in objects that are open.
const ASKED_USUALLY: usize = 128;

/// The place of no value. Not 0: memory that is to be zero takes the allocator longer.
const NOTHING: u32 = u32::MAX;

/// Paths made into a trie, so that one walk over a text finds the values of all of them.
#[derive(Debug, Clone)]
pub struct Extractor {
    nodes: Vec<Node>,
    slots: usize,
    /// Keys match whatever the case of their ASCII letters.
    ignore_case: bool,
}

#[derive(Debug, Clone, Default)]
struct Node {
    slot: Option<usize>,
    keys: Keys,
    items: Vec<(usize, usize)>,
    each: Option<usize>,
    /// For each key asked of a list's items, the texts it may have and where each leads.
    wheres: Vec<(String, Vec<(String, usize)>)>,
    values: Option<usize>,
}

/// What was found, by slot. A path with `[*]` or `{*}` may find many values; the first stands
/// apart.
#[derive(Debug, Clone, Default)]
pub struct Slots<'a> {
    /// For each slot the place of its value in `first`, or [`NOTHING`], as for most paths of most
    /// texts.
    places: Vec<u32>,
    first: Vec<Raw<'a>>,
    more: Vec<(usize, Raw<'a>)>,
    keys: Vec<(usize, Raw<'a>)>,
}

impl<'a> Slots<'a> {
    #[inline]
    pub fn get(&self, slot: usize) -> Option<&Raw<'a>> {
        self.first.get(*self.places.get(slot)? as usize)
    }

    #[inline]
    pub fn lacks(&self, slot: usize) -> bool {
        self.places.get(slot).is_none_or(|place| *place == NOTHING)
    }

    pub fn all(&self, slot: usize) -> impl Iterator<Item = &Raw<'a>> {
        let more = self.more.iter().filter(move |(of, _)| *of == slot).map(|(_, raw)| raw);
        self.get(slot).into_iter().chain(more)
    }

    /// The keys of a path that ends with `{*}`, in the order of its values.
    pub fn keys(&self, slot: usize) -> impl Iterator<Item = &Raw<'a>> {
        self.keys.iter().filter(move |(of, _)| *of == slot).map(|(_, key)| key)
    }

    /// Places everything `by` bytes further: where the text that was read stands in a larger one.
    pub fn shift(&mut self, by: usize) {
        let more = self.more.iter_mut().chain(&mut self.keys).map(|(_, raw)| raw);
        self.first.iter_mut().chain(more).for_each(|raw| raw.at += by);
    }
}

impl Extractor {
    pub fn new(ignore_case: bool) -> Self {
        Self { nodes: vec![Node::default()], slots: 0, ignore_case }
    }

    /// The slot of a path; the same path always has the same.
    pub fn slot(&mut self, path: &Path) -> usize {
        let mut at = 0;
        for step in &path.steps {
            at = self.child(at, step);
        }
        let fresh = self.slots;
        let Some(node) = self.nodes.get_mut(at) else { return fresh };
        let slot = *node.slot.get_or_insert(fresh);
        self.slots += usize::from(slot == fresh);
        slot
    }

    fn child(&mut self, at: usize, step: &Step) -> usize {
        let fresh = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let child = match step {
            Step::Each => *node.each.get_or_insert(fresh),
            Step::Values => *node.values.get_or_insert(fresh),
            Step::Where { key, value } => where_child(&mut node.wheres, (key, value), fresh),
            Step::Index(index) => {
                let found = node.items.iter().find(|(item, _)| item == index).map(|item| item.1);
                found.unwrap_or_else(|| {
                    node.items.push((*index, fresh));
                    fresh
                })
            }
            Step::Key(key) => {
                let same = |name: &str| {
                    name == key || (self.ignore_case && name.eq_ignore_ascii_case(key))
                };
                node.keys.named(same).unwrap_or_else(|| {
                    node.keys.add(key, fresh);
                    fresh
                })
            }
        };
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }

    /// Reads a whole text. A key on an asked path that comes twice in one object is refused:
    /// whichever were taken, another reader may take the other.
    pub fn fill<'a>(&self, text: &'a str) -> Result<Slots<'a>, Malformed> {
        let places = vec![NOTHING; self.slots];
        let first = Vec::with_capacity(self.slots.min(FOUND_USUALLY));
        let slots = Slots { places, first, ..Slots::default() };
        let scanner = Scanner::new(text);
        let seen = Vec::with_capacity(ASKED_USUALLY);
        let mut walk = Walk { of: self, scanner, slots, seen };
        walk.value(0, 0)?;
        walk.scanner.end()?;
        Ok(walk.slots)
    }
}

struct Walk<'a, 'e> {
    of: &'e Extractor,
    scanner: Scanner<'a>,
    slots: Slots<'a>,
    /// For each object that is open, innermost last, and each key asked of it: where it was met,
    /// or 0.
    seen: Vec<usize>,
}

impl<'a> Walk<'a, '_> {
    fn put(&mut self, slot: usize, raw: Raw<'a>) {
        match self.slots.places.get_mut(slot) {
            Some(place) if *place == NOTHING => {
                *place = u32::try_from(self.slots.first.len()).unwrap_or(NOTHING);
                self.slots.first.push(raw);
            }
            _ => self.slots.more.push((slot, raw)),
        }
    }

    #[inline(always)]
    fn value(&mut self, node: usize, depth: usize) -> Result<(), Malformed> {
        let of = self.of;
        let Some(node) = of.nodes.get(node) else { return self.scanner.skip(depth) };
        let first = self.scanner.peek();
        let start = self.scanner.at;
        let kind = match first {
            Some(open @ (b'{' | b'[')) => self.inside(node, open == b'{', depth)?,
            _ => self.scanner.pass_scalar()?,
        };
        if let Some(slot) = node.slot {
            self.put(slot, self.scanner.since(start, kind));
        }
        Ok(())
    }

    #[inline(never)]
    fn inside(&mut self, node: &Node, is_object: bool, depth: usize) -> Result<Kind, Malformed> {
        if is_object {
            self.object(node, depth)?;
            return Ok(Kind::Object);
        }
        self.list(node, depth)?;
        Ok(Kind::List)
    }

    fn object(&mut self, node: &Node, depth: usize) -> Result<(), Malformed> {
        if node.keys.is_empty() && node.values.is_none() {
            return self.scanner.skip(depth);
        }
        self.scanner.enter(depth)?;
        if self.scanner.closes_at_once(b'}') {
            return Ok(());
        }
        let before = self.seen.len();
        self.seen.resize(before + node.keys.len(), 0);
        loop {
            let key = self.scanner.name()?;
            // At its quote.
            let start = key.at - 1;
            let mut named = self.find(node, &key);
            match named.and_then(|(index, _)| self.seen.get_mut(before + index)) {
                None => {}
                Some(seen @ 0) => *seen = start,
                Some(&mut earlier) => {
                    if !self.is_respelled(earlier, start, depth + 1) {
                        return Err(Malformed { fault: Fault::DuplicateKey, at: start });
                    }
                    named = None;
                }
            }
            if let Some(values) = node.values {
                let slot = self.of.nodes.get(values).and_then(|node| node.slot);
                self.slots.keys.extend(slot.map(|slot| (slot, self.scanner.named(&key))));
            }
            match (named, node.values) {
                (None, None) => self.scanner.skip(depth + 1)?,
                (Some((_, only)), None) | (None, Some(only)) => self.value(only, depth + 1)?,
                (Some((_, named)), values) => self.children(&[Some(named), values], depth + 1)?,
            }
            if !self.scanner.another(b'}')? {
                self.seen.truncate(before);
                return Ok(());
            }
        }
    }

    /// Some forwarders keep both spellings of a key: where case does not count and the value is
    /// the same to the byte, nothing is said twice.
    fn is_respelled(&self, earlier: usize, later: usize, depth: usize) -> bool {
        let entry = |at: usize| {
            let mut scanner = self.scanner.clone();
            scanner.at = at;
            let key = scanner.key().ok()?;
            scanner.peek();
            let start = scanner.at;
            scanner.skip(depth).ok()?;
            Some((key.text, scanner.since(start, Kind::Object).text))
        };
        let (earlier, later) = (entry(earlier), entry(later));
        self.of.ignore_case && earlier.zip(later).is_some_and(|(a, b)| a.0 != b.0 && a.1 == b.1)
    }

    /// One value, walked once for each of the paths that lead on from it.
    fn children(&mut self, children: &[Option<usize>], depth: usize) -> Result<(), Malformed> {
        let start = self.scanner.at;
        let mut is_taken = false;
        for child in children.iter().flatten() {
            self.scanner.at = start;
            self.value(*child, depth)?;
            is_taken = true;
        }
        if is_taken { Ok(()) } else { self.scanner.skip(depth) }
    }

    /// Which of the node's keys it is, and where that leads.
    #[inline]
    fn find(&self, node: &Node, key: &Name) -> Option<(usize, usize)> {
        if key.kind == (Kind::Text { is_escaped: true }) {
            let name = self.scanner.named(key).scalar()?;
            return self.find_from(node, name.as_bytes(), name.len());
        }
        self.find_from(node, self.scanner.bytes.get(key.at..)?, key.end - key.at)
    }

    #[inline]
    fn find_from(&self, node: &Node, from: &[u8], length: usize) -> Option<(usize, usize)> {
        let name = from.get(..length)?;
        node.keys.find(from, length, |known| {
            is_same(known, name) || (self.of.ignore_case && known.eq_ignore_ascii_case(name))
        })
    }

    fn list(&mut self, node: &Node, depth: usize) -> Result<(), Malformed> {
        if node.each.is_none() && node.items.is_empty() && node.wheres.is_empty() {
            return self.scanner.skip(depth);
        }
        self.scanner.enter(depth)?;
        if self.scanner.closes_at_once(b']') {
            return Ok(());
        }
        let mut index = 0;
        let mut matched: Vec<usize> = Vec::new();
        loop {
            let item = node.items.iter().find(|(item, _)| *item == index).map(|item| item.1);
            if node.wheres.is_empty() {
                self.children(&[item, node.each], depth + 1)?;
            } else {
                let before = matched.len();
                self.scanner.peek();
                for (key, texts) in &node.wheres {
                    let found = self.scanner.clone().field(key, self.of.ignore_case, depth + 1);
                    let Some(text) = found.and_then(|raw| raw.scalar()) else { continue };
                    let fits = texts.iter().find(|(known, _)| *known == text);
                    matched.extend(fits.map(|fit| fit.1).filter(|child| !matched.contains(child)));
                }
                let fresh = matched.iter().skip(before).map(|child| Some(*child));
                let children: Vec<_> = [item, node.each].into_iter().chain(fresh).collect();
                self.children(&children, depth + 1)?;
            }
            index += 1;
            if !self.scanner.another(b']')? {
                return Ok(());
            }
        }
    }
}

fn where_child(
    wheres: &mut Vec<(String, Vec<(String, usize)>)>,
    (key, value): (&str, &str),
    fresh: usize,
) -> usize {
    let at = wheres.iter().position(|(known, _)| known == key).unwrap_or(wheres.len());
    if at == wheres.len() {
        wheres.push((key.to_owned(), Vec::new()));
    }
    let Some((_, texts)) = wheres.get_mut(at) else { return fresh };
    let found = texts.iter().find(|(known, _)| known == value).map(|text| text.1);
    found.unwrap_or_else(|| {
        texts.push((value.to_owned(), fresh));
        fresh
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::DEPTH_MAX;

    fn find<'a>(paths: &[&str], ignore_case: bool, text: &'a str) -> Result<Slots<'a>, Malformed> {
        let mut extractor = Extractor::new(ignore_case);
        for (slot, path) in paths.iter().enumerate() {
            assert_eq!(extractor.slot(&Path::parse(path).unwrap()), slot);
        }
        extractor.fill(text)
    }

    fn fault(text: &str) -> Fault {
        find(&["a.b"], false, text).unwrap_err().fault
    }

    #[test]
    fn one_walk_finds_all_paths() {
        let text =
            r#" {"a":{"b":1.50,"c":[{"d":"x"},{"d":"y\n"},3]},"k.e":null,"u":{"a":{"b":2}}} "#;
        let paths = ["a.b", "a.c[0].d", "a.c[*].d", "a", "[\"k.e\"]", "nope", "a.c[2]"];
        let slots = find(&paths, false, text).unwrap();
        let text_of = |slot: usize| slots.get(slot).and_then(|raw| raw.scalar());
        assert_eq!(text_of(0).as_deref(), Some("1.50"));
        assert_eq!(text_of(1).as_deref(), Some("x"));
        let all: Vec<_> = slots.all(2).filter_map(|raw| raw.scalar()).collect();
        assert_eq!(all, ["x", "y\n"]);
        assert!(slots.get(3).unwrap().text.starts_with(r#"{"b":1.50"#));
        assert_eq!(slots.get(4).unwrap().kind, Kind::Null);
        assert!(slots.get(5).is_none());
        assert_eq!(text_of(6).as_deref(), Some("3"));
    }

    #[test]
    fn items_are_found_by_what_they_say_and_values_with_their_keys() {
        let text = r#"{"p":[1,{"value":"a","name":"x"},{"name":"y","value":"b"},{"name":"y","value":"c"},
            {"n":7,"value":"d"}],"r":{"k1":[{"v":1}],"k\u0032":[{"v":2},{"v":3}]}}"#;
        let paths = [
            "p[name=x].value",
            "p[name=y].value",
            "p[n=7].value",
            "r{*}",
            "r{*}[*].v",
            "r.k1[0].v",
        ];
        let slots = find(&paths, false, text).unwrap();
        let texts = |slot: usize| {
            slots.all(slot).filter_map(|raw| Some(raw.scalar()?.into_owned())).collect::<Vec<_>>()
        };
        assert_eq!(
            (texts(0), texts(1), texts(2)),
            (vec!["a".into()], vec!["b".into()], vec!["d".into()])
        );
        assert_eq!(
            (texts(4), texts(5)),
            (vec!["1".into(), "2".into(), "3".into()], vec!["1".into()])
        );
        let keys: Vec<_> = slots.keys(3).filter_map(|raw| raw.scalar()).collect();
        assert_eq!(keys, ["k1", "k2"]);
        assert!(find(&["p[name=x].value"], false, r#"{"p":[{"name":"x","value"}]}"#).is_err());
    }

    #[test]
    fn case_counts_unless_it_was_declared_not_to() {
        let text = r#"{"Detail":{"Id":"x"}}"#;
        assert!(find(&["detail.id"], false, text).unwrap().get(0).is_none());
        assert!(find(&["detail.id"], true, text).unwrap().get(0).is_some());
        let twice = find(&["id"], true, r#"{"id":1,"ID":2}"#).unwrap_err();
        assert_eq!(twice, Malformed { fault: Fault::DuplicateKey, at: 8 });
        let both = find(&["id.a"], true, r#"{"id":{"a":1},"ID": {"a":1},"x":2}"#).unwrap();
        assert_eq!(both.all(0).count(), 1, "both spellings of one value");
        assert!(find(&["id"], true, r#"{"id":1,"id":1}"#).is_err(), "one spelling, twice");
        assert!(find(&["id"], false, r#"{"id":1,"ID":2}"#).is_ok(), "two keys");
    }

    #[test]
    fn faults_are_told_apart() {
        assert_eq!(fault(r#"{"a":{"b":1},"a":{"b":2}}"#), Fault::DuplicateKey);
        assert_eq!(fault(r#"{"a":{"b":1,"\u0062":2}}"#), Fault::DuplicateKey);
        assert_eq!(fault("{} {}"), Fault::AfterTheEnd);
        assert_eq!(fault("{\"a\":\"\0\"}"), Fault::Syntax);
        assert_eq!(fault(r#"{"a":"#), Fault::Ended);
        assert_eq!(fault(&"[".repeat(10_000)), Fault::TooDeep);
        assert_eq!(fault(&"{\"a\":".repeat(10_000)), Fault::TooDeep);
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(find(&["a"], false, &nested(DEPTH_MAX)).is_ok());
        assert_eq!(fault(&nested(DEPTH_MAX + 1)), Fault::TooDeep);
        assert!(find(&["a"], false, r#"{"x":1,"x":2}"#).is_ok(), "nobody reads x");
    }

    proptest! {
        /// serde_json is the oracle for what is JSON.
        #[test]
        fn what_is_json_is_what_serde_json_says(
            text in r#"([\[\]{},:"\\ \t]|[a-c]|-?[0-9.eE+]{1,4}|true|null|"[a-c]{0,2}":?|\\u00e9){0,12}"#
        ) {
            let ours = find(&["z.z", "z[*]", "a[b=c]", "b{*}"], false, &text).is_ok();
            prop_assert_eq!(ours, serde_json::from_str::<serde_json::Value>(&text).is_ok()
                || serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
        }
    }
}
