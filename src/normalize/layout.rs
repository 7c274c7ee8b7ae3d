use std::borrow::Cow;
use std::rc::Rc;

use super::asked::{Answered, Question, Topics};
use crate::json::{Extractor, Kind, Malformed, Path, Raw, Slots, Start, Step};

/// Where a path of a pipeline file looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Inside one alert, after its envelope was taken off.
    Here(u32),
    /// Inside one alert as it came, envelope and all.
    Bare(u32),
    /// From the top of the document: `$.…`.
    Root(u32),
    /// In an item around the alert: `^.…`.
    Around { up: u32, at: u32 },
    /// The key under which the alert, or an item around it, stands: `@key`.
    Key { up: u32 },
}

/// All paths of one pipeline, gathered while its file is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    here: Vec<Path>,
    bare: Vec<Path>,
    root: Vec<Path>,
    around: Vec<Path>,
    /// What the conditions ask of them.
    pub(super) topics: Topics,
}

impl Layout {
    pub(super) fn here(&mut self, path: Path) -> Place {
        match path.start {
            _ if path.is_key => Place::Key { up: up(&path) },
            Start::Here => Place::Here(index_of(&mut self.here, path)),
            Start::Root => Place::Root(index_of(&mut self.root, path)),
            Start::Around(_) => {
                Place::Around { up: up(&path), at: index_of(&mut self.around, path) }
            }
        }
    }

    pub(super) fn bare(&mut self, path: Path) -> Place {
        match path.start {
            Start::Here if !path.is_key => Place::Bare(index_of(&mut self.bare, path)),
            _ => self.here(path),
        }
    }

    pub(super) fn finish<'p>(
        mut self,
        (unwrap, each): (&[Path], &[Path]),
        open: impl Iterator<Item = &'p Path>,
        ignore_case: bool,
    ) -> Walks {
        let mut element = Extractor::new(ignore_case);
        let bare = self.bare.iter().map(|path| element.slot(path)).collect();
        let mut bases = Vec::new();
        for envelope in unwrap {
            let inside = |path: &Path| {
                let steps = envelope.steps.iter().chain(&path.steps).cloned().collect();
                Path { steps, ..path.clone() }
            };
            let slot = element.slot(envelope);
            let here = self.here.iter().map(|path| short(element.slot(&inside(path)))).collect();
            bases.push(Base { envelope: Some(slot), here });
        }
        let here = self.here.iter().map(|path| short(element.slot(path))).collect();
        bases.push(Base { envelope: None, here });
        let mut whole = element.clone();
        let root = self.root.iter().map(|path| whole.slot(path)).collect();
        let each = each.iter().map(|path| self.each(path, &mut whole, ignore_case)).collect();
        let open = open.map(|path| whole.slot(path)).collect();
        let mut topics = std::mem::take(&mut self.topics);
        topics.prepare();
        Walks { element, whole, bases, bare, root, each, open, topics, names: Names::of(&self) }
    }

    fn each(&self, path: &Path, whole: &mut Extractor, ignore_case: bool) -> Each {
        let parts: Vec<&[Step]> = path.steps.split_inclusive(Step::is_many).collect();
        let depth = parts.len();
        let mut levels = Vec::with_capacity(depth);
        for (level, part) in parts.into_iter().enumerate() {
            let mut inner = Extractor::new(ignore_case);
            let walk = if level == 0 { &mut *whole } else { &mut inner };
            let path = |steps: &[Step]| Path { steps: steps.to_vec(), ..path.clone() };
            let list = walk.slot(&path(part.get(..part.len() - 1).unwrap_or_default()));
            let items = walk.slot(&path(part));
            let of = |path: &Path| (up(path) as usize == depth - level).then(|| walk.slot(path));
            let around = self.around.iter().map(of).collect();
            let is_values = part.last() == Some(&Step::Values);
            let list = List { list, items, is_values };
            levels.push(Level { walk: inner, list, around });
        }
        Each { levels }
    }
}

fn up(path: &Path) -> u32 {
    if let Start::Around(up) = path.start { short(up) } else { 0 }
}

fn index_of(paths: &mut Vec<Path>, path: Path) -> u32 {
    let found = paths.iter().position(|known| *known == path);
    short(found.unwrap_or_else(|| {
        paths.push(path);
        paths.len() - 1
    }))
}

pub(super) fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The two walks over a document: the whole of it, and one alert in it. A slot of the second is the
/// same slot of the first, so that a document that is one alert is walked once.
#[derive(Debug, Clone)]
pub(super) struct Walks {
    pub(super) element: Extractor,
    pub(super) whole: Extractor,
    bases: Vec<Base>,
    bare: Vec<usize>,
    root: Vec<usize>,
    each: Vec<Each>,
    open: Vec<usize>,
    topics: Topics,
    names: Names,
}

/// How each path is written, by its place.
#[derive(Debug, Clone)]
struct Names {
    here: Vec<String>,
    bare: Vec<String>,
    root: Vec<String>,
    around: Vec<String>,
}

impl Names {
    fn of(layout: &Layout) -> Self {
        let written = |paths: &[Path]| paths.iter().map(ToString::to_string).collect();
        Self {
            here: written(&layout.here),
            bare: written(&layout.bare),
            root: written(&layout.root),
            around: written(&layout.around),
        }
    }
}

/// One way in which an alert may be wrapped, and where each path is then.
#[derive(Debug, Clone)]
struct Base {
    envelope: Option<usize>,
    here: Vec<u32>,
}

/// The lists that lead to the alerts, outermost first.
#[derive(Debug, Clone)]
struct Each {
    levels: Vec<Level>,
}

/// The list at one level, in a value that one walk reads; and what is asked of that value.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// Not used at the outermost level, whose value is the document.
    walk: Extractor,
    list: List,
    /// For each `^` path its slot, if it looks at this level.
    around: Vec<Option<usize>>,
}

#[derive(Debug, Clone, Copy)]
struct List {
    list: usize,
    items: usize,
    is_values: bool,
}

/// One value of a list, and what is around it.
#[derive(Clone)]
pub(super) struct Item<'a, 's> {
    pub(super) raw: Raw<'a>,
    key: Option<Raw<'a>>,
    around: Rc<Around<'a, 's>>,
}

struct Around<'a, 's> {
    slots: Rc<Slots<'a>>,
    level: &'s Level,
    key: Option<Raw<'a>>,
    around: Option<Rc<Around<'a, 's>>>,
}

impl Walks {
    /// What the walk found at the path of one entry of the pipeline's `open`.
    pub(super) fn to_open<'a, 'w>(
        &self,
        entry: usize,
        whole: &'w Slots<'a>,
    ) -> impl Iterator<Item = &'w Raw<'a>> {
        let slot = self.open.get(entry).filter(|slot| whole.get(**slot).is_some());
        slot.copied().into_iter().flat_map(|slot| whole.all(slot))
    }

    /// The alerts of the document; nothing when it is one itself.
    ///
    /// By the first `each` that leads to alerts everywhere in it; else by the first that leads to
    /// any, and then what lacks its list is an item itself: it is never passed over.
    pub(super) fn items<'a>(
        &self,
        whole: &Rc<Slots<'a>>,
    ) -> Result<Option<Vec<Item<'a, '_>>>, Malformed> {
        let mut chosen: Option<Items<'a, '_>> = None;
        for each in &self.each {
            let Some((outer, inner)) = each.levels.split_first() else { continue };
            let kind = if outer.list.is_values { Kind::Object } else { Kind::List };
            if whole.get(outer.list.list).is_none_or(|raw| raw.kind != kind) {
                continue;
            }
            let slots = Rc::clone(whole);
            let around = Rc::new(Around { slots, level: outer, key: None, around: None });
            let mut items = Items::default();
            items.gather(&around, inner)?;
            let is_better = chosen.as_ref().is_none_or(|chosen| items.rank() > chosen.rank());
            if is_better {
                chosen = Some(items);
            }
        }
        Ok(chosen.map(|items| items.all))
    }

    /// How a place is written in the pipeline's file.
    pub(super) fn name(&self, place: Place) -> Cow<'_, str> {
        let (names, at) = match place {
            Place::Here(at) => (&self.names.here, at),
            Place::Bare(at) => (&self.names.bare, at),
            Place::Root(at) => (&self.names.root, at),
            Place::Around { at, .. } => (&self.names.around, at),
            Place::Key { up: 0 } => return "@key".into(),
            Place::Key { up } => return format!("{}.@key", "^".repeat(up as usize)).into(),
        };
        names.get(at as usize).map(String::as_str).unwrap_or_default().into()
    }
}

#[derive(Default)]
struct Items<'a, 's> {
    all: Vec<Item<'a, 's>>,
    /// How many of them were to hold a list and have none.
    listless: usize,
    /// Whether a list of alerts was found, be it empty.
    is_there: bool,
}

impl<'a, 's> Items<'a, 's> {
    fn rank(&self) -> (bool, bool) {
        (self.is_there, self.is_there && self.listless == 0)
    }

    /// What stands where a list is looked for and is none is an item.
    fn gather(&mut self, around: &Rc<Around<'a, 's>>, inner: &'s [Level]) -> Result<(), Malformed> {
        let List { items: slot, .. } = around.level.list;
        self.is_there |= inner.is_empty();
        let mut keys = around.slots.keys(slot);
        for raw in around.stranger().into_iter().chain(around.slots.all(slot)) {
            let item = Item { raw: *raw, key: keys.next().copied(), around: Rc::clone(around) };
            let Some((level, deeper)) = inner.split_first() else {
                self.all.push(item);
                continue;
            };
            if !matches!(raw.kind, Kind::Object | Kind::List) {
                self.all.push(item);
                continue;
            }
            let placed =
                |malformed: Malformed| Malformed { at: raw.at + malformed.at, ..malformed };
            let mut slots = level.walk.fill(raw.text).map_err(placed)?;
            if slots.get(level.list.list).is_none() {
                self.listless += 1;
                self.all.push(item);
                continue;
            }
            slots.shift(raw.at);
            let (slots, key, outer) = (Rc::new(slots), item.key, Some(Rc::clone(around)));
            self.gather(&Rc::new(Around { slots, level, key, around: outer }), deeper)?;
        }
        Ok(())
    }
}

impl<'a> Around<'a, '_> {
    fn stranger(&self) -> Option<&Raw<'a>> {
        let List { list, is_values, .. } = self.level.list;
        let kind = if is_values { Kind::Object } else { Kind::List };
        self.slots.get(list).filter(|raw| raw.kind != kind && raw.kind != Kind::Null)
    }
}

/// What one alert's paths found.
pub(super) struct Doc<'a, 's> {
    /// Of the alert alone, envelope and all.
    pub(super) text: &'a str,
    walks: &'s Walks,
    here: &'s Slots<'a>,
    root: &'s Slots<'a>,
    item: Option<&'s Item<'a, 's>>,
    /// The slots of the paths inside the alert, as it is wrapped.
    slots: &'s [u32],
    answered: Answered,
}

impl<'a, 's> Doc<'a, 's> {
    /// `text` is the document's.
    pub(super) fn new(
        walks: &'s Walks,
        text: &'a str,
        (here, root): (&'s Slots<'a>, &'s Slots<'a>),
        item: Option<&'s Item<'a, 's>>,
    ) -> Self {
        let base = walks.bases.iter().find(|base| {
            let envelope = base.envelope.map(|slot| here.get(slot).map(|raw| raw.kind));
            envelope.is_none_or(|kind| kind == Some(Kind::Object))
        });
        let text = item.map_or(text, |item| item.raw.text);
        let answered = walks.topics.unanswered();
        let slots = base.map_or(&[][..], |base| &base.here);
        Self { text, walks, here, root, item, slots, answered }
    }

    pub(super) fn holds(&self, question: Question) -> bool {
        self.walks.topics.holds(question, self, &self.answered)
    }

    /// Where the value stands that was asked about, or should.
    pub(super) fn asked_at(&self, question: Question) -> Option<Place> {
        self.walks.topics.place(question, self)
    }

    /// Whether certainly nothing is there, of most places quicker than [`Self::raw`].
    #[inline]
    pub(super) fn lacks(&self, place: Place) -> bool {
        let Place::Here(at) = place else { return false };
        self.slots.get(at as usize).is_none_or(|slot| self.here.lacks(*slot as usize))
    }

    /// The first value there; `null` is no value.
    #[inline]
    pub(super) fn raw(&self, place: Place) -> Option<&'s Raw<'a>> {
        if self.lacks(place) { None } else { self.found(place) }
    }

    #[inline(never)]
    fn found(&self, place: Place) -> Option<&'s Raw<'a>> {
        let raw = match place {
            Place::Key { up: 0 } => self.item?.key.as_ref(),
            Place::Key { up } => self.around(up)?.key.as_ref(),
            _ => {
                let (slots, slot) = self.slot(place)?;
                slots.get(slot)
            }
        };
        raw.filter(|raw| raw.kind != Kind::Null)
    }

    #[inline]
    pub(super) fn all(&self, place: Place) -> impl Iterator<Item = &'s Raw<'a>> + use<'a, 's> {
        let found = self.slot(place).filter(|(slots, slot)| slots.get(*slot).is_some());
        found.into_iter().flat_map(|(slots, slot)| slots.all(slot))
    }

    /// What any path of the file found.
    pub(super) fn everything(&self) -> impl Iterator<Item = &'s Raw<'a>> {
        let names = &self.walks.names;
        let here = (0..short(names.here.len())).map(Place::Here);
        let bare = (0..short(names.bare.len())).map(Place::Bare);
        let root = (0..short(names.root.len())).map(Place::Root);
        here.chain(bare).chain(root).flat_map(|place| self.all(place))
    }

    #[inline]
    fn slot(&self, place: Place) -> Option<(&'s Slots<'a>, usize)> {
        match place {
            Place::Here(at) => Some((self.here, *self.slots.get(at as usize)? as usize)),
            Place::Bare(at) => Some((self.here, *self.walks.bare.get(at as usize)?)),
            Place::Root(at) => Some((self.root, *self.walks.root.get(at as usize)?)),
            Place::Around { up, at } => {
                let around = self.around(up)?;
                Some((around.slots.as_ref(), (*around.level.around.get(at as usize)?)?))
            }
            Place::Key { .. } => None,
        }
    }

    fn around(&self, up: u32) -> Option<&'s Around<'a, 's>> {
        let mut around = &self.item?.around;
        for _ in 1..up {
            around = around.around.as_ref()?;
        }
        Some(around)
    }
}
