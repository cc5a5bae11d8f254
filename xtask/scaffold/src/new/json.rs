//! Writes JSON templates, which have no comments: sample events and golden files.

use serde_json::{Map, Value, json};

use super::field::{Field, Kind};
use super::regions::PATTERNS;

/// The members of the sample fields in the template.
const MEMBERS: [&str; 10] = [
    "epithet",
    "provenance",
    "accession",
    "quantity",
    "weight",
    "onDisplay",
    "foundOn",
    "examinedAt",
    "website",
    "curator",
];

/// Replaces the members of the sample fields by those of `fields`, in each object, and in each string that contains JSON.
pub(super) fn with_fields(template: &Value, fields: &[Field]) -> Value {
    let [epithet, _, accession] = &PATTERNS;
    match template {
        Value::Object(object) => {
            let mut members: Map<_, _> = object
                .iter()
                .filter(|(name, _)| !MEMBERS.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), with_fields(value, fields)))
                .collect();
            if let Some(sample) = object.get(epithet.word) {
                let is_second = sample.to_string().contains("Another");
                let is_stored = sample.is_object();
                members.extend(fields.iter().map(|field| {
                    let [first, second] = field.samples();
                    let value = if is_second { second } else { first };
                    let value = if is_stored {
                        stored(field.kind, &value)
                    } else {
                        value
                    };
                    (field.name.camel(), value)
                }));
            }
            Value::Object(members)
        }
        // An element about a unique value is repeated for each unique field.
        Value::Array(elements) => elements
            .iter()
            .flat_map(|element| {
                let is_about_unique = element.is_object()
                    && element.get(epithet.word).is_none()
                    && element.to_string().contains(accession.word);
                match is_about_unique {
                    true => {
                        let unique = fields.iter().filter(|field| field.is_unique);
                        unique.map(|field| about(element, field)).collect()
                    }
                    false => vec![with_fields(element, fields)],
                }
            })
            .collect(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(body @ (Value::Object(_) | Value::Array(_))) => {
                json!(with_fields(&body, fields).to_string())
            }
            _ => template.clone(),
        },
        other => other.clone(),
    }
}

/// Returns a value in DynamoDB's JSON.
fn stored(kind: Kind, value: &Value) -> Value {
    match (kind, value) {
        (Kind::Boolean, value) => json!({"BOOL": value}),
        (_, Value::Number(number)) => json!({"N": number.to_string()}),
        (_, value) => json!({"S": value}),
    }
}

/// Replaces the name and the value of the unique sample field.
fn about(element: &Value, field: &Field) -> Value {
    let [first, second] = field
        .samples()
        .map(|sample| sample.as_str().map_or(sample.to_string(), Into::into));
    let text = element.to_string();
    let text = text
        .replace("An accession", &first)
        .replace("Another accession", &second);
    let text = text.replace("accession", &field.name.camel());
    serde_json::from_str(&text).unwrap_or_else(|_| element.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_fields_are_replaced_in_objects_items_and_bodies() {
        let fields: Vec<Field> = [
            "isbn:string:required:unique:max=20",
            "pages:integer",
            "lent:boolean",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let template = json!({
            "body": "{\"epithet\":\"Another epithet\",\"weight\":0.5}",
            "items": [
                {"specimenId": {"S": "1"}, "epithet": {"S": "An epithet"}, "accession": {"S": "An accession"}},
                {"userId": {"S": "accession#ada"}, "specimenId": {"S": "An accession"}},
            ],
        });
        let written = with_fields(&template, &fields);
        assert_eq!(
            written["body"],
            r#"{"isbn":"Another isbn","lent":false,"pages":8}"#
        );
        let item = json!({
            "specimenId": {"S": "1"}, "isbn": {"S": "An isbn"}, "pages": {"N": "7"}, "lent": {"BOOL": true},
        });
        let marker = json!({"userId": {"S": "isbn#ada"}, "specimenId": {"S": "An isbn"}});
        assert_eq!(written["items"], json!([item, marker]));
        let none = with_fields(&template["items"], fields.get(1..).unwrap());
        assert_eq!(none.as_array().unwrap().len(), 1);
    }
}
