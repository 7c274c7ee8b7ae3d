use std::fmt::{Result, Write};

use crate::case::{FIELDS, Tri, Type};

use super::schema::{EXCEPTION, OTHERS, WINDOWS};
use super::table::{FUNCTIONS, LITERALS, OPERATORS, Operator, Right};
use super::{CLAUSES_MAX, DEPTH_MAX, LIST_MAX, PATTERNS_MAX, TEXT_BYTES_MAX};

const INTRODUCTION: &str = "\
# The language of conditions

Made from the table that the checker itself uses, `src/clause/table.rs`: change it there, and write this page anew with
`TIPSTAFF_WRITE_REFERENCE=1 cargo test --test policy language`.

A `when:` is a list of **clauses**, one a line; all of them must hold. A clause is a small expression in a subset of
[CEL](https://cel.dev). Around clauses `any: [...]` holds when one of them does, `not: ...` when it does not.

```yaml
when:
  - credential.validity == \"valid\"
  - age(vault.rotated) > rotation.interval + duration(\"7d\")
  - any:
      - severity in [\"high\", \"critical\"]
      - vault.roles.exists(role, role.startsWith(\"admin\"))
  - not: cidr(source.ip, \"10.0.0.0/8\")
```

In YAML a clause that begins with a quote, `!` or `[`, or that holds `: ` or ` #`, needs quotes around all of it, or a block
(`|`). Mistakes are told at their place in the file all the same.
";

const THREE_VALUES: &str = "
## Absent and unknown

A value is there, **absent** (the alert or the source says that there is none) or **unknown** (a lookup failed or was late, its answer
is older than `max_age`, sources contradict each other). A clause is true, false or unknown:

- A comparison over an absent value is false, and its negation is unknown: absence makes nothing true. Only `has(name)` asks about
  absence itself.
- Anything over an unknown value is unknown, also `has(name)`, unless the rest of the clause settles it: `false && unknown` is
  false. So a clause that is true or false stays so whatever the unknown values turn out to be. Only `unknown(fact)` asks about
  that itself, and knowing the fact undoes it: nothing is suppressed, escalated or denied by it, and what it routes or holds is at
  least as urgent as every rule that could win in its place, and as the last one. Ruled again from a record that does not hold the
  fact, it is unknown, too.
- `a != b` is a comparison, too: over an absent value it is false, while `!(a == b)` is unknown.
- A calculation that leaves the range of times is unknown.

A rule whose clauses leave it unknown is passed over (`on_unknown: next`) or taken to people (`route`, `hold`), and it is remembered:
after it no later rule suppresses (that becomes a hold) or escalates (but where the boundary names the fact under
`pass_unknown`), and the priority is at least that rule's.

";

const OVER_WINDOWS: &str = "
## Windows

A window counts alerts over event time, by key; the playbook says which under `windows`. Its values include the alert at hand. Without
one of the keys all of them are absent: a missing key never groups. Of what is too much to be kept, or was dropped to stay within a
bound, only a lower bound is known: the value is shown as `{\"at_least\":64}`, and a comparison that this does not settle is unknown.
What could still be true or false for the sake of it is unknown (`forgotten`). The boundary knows no windows, and no consent passes
over an unknown one on the way to an escalation.
";

const NOT_CEL: &str = "
## Beside CEL

What stands here means in CEL what it means here, where every value is there; a test compares the two over generated
conditions. Not in CEL are `cidr`, `age`, `unknown`, the name `now` and days in a duration. Left out of CEL on purpose: other arithmetic, `?:`,
`null` (use `has`), maps, other macros than `exists`, exponents, conversions, and comparing values of different types.
";

/// The page about the language, from its table.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    // Writing to a text does not fail.
    write(&mut page).unwrap_or(());
    page
}

fn write(page: &mut String) -> Result {
    types(page)?;
    names(page)?;
    operators(page)?;
    functions(page)?;
    page.push_str(THREE_VALUES);
    truth(page)?;
    page.push_str(OVER_WINDOWS);
    writeln!(page, "\n## Limits\n")?;
    writeln!(
        page,
        "- A clause has at most {TEXT_BYTES_MAX} bytes, nests at most {DEPTH_MAX} deep, and a list in it has at most"
    )?;
    writeln!(page, "  {LIST_MAX} items; a `when` has at most {CLAUSES_MAX} clauses.")?;
    writeln!(
        page,
        "- A file has at most {PATTERNS_MAX} patterns, and each a bounded size. Evaluating takes time in proportion to"
    )?;
    writeln!(page, "  the length of the values, whatever the pattern.")?;
    page.push_str(NOT_CEL);
    Ok(())
}

fn types(page: &mut String) -> Result {
    writeln!(page, "\n## Types\n\nThe names are those that `provides` of an enricher uses.\n")?;
    writeln!(
        page,
        "| type | a value of it in a condition | in tables and replies |\n|---|---|---|"
    )?;
    for (of, literal) in &LITERALS {
        writeln!(page, "| `{}` | {literal} | {} |", of.name(), of.about())?;
    }
    writeln!(
        page,
        "\nOnly values of one type can be compared; an int and a decimal are both numbers."
    )
}

fn names(page: &mut String) -> Result {
    writeln!(page, "\n## Names\n\n| name | type | what it is |\n|---|---|---|")?;
    for info in FIELDS {
        writeln!(
            page,
            "| `{}` | {} | {} |",
            info.path,
            info.of.name(),
            info.about.replace('<', "&lt;")
        )?;
    }
    for other in &OTHERS {
        writeln!(page, "| `{}` | {} | {} |", other.path, other.of.name(), other.about)?;
    }
    writeln!(
        page,
        "| `<enricher>.<field>` | as it `provides` | a fact; the playbook declares the enricher under `facts` |"
    )?;
    for (name, of, about) in &EXCEPTION {
        writeln!(page, "| `exception.{name}` | {} | {about} |", of.name())?;
    }
    for window in &WINDOWS {
        writeln!(
            page,
            "| `<window>.{}` | {} | {} |",
            window.name,
            window.of.of().name(),
            window.about
        )?;
    }
    writeln!(
        page,
        "\nA field of the alert itself may also be written with `alert.` before it: `alert.severity`."
    )
}

fn operators(page: &mut String) -> Result {
    writeln!(
        page,
        "\n## Operators\n\nFrom those that bind least to those that bind most. `( )` group.\n"
    )?;
    writeln!(
        page,
        "| operator | between | gives | over absent | over unknown | holds, or is | example |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|")?;
    let mut ordered: Vec<&Operator> = OPERATORS.iter().collect();
    ordered.sort_by_key(|operator| operator.power);
    for operator in ordered {
        let between: Vec<String> = operator
            .takes
            .iter()
            .map(|row| {
                let right = match row.right {
                    Right::Value(of) => of.name().to_owned(),
                    Right::Items(of) => format!("[{0}, …]", of.name()),
                };
                let gives = row.gives.map_or(String::new(), |gives| format!(" → {}", gives.name()));
                if row.right == Right::Value(row.left) && row.gives.is_none() {
                    return right;
                }
                format!("{} {} {right}{gives}", row.left.name(), operator.symbol)
            })
            .collect();
        let is_joining = operator.takes.is_empty();
        let between = if is_joining { "conditions".to_owned() } else { between.join(", ") };
        let is_value = operator.takes.iter().any(|row| row.gives.is_some());
        let gives = if is_value { "a value" } else { "true or false" };
        let gaps = operator.gaps;
        let line = [operator.about, &format!("`{}`", operator.example)].join(" | ");
        let line = line.replace("||", "\\|\\|");
        let symbol = operator.symbol.replace('|', "\\|");
        writeln!(
            page,
            "| `{symbol}` | {between} | {gives} | {} | {} | {line} |",
            gaps.over_absent(),
            gaps.over_unknown(),
        )?;
    }
    Ok(())
}

fn functions(page: &mut String) -> Result {
    writeln!(
        page,
        "\n## Functions\n\nWhat stands in quotes is read while checking: it can't be a name.\n"
    )?;
    writeln!(
        page,
        "| function | gives | over absent | over unknown | holds when, or is | example |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|")?;
    for function in &FUNCTIONS {
        let gives = function.gives.map_or("true or false", Type::name);
        let example = function.example.replace('|', "\\|");
        let is_constant = function.gives.is_some() && !function.takes_values();
        let never = "-";
        writeln!(
            page,
            "| `{}` | {gives} | {} | {} | {} | `{example}` |",
            function.usage(),
            if is_constant { never } else { function.gaps.over_absent() },
            if is_constant { never } else { function.gaps.over_unknown() },
            function.about,
        )?;
    }
    Ok(())
}

fn truth(page: &mut String) -> Result {
    let all = [(Tri::True, "true"), (Tri::False, "false"), (Tri::Unknown, "unknown")];
    let word =
        |value: Tri| all.iter().find(|(each, _)| *each == value).map_or("", |(_, word)| word);
    writeln!(page, "| a | b | `a && b` | `a \\|\\| b` |\n|---|---|---|---|")?;
    for (left, a) in &all {
        for (right, b) in &all {
            writeln!(
                page,
                "| {a} | {b} | {} | {} |",
                word(left.and(*right)),
                word(left.or(*right))
            )?;
        }
    }
    Ok(())
}
