use crate::case::Value;

use super::eval::{Op, Operand, Test};
use super::parse::Relation;
use super::{Clause, Condition, Slot};

impl Condition {
    /// The texts that a value is compared with. Nothing where one of the clauses looks at it in
    /// another way, by a pattern or an order: then no list of texts stands for all that it can be.
    pub fn texts_of(&self, slot: Slot) -> Option<Vec<&str>> {
        let mut found = Vec::new();
        for clause in self.clauses() {
            found.extend(clause.texts_of(slot)?);
        }
        Some(found)
    }
}

impl Clause {
    fn texts_of(&self, slot: Slot) -> Option<Vec<&str>> {
        let mut found = Vec::new();
        for op in &self.ops {
            let Op::Leaf { test, .. } = op else { continue };
            match test {
                Test::Has(_) => {}
                Test::Compare(Operand::Slot(of), relation, Operand::Literal(value))
                | Test::Compare(Operand::Literal(value), relation, Operand::Slot(of))
                    if *of == slot && matches!(relation, Relation::Equal | Relation::NotEqual) =>
                {
                    found.extend(value.text());
                }
                Test::In(Operand::Slot(of), list) if *of == slot => {
                    found.extend(list.iter().filter_map(Value::text));
                }
                other if other.uses(slot) => return None,
                _ => {}
            }
        }
        Some(found)
    }
}
