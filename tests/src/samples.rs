//! Request bodies, from the sample events.

use serde_json::Value;

use crate::{functions::TEMPLATE, root};

/// Returns the JSON body of the sample event of a function. `function` is the name of the function's crate.
pub fn body(function: &str) -> Value {
    // Unlike `functions::named`, this does not read all manifests, because tests call it often.
    let file = format!("events/{function}.json");
    let files = [root().join(&file), root().join(TEMPLATE).join(&file)];
    let text = files
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok());
    let text = text.unwrap_or_else(|| panic!("there is no {file}"));
    let event: Value = serde_json::from_str(&text).unwrap();
    serde_json::from_str(event["body"].as_str().unwrap()).unwrap()
}

/// Returns `body` with other values of the fields `names`. Each `number` from 0 to 335,999 gives other values. They are valid
/// for fields of the same types, if their maximum is not less than `number` or its number of digits.
pub fn numbered<'a>(body: &Value, names: impl IntoIterator<Item = &'a str>, number: u32) -> Value {
    let mut body = body.clone();
    for name in names {
        let value = &mut body[name];
        let text = value.as_str().unwrap_or_default();
        let is_date = text.len() == 10 && text.split('-').count() == 3;
        *value = match text {
            "" => number.into(),
            _ if is_date => {
                let (year, month, day) =
                    (1000 + number / 336, number / 28 % 12 + 1, number % 28 + 1);
                format!("{year:04}-{month:02}-{day:02}").into()
            }
            _ if text.contains("://") => format!("https://a.example/{number}").into(),
            _ if text.contains('@') => format!("{number}@a.example").into(),
            _ => number.to_string().into(),
        };
    }
    body
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn each_number_gives_other_values_of_the_same_types() {
        let body = json!({
            "text": "a", "number": 7, "date": "2026-01-31", "url": "https://a.example",
            "email": "ada@a.example", "other": "a",
        });
        let names = ["text", "number", "date", "url", "email"];
        let bodies: Vec<_> = (0..1000)
            .map(|number| numbered(&body, names, number))
            .collect();
        for name in names {
            let values: HashSet<_> = bodies.iter().map(|body| body[name].to_string()).collect();
            assert_eq!(values.len(), 1000, "{name}");
        }
        let expected = json!({
            "text": "337", "number": 337, "date": "1001-01-02", "url": "https://a.example/337",
            "email": "337@a.example", "other": "a",
        });
        assert_eq!(bodies[337], expected);
    }
}
