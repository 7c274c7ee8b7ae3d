use super::*;

#[test]
fn help_and_version_are_done() {
    for arguments in [&["--help"][..], &["help"], &["run", "--help"], &["--version"]] {
        let ran = tipstaff(arguments);
        assert_eq!((ran.code, &*ran.err), (DONE, ""), "{arguments:?}");
        assert!(ran.out.contains("ipstaff"), "{}", ran.out);
    }
    assert!(tipstaff(&["--version"]).out.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_no_verb_or_argument_is_wrong_and_does_nothing() {
    for arguments in [&[][..], &["rum"], &["check", "--confg", "x"], &["demo", "--messages", "0"]] {
        let ran = tipstaff(arguments);
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{arguments:?}");
        assert!(ran.err.contains("Usage") || ran.err.contains("error"), "{}", ran.err);
    }
}

#[test]
fn what_cannot_be_written_is_not_done() {
    let case = "0".repeat(32);
    let order = ["order", "ack", &case, "--nhi", "n", "--by", "sam", "--print"];
    for arguments in [&["schema"][..], &["check"], &["test"], &["policy", "bundle"], &order] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program(arguments).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(FAILED), "{arguments:?}: {told}");
        assert!(told.contains("tipstaff: standard output: "), "{arguments:?}: {told}");
    }
}

#[test]
fn a_fingerprint_is_that_of_the_secret_without_its_line_end_and_shows_nothing_of_it() {
    let keys = tipstaff::app::offline_keys().unwrap();
    let expected = format!("{}\n", keys.fingerprint(b"notreal one"));
    for input in [&b"notreal one"[..], b"notreal one\n", b"notreal one\r\n"] {
        let ran = fed(&["fingerprint"], input);
        assert_eq!((ran.code, ran.out, &*ran.err), (DONE, expected.clone(), ""));
    }
    assert!(!expected.contains("notreal"));
}

#[test]
fn no_secret_has_no_fingerprint() {
    let ran = fed(&["fingerprint"], b"\n");
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    assert!(ran.err.contains("standard input"), "{}", ran.err);
}
