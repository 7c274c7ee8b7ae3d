//! A judge of OCSF events: types, requirements, profiles, enumerations and their captions, by the facts
//! in `ocsf-2004.json`. What the schema deprecates counts as wrong.

use std::net::IpAddr;

use serde_json::{Map, Value};

pub struct Schema(Value);

/// An object being judged, where it stands and the profiles of its event.
struct Place<'p> {
    path: &'p str,
    profiles: &'p [&'p str],
}

impl Schema {
    pub fn published() -> Self {
        Self(serde_json::from_str(include_str!("ocsf-2004.json")).unwrap())
    }

    /// Everything that is wrong with an event of the class, each with its place.
    pub fn problems(&self, event: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let profiles = event["metadata"]["profiles"].as_array().cloned().unwrap_or_default();
        let profiles: Vec<&str> = profiles.iter().filter_map(Value::as_str).collect();
        let place = Place { path: "", profiles: &profiles };
        self.judge(&self.0["class"], event, &place, &mut found);
        for (path, wanted) in [
            ("/class_uid", &self.0["class_uid"]),
            ("/category_uid", &self.0["category_uid"]),
            ("/metadata/version", &self.0["version"]),
        ] {
            if event.pointer(path) != Some(wanted) {
                found.push(format!("{path} is not {wanted}"));
            }
        }
        let of_class = self.0["class_uid"].as_i64().unwrap() * 100;
        let activity = event["activity_id"].as_i64().unwrap_or(-1);
        if event["type_uid"] != of_class + activity {
            found.push("/type_uid is not class and activity".to_owned());
        }
        found
    }

    fn judge(&self, shape: &Value, value: &Value, place: &Place<'_>, found: &mut Vec<String>) {
        let Some(object) = value.as_object() else {
            return found.push(format!("{} is no object", place.path));
        };
        let attributes = shape["attributes"].as_object().unwrap();
        let applies = |attribute: &Value| match attribute["profiles"].as_array() {
            None => true,
            Some(of) => of.iter().any(|one| place.profiles.contains(&one.as_str().unwrap())),
        };
        for (name, attribute) in attributes {
            let is_required = attribute["required"] == true && applies(attribute);
            if is_required && !object.contains_key(name) {
                found.push(format!("{}/{name} is missing", place.path));
            }
        }
        if let Some(any) = shape["at_least_one"].as_array()
            && !any.iter().any(|name| object.contains_key(name.as_str().unwrap()))
        {
            found.push(format!("{} has none of {}", place.path, shape["at_least_one"]));
        }
        for (name, value) in object {
            let path = format!("{}/{name}", place.path);
            match attributes.get(name) {
                None => found.push(format!("{path} is no attribute")),
                Some(attribute) if !applies(attribute) => {
                    found.push(format!("{path} needs one of {}", attribute["profiles"]));
                }
                Some(attribute) if attribute.get("deprecated").is_some() => {
                    found.push(format!("{path} is deprecated"));
                }
                Some(attribute) => {
                    let place = Place { path: &path, ..*place };
                    self.judge_all(attribute, value, &place, found);
                    captioned(attribute, value, object, &path, found);
                }
            }
        }
    }

    fn judge_all(
        &self,
        attribute: &Value,
        value: &Value,
        place: &Place<'_>,
        found: &mut Vec<String>,
    ) {
        let of = attribute["type"].as_str().unwrap();
        if attribute["array"] != true {
            return self.judge_one(of, value, place, found);
        }
        let Some(items) = value.as_array() else {
            return found.push(format!("{} is no list", place.path));
        };
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}/{index}", place.path);
            self.judge_one(of, item, &Place { path: &path, ..*place }, found);
        }
    }

    fn judge_one(&self, of: &str, value: &Value, place: &Place<'_>, found: &mut Vec<String>) {
        let Some(scalar) = self.0["types"].get(of) else {
            return match self.0["objects"].get(of) {
                Some(shape) => self.judge(shape, value, place, found),
                None if of == "object" && value.is_object() => {}
                None => found.push(format!("{} is a `{of}`, which is not known here", place.path)),
            };
        };
        let fits = match scalar["is"].as_str().unwrap() {
            "json_t" => true,
            "boolean_t" => value.is_boolean(),
            "integer_t" => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            "long_t" => value.as_i64().is_some(),
            "string_t" => value.is_string(),
            other => panic!("{other}"),
        };
        let text = value.as_str().unwrap_or_default();
        let max = scalar["max_len"].as_u64().unwrap_or(u64::MAX);
        let is_address = of != "ip_t" || text.parse::<IpAddr>().is_ok();
        if !fits || text.chars().count() as u64 > max || !is_address {
            found.push(format!("{} is no `{of}`", place.path));
        }
    }
}

/// A number of a closed list, and beside it the caption that the list gives it.
fn captioned(
    attribute: &Value,
    value: &Value,
    object: &Map<String, Value>,
    path: &str,
    found: &mut Vec<String>,
) {
    let Some(words) = attribute["enum"].as_object() else { return };
    let Some(caption) = words.get(&value.to_string()) else {
        return found.push(format!("{path} is none of its values"));
    };
    let Some(sibling) = attribute["sibling"].as_str() else { return };
    let is_other = value == 99;
    let told = object.get(sibling);
    if (is_other && told.is_none()) || (!is_other && told.is_some_and(|told| told != caption)) {
        found.push(format!("{path} has the wrong `{sibling}` beside it"));
    }
}
