use super::chain_model::{Model, Outcome};
use super::*;

/// An export's lines: a sound chain of 1 genesis, 12 rulings and a snapshot.
fn lines() -> Vec<String> {
    let mut model = Model::new(8);
    for batch in [5, 7] {
        model.step(batch, Outcome::Committed);
    }
    let line = |(offset, value): (&i64, &Vec<u8>)| {
        format!("0\t{offset}\t{}", std::str::from_utf8(value).unwrap())
    };
    model.log.iter().map(line).collect()
}

fn verified(name: &str, lines: &[String], more: &[&str]) -> (Ran, String) {
    let file = folder(name).join("export.tsv");
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let file = file.to_str().unwrap().to_owned();
    (tipstaff(&[&["verify", &file], more].concat()), file)
}

#[test]
fn a_sound_chain_is_proved() {
    let lines = lines();
    let (ran, _) = verified("sound", &lines, &[]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    let first =
        format!("sound  chain 0: {} records, 12 rulings, head {}", lines.len(), lines.len() - 1);
    assert!(ran.out.starts_with(&first) && ran.out.contains("\nintegrity: every"), "{}", ran.out);
    let (ran, _) = verified("sound_json", &lines, &["--json"]);
    assert_eq!((ran.code, &ran.json()[0]["integrity"]), (DONE, &true.into()));
}

#[test]
fn what_was_done_to_a_chain_is_found_at_its_first_bad_position() {
    type Hand = fn(&mut Vec<String>);
    let done: &[(&str, Hand, &str)] = &[
        (
            "edited",
            |lines| lines[4] = lines[4].replacen("\"queue\":\"q\"", "\"queue\":\"z\"", 1),
            "offset 5, record 5: does not link to record 4",
        ),
        (
            "dropped",
            |lines| drop(lines.remove(4)),
            "offset 5, record 5: record 4 should stand here",
        ),
        (
            "first_dropped",
            |lines| drop(lines.remove(0)),
            "offset 1, record 1: the chain starts with",
        ),
        ("swapped", |lines| lines.swap(4, 5), "offset 5, record 5: record 4 should stand here"),
        (
            "inserted",
            |lines| lines.insert(5, lines[4].replacen("0\t4\t", "0\t5\t", 1)),
            "offset 5, record 4: record 5 should stand here",
        ),
        ("emptied", |lines| lines[4] = "0\t4\t{}".to_owned(), "offset 4: "),
    ];
    for (name, hand, position) in done {
        let mut lines = lines();
        let sound = lines.clone();
        hand(&mut lines);
        assert_ne!(lines, sound, "{name}");
        let (ran, _) = verified(name, &lines, &[]);
        let finding = ran.out.lines().nth(1).unwrap_or_default().trim();
        assert_eq!((ran.code, &*ran.err), (FAILED, ""), "{name}: {}", ran.out);
        assert!(ran.out.starts_with("BROKEN chain 0: "), "{name}: {}", ran.out);
        assert!(finding.starts_with(position), "{name}: {}", ran.out);
        let (ran, _) = verified(name, &lines, &["--json"]);
        assert_eq!((ran.code, &ran.json()[0]["integrity"]), (FAILED, &false.into()));
    }
}

/// Every record of the other is good: it is another chain's.
#[test]
fn one_broken_chain_is_enough() {
    let mut lines = lines();
    let other: Vec<String> = lines.iter().map(|line| line.replacen('0', "1", 1)).collect();
    lines.extend(other);
    let (ran, _) = verified("two_chains", &lines, &[]);
    assert_eq!(ran.code, FAILED);
    let is_broken = ran.out.contains("BROKEN chain 1") && ran.out.contains("of chain `");
    assert!(ran.out.contains("sound  chain 0") && is_broken, "{}", ran.out);
}

#[test]
fn what_is_no_export_is_refused_with_its_line() {
    for (name, garbage) in [("no_tabs", "garbage"), ("no_number", "0\tx\t{}"), ("two", "0\t1")] {
        let mut lines = lines();
        lines.insert(2, garbage.to_owned());
        let (ran, file) = verified(name, &lines, &[]);
        let told =
            format!("tipstaff: {file}:3: is not partition, offset and value separated by tabs\n");
        assert_eq!((ran.code, &*ran.out, ran.err), (WRONG, "", told));
    }
}

#[test]
fn nothing_is_never_sound() {
    let (ran, _) = verified("nothing", &[], &[]);
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    assert!(ran.err.contains("there is no record in it"), "{}", ran.err);
    let ran = tipstaff(&["verify", "no/such/file"]);
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    assert_eq!(tipstaff(&["verify"]).code, WRONG);
}
