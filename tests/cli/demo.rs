use super::*;

#[test]
fn every_message_of_the_demonstration_is_ruled_and_its_chains_are_proved() {
    let ran = tipstaff(&["demo", "--json", "--messages", "30"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    let lines = ran.json();
    let rulings = lines.iter().filter(|line| line["ruling"].is_string()).count();
    let summary = lines.iter().find_map(|line| line.get("summary")).unwrap();
    assert_eq!(summary["expected"], rulings);
    assert!(rulings >= 30, "{rulings}");
    let chains: Vec<_> = lines.iter().filter(|line| line["verify"].is_string()).collect();
    assert_eq!(chains.len(), 2);
    assert!(chains.iter().all(|chain| chain["integrity"] == true), "{}", ran.out);
    let proved: u64 = chains
        .iter()
        .flat_map(|c| c["rulings"].as_object().unwrap().values())
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(proved, rulings as u64);
}

#[test]
fn without_a_terminal_the_demonstration_is_plain_lines() {
    let ran = tipstaff(&["demo", "--messages", "5", "--rate", "1000"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    assert!(!ran.out.contains(|c: char| c.is_control() && c != '\n'), "{:?}", ran.out);
    assert!(ran.out.contains("\nintegrity: every record"), "{}", ran.out);
}
