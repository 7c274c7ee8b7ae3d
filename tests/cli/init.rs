use super::*;

fn init(name: &str, more: &[&str]) -> (String, Ran) {
    let place = folder(name).join("soc");
    let place = place.to_str().unwrap().to_owned();
    let ran = tipstaff(&[&["init", &place], more].concat());
    (place, ran)
}

#[test]
fn what_init_writes_passes_its_checks_and_its_tests() {
    let (place, ran) = init("init", &[]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    assert!(ran.out.contains("playbooks") && ran.out.contains(&format!("--config {place}")));
    for verb in ["check", "test"] {
        let ran = tipstaff(&[verb, "--config", &place]);
        assert_eq!((ran.code, &*ran.err), (DONE, ""), "{verb}: {}", ran.out);
    }
    let service = std::fs::read_to_string(Path::new(&place).join("tipstaff.yaml")).unwrap();
    assert!(service.contains("\n  playbooks: playbooks\n"), "{service}");
    assert!(!service.contains("../") && !service.contains("deploy"), "{service}");
    for (file, hint) in [
        ("tipstaff.yaml", "./schemas/tipstaff.json"),
        ("playbooks/boundary.yaml", "../schemas/boundary.json"),
        ("playbooks/exposed-key.yaml", "../schemas/playbook.json"),
        ("playbooks/actions/disable-key.yaml", "../../schemas/action.json"),
        ("playbooks/sinks/jira.yaml", "../../schemas/sink.json"),
        ("enrichers/owner/enricher.yaml", "../../schemas/enricher.json"),
        ("pipelines/gitleaks/pipeline.yaml", "../../schemas/pipeline.json"),
    ] {
        let file = Path::new(&place).join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(first, format!("# yaml-language-server: $schema={hint}"));
        let schema = std::fs::read_to_string(file.parent().unwrap().join(hint)).unwrap();
        serde_json::from_str::<serde_json::Value>(&schema).unwrap();
    }
}

#[test]
fn init_writes_over_nothing() {
    let place = folder("init-full");
    std::fs::write(place.join("mine"), "mine").unwrap();
    let ran = tipstaff(&["init", place.to_str().unwrap()]);
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    assert!(ran.err.contains("is not empty; nothing was written"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);
    let file = place.join("mine");
    assert_eq!(tipstaff(&["init", file.to_str().unwrap()]).code, WRONG);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn only_the_pipelines_that_are_asked_for_are_written() {
    let (place, ran) = init("init-some", &["--pipelines", "gitleaks,aws-guardduty"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    let folders = std::fs::read_dir(Path::new(&place).join("pipelines")).unwrap();
    let mut names: Vec<String> = folders
        .filter(|entry| entry.as_ref().unwrap().path().is_dir())
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["aws-guardduty", "gitleaks"]);
    let (_, ran) = init("init-none", &["--pipelines", "gitleak"]);
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    assert!(ran.err.contains("did you mean `gitleaks`?"), "{}", ran.err);
}

#[test]
fn a_schema_is_printed_for_each_kind_of_file() {
    let kinds = tipstaff(&["schema"]);
    assert_eq!(kinds.out, "action\nboundary\nenricher\npipeline\nplaybook\nsink\ntipstaff\n");
    for kind in kinds.out.lines() {
        let ran = tipstaff(&["schema", kind]);
        assert_eq!((ran.code, &*ran.err), (DONE, ""));
        let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    assert_eq!(tipstaff(&["schema", "playbok"]).code, WRONG);
}
