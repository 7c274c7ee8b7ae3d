//! What a pipeline's conditions ask of the same places, gathered, so that a text is looked at once
//! for all of them. What is true of a text that a condition names is known before one comes.

use std::cell::Cell;

use super::layout::{Doc, Place, short};
use super::listed::Listed;
use super::when::Test;

/// All that is asked of the first value at one of several places. Most are not there in most
/// documents: what is needed to say so stands together.
#[derive(Debug, Clone)]
struct Topic {
    /// From here up to here in [`Topics::places`].
    from: u32,
    to: u32,
    of_nothing: Answers,
}

/// What is needed when something is there.
#[derive(Debug, Clone, Default)]
struct Tests {
    tests: Vec<Test>,
    /// Of a list or an object.
    of_no_text: Answers,
    listed: Listed<Answers>,
    /// Of a text that is not listed: those that follow from that.
    of_others: Answers,
}

/// A bit for each test.
#[derive(Debug, Clone, Copy)]
struct Answers {
    /// Set at first: memory that is to be zero takes the allocator longer.
    unknown: u32,
    yes: u32,
}

impl Default for Answers {
    fn default() -> Self {
        Self { unknown: u32::MAX, yes: 0 }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    topic: u32,
    bit: u32,
}

/// What was answered of one document so far, by topic.
pub(super) struct Answered(Box<[Cell<Answers>]>);

#[derive(Debug, Clone, Default)]
pub(super) struct Topics {
    topics: Vec<Topic>,
    places: Vec<Place>,
    tests: Vec<Tests>,
}

impl Topics {
    pub(super) fn add(&mut self, places: &[Place], test: Test) -> Question {
        let has_room = |tests: &Tests| tests.tests.len() < u32::BITS as usize;
        let mut topics = self.topics.iter().zip(&self.tests);
        let found = topics.position(|(topic, tests)| self.of(topic) == places && has_room(tests));
        let at = found.unwrap_or_else(|| {
            let (from, to) = (self.places.len(), self.places.len() + places.len());
            let of_nothing = Answers::default();
            self.topics.push(Topic { from: short(from), to: short(to), of_nothing });
            self.places.extend(places);
            self.tests.push(Tests::default());
            self.tests.len() - 1
        });
        let bit = self.tests.get_mut(at).map_or(0, |of| {
            of.tests.push(test);
            1 << (of.tests.len() - 1)
        });
        Question { topic: short(at), bit }
    }

    /// When all were added.
    pub(super) fn prepare(&mut self) {
        for (topic, tests) in self.topics.iter_mut().zip(&mut self.tests) {
            topic.of_nothing = tests.all(false, None);
            tests.prepare();
        }
    }

    pub(super) fn unanswered(&self) -> Answered {
        Answered(self.topics.iter().map(|_| Cell::default()).collect())
    }

    #[inline]
    pub(super) fn holds(
        &self,
        question: Question,
        doc: &Doc<'_, '_>,
        Answered(answered): &Answered,
    ) -> bool {
        let Some(cell) = answered.get(question.topic as usize) else { return false };
        let mut answers = cell.get();
        if answers.unknown & question.bit != 0 {
            answers = self.answer(question, doc, answers).unwrap_or_default();
            cell.set(answers);
        }
        answers.yes & question.bit != 0
    }

    /// The answers that there were, and that to the question.
    #[inline(never)]
    fn answer(
        &self,
        Question { topic: at, bit }: Question,
        doc: &Doc<'_, '_>,
        before: Answers,
    ) -> Option<Answers> {
        let topic = self.topics.get(at as usize)?;
        let Some(raw) = self.of(topic).iter().find_map(|place| doc.raw(*place)) else {
            return Some(topic.of_nothing);
        };
        let tests = self.tests.get(at as usize)?;
        Some(raw.scalar().map_or(tests.of_no_text, |text| tests.answer(&text, before, bit)))
    }

    /// Where the value stands that was asked about, or should.
    pub(super) fn place(&self, question: Question, doc: &Doc<'_, '_>) -> Option<Place> {
        let places = self.of(self.topics.get(question.topic as usize)?);
        let there = places.iter().find(|place| doc.raw(**place).is_some());
        there.or(places.first()).copied()
    }

    fn of(&self, topic: &Topic) -> &[Place] {
        self.places.get(topic.from as usize..topic.to as usize).unwrap_or_default()
    }
}

impl Tests {
    fn prepare(&mut self) {
        self.of_no_text = self.all(true, None);
        let texts = self.tests.iter().flat_map(Test::listed);
        let listed = texts.map(|text| (text.clone(), self.all(true, Some(text))));
        self.listed = listed.collect();
        for (at, test) in self.tests.iter().enumerate() {
            if let Some(holds) = test.of_others() {
                self.of_others.put(1 << at, holds);
            }
        }
    }

    fn all(&self, exists: bool, text: Option<&str>) -> Answers {
        let mut answers = Answers::default();
        for (at, test) in self.tests.iter().enumerate() {
            answers.put(1 << at, test.holds(exists, text));
        }
        answers
    }

    fn answer(&self, text: &str, before: Answers, bit: u32) -> Answers {
        let mut answers = before;
        if before.unknown == u32::MAX {
            answers = self.listed.get(text).copied().unwrap_or(self.of_others);
        }
        if answers.unknown & bit != 0 {
            let test = self.tests.get(bit.trailing_zeros() as usize);
            answers.put(bit, test.is_some_and(|test| test.holds(true, Some(text))));
        }
        answers
    }
}

impl Answers {
    fn put(&mut self, bit: u32, holds: bool) {
        self.unknown &= !bit;
        self.yes |= if holds { bit } else { 0 };
    }
}
