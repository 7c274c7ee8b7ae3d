//! Our YAML, as JSON: for validators of others, and to be read again with something changed.

use tipstaff::text::{Data, Node, Problems, Source, read};

pub fn node(text: &str) -> Node {
    let mut problems = Problems::default();
    let node = read(&Source::new("f.yaml", text), &mut problems);
    node.unwrap_or_else(|| panic!("no YAML: {:?}\n{text}", problems.into_sorted()))
}

/// One line that is JSON but for keys that are no text, which stand bare.
pub fn written(node: &Node) -> String {
    match &node.data {
        Data::Null => "null".to_owned(),
        Data::Bool(flag) => flag.to_string(),
        Data::Int(number) => number.to_string(),
        Data::Decimal(text) => text.clone(),
        Data::Text(text) => serde_json::to_string(text).unwrap(),
        Data::List(items) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        Data::Map(entries) => {
            let entry =
                |(key, value): &(Node, Node)| format!("{}: {}", written(key), written(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}
