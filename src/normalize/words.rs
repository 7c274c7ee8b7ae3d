use crate::case::{Field, is_technique_id, technique, technique_ids};
use crate::text::{At, Problems, suggestion};

/// Whether a field may have what a detector wrote. Any technique passes that is written like one:
/// detectors know more of them than pipelines name.
pub(super) fn is_word(field: Field, text: &str) -> bool {
    match field.words() {
        Some(words) => words.contains(&text),
        None => field != Field::AttackTechnique || is_technique_id(text),
    }
}

/// Of what stands in a pipeline's file.
pub(super) fn check_word(field: Field, word: &str, at: &At, problems: &mut Problems) {
    if field == Field::AttackTechnique {
        return check_technique(word, at, problems);
    }
    let Some(words) = field.words() else { return };
    if !words.contains(&word) {
        let hint = suggestion(word, words.iter().copied());
        let (path, all) = (field.path(), words.join("`, `"));
        problems.add(at, format!("`{path}` is one of `{all}`, never `{word}`{hint}"));
    }
}

fn check_technique(word: &str, at: &At, problems: &mut Problems) {
    if technique(word).is_some() {
        return;
    }
    let path = Field::AttackTechnique.path();
    let hint = suggestion(word, technique_ids());
    let why = if is_technique_id(word) {
        "is no technique of ATT&CK that is known here"
    } else {
        "is not written like `T1078` or `T1078.004`"
    };
    problems.add(at, format!("`{path}`: `{word}` {why}{hint}"));
}
