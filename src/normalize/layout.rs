use crate::json::{Extractor, Kind, Path, Raw, Slots, Step};

/// Where a path of a pipeline file looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Inside one alert, after its envelope was taken off.
    Here(usize),
    /// Inside one alert as it came, envelope and all.
    Bare(usize),
    /// From the top of the message: `$.…`.
    Root(usize),
}

/// All paths of one pipeline, gathered while its file is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    here: Vec<Path>,
    bare: Vec<Path>,
    root: Vec<Path>,
}

impl Layout {
    pub(super) fn here(&mut self, path: Path) -> Place {
        if path.from_root {
            return Place::Root(index_of(&mut self.root, path));
        }
        Place::Here(index_of(&mut self.here, path))
    }

    pub(super) fn bare(&mut self, path: Path) -> Place {
        if path.from_root {
            return Place::Root(index_of(&mut self.root, path));
        }
        Place::Bare(index_of(&mut self.bare, path))
    }

    pub(super) fn finish(self, unwrap: &[Path], each: &[Path], ignore_case: bool) -> Walks {
        let mut element = Extractor::new(ignore_case);
        let bare = self.bare.iter().map(|path| element.slot(path)).collect();
        let mut bases = Vec::new();
        for envelope in unwrap {
            let inside = |path: &Path| {
                let steps = envelope.steps.iter().chain(&path.steps).cloned().collect();
                Path { from_root: false, steps }
            };
            let slot = element.slot(envelope);
            let here = self.here.iter().map(|path| element.slot(&inside(path))).collect();
            bases.push(Base { envelope: Some(slot), here });
        }
        let here = self.here.iter().map(|path| element.slot(path)).collect();
        bases.push(Base { envelope: None, here });
        let mut whole = element.clone();
        let root = self.root.iter().map(|path| whole.slot(path)).collect();
        let each = each.iter().map(|path| {
            let outer = path.steps.split(|step| *step == Step::Each).next().unwrap_or_default();
            let list = Path { from_root: true, steps: outer.to_vec() };
            Each { list: whole.slot(&list), items: whole.slot(path) }
        });
        let each = each.collect();
        Walks { element, whole, bases, bare, root, each }
    }
}

fn index_of(paths: &mut Vec<Path>, path: Path) -> usize {
    let found = paths.iter().position(|known| *known == path);
    found.unwrap_or_else(|| {
        paths.push(path);
        paths.len() - 1
    })
}

/// The two walks over a message: the whole of it, and one alert in it. A slot of the second is the
/// same slot of the first, so that a message that is one alert is walked once.
#[derive(Debug, Clone)]
pub(super) struct Walks {
    pub(super) element: Extractor,
    pub(super) whole: Extractor,
    bases: Vec<Base>,
    bare: Vec<usize>,
    root: Vec<usize>,
    each: Vec<Each>,
}

/// One way in which an alert may be wrapped, and where each path is then.
#[derive(Debug, Clone)]
struct Base {
    envelope: Option<usize>,
    here: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Each {
    list: usize,
    items: usize,
}

impl Walks {
    /// The alerts of the message, by the first list that is there; nothing when it is one itself.
    pub(super) fn items<'a>(&self, whole: &Slots<'a>) -> Option<Vec<Raw<'a>>> {
        let is_list = |each: &&Each| whole.get(each.list).is_some_and(|raw| raw.kind == Kind::List);
        let each = self.each.iter().find(is_list)?;
        Some(whole.all(each.items).collect())
    }
}

/// What one alert's paths found.
pub(super) struct Doc<'a, 's> {
    walks: &'s Walks,
    here: &'s Slots<'a>,
    root: &'s Slots<'a>,
    base: Option<&'s Base>,
}

impl<'a, 's> Doc<'a, 's> {
    pub(super) fn new(walks: &'s Walks, here: &'s Slots<'a>, root: &'s Slots<'a>) -> Self {
        let base = walks.bases.iter().find(|base| {
            let envelope = base.envelope.map(|slot| here.get(slot).map(|raw| raw.kind));
            envelope.is_none_or(|kind| kind == Some(Kind::Object))
        });
        Self { walks, here, root, base }
    }

    /// The first value there; `null` is no value.
    pub(super) fn raw(&self, place: Place) -> Option<Raw<'a>> {
        let (slots, slot) = self.slot(place)?;
        slots.get(slot).filter(|raw| raw.kind != Kind::Null)
    }

    pub(super) fn all(&self, place: Place) -> impl Iterator<Item = Raw<'a>> + use<'a, 's> {
        self.slot(place).into_iter().flat_map(|(slots, slot)| slots.all(slot))
    }

    fn slot(&self, place: Place) -> Option<(&'s Slots<'a>, usize)> {
        match place {
            Place::Here(at) => Some((self.here, *self.base?.here.get(at)?)),
            Place::Bare(at) => Some((self.here, *self.walks.bare.get(at)?)),
            Place::Root(at) => Some((self.root, *self.walks.root.get(at)?)),
        }
    }
}
