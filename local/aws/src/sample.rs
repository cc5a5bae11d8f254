//! The data to which the sample events in `events/` refer.

use std::{fs, path::Path};

use local_dynamodb::BoxError;
use serde_json::{Value, json};

use crate::billing; // part: billing

/// The id of the user in the sample events.
pub const USER: &str = "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48";

/// The environment variables that every function has although its manifest does not list them,
/// because Lambda or the local cloud sets them. [`environment_variable`] returns their values.
pub const LAMBDA_VARIABLES: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
];

/// The folders with the sample events, relative to this crate: those of the deployed functions, and those of the functions
/// from which `cargo xtask new` generates others.
const FOLDERS: [&str; 2] = ["../../events", "../../xtask/scaffold/template/events"];

/// A table of the local DynamoDB, from the file `events/tables/TABLE.json`.
#[derive(Debug)]
pub(crate) struct Table {
    /// The name of the table.
    pub(crate) name: String,
    /// The names of the key attributes: the partition key and, if the table has one, the sort key.
    pub(crate) key: Vec<String>,
    /// The global secondary index, if the table has one: `{"name": …, "key": […]}`.
    index: Value,
    /// The initial items, in DynamoDB's JSON format.
    pub(crate) items: Vec<Value>,
}

/// Reads all tables. `placeholders` has texts of the files, and the values that replace them.
pub(crate) fn tables(placeholders: &[(&str, &str)]) -> Result<Vec<Table>, BoxError> {
    let mut tables = Vec::new();
    for folder in FOLDERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for file in fs::read_dir(folder.join("tables"))? {
            let file = file?.path();
            let mut text = fs::read_to_string(&file)?;
            for (placeholder, value) in placeholders {
                text = text.replace(placeholder, value);
            }
            let mut content: Value = serde_json::from_str(&text)
                .map_err(|error| format!("cannot parse {}: {error}", file.display()))?;
            let mut take = |member| content.get_mut(member).map(Value::take).unwrap_or_default();
            let name = file.file_stem().unwrap_or_default();
            tables.push(Table {
                name: name.to_string_lossy().into_owned(),
                key: serde_json::from_value(take("key"))?,
                index: take("index"),
                items: serde_json::from_value(take("items"))?,
            });
        }
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tables)
}

impl Table {
    /// The CreateTable request. A key attribute has the type that it has in the items, and otherwise the type string.
    pub(crate) fn create(&self) -> Value {
        let index_key = self.index.get("key").and_then(Value::as_array);
        let index_key = index_key.into_iter().flatten().filter_map(Value::as_str);
        let index_key: Vec<_> = index_key.collect();
        let key: Vec<_> = self.key.iter().map(String::as_str).collect();
        let kind = |name: &str| {
            let mut values = self
                .items
                .iter()
                .filter_map(|item| item.get(name)?.as_object());
            let kind = values.find_map(|value| value.keys().next());
            kind.map_or("S", String::as_str)
        };
        let attributes = key.iter().chain(&index_key);
        let attributes =
            attributes.map(|name| json!({"AttributeName": name, "AttributeType": kind(name)}));
        let mut request = json!({
            "TableName": self.name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": key_schema(&key),
            "AttributeDefinitions": attributes.collect::<Vec<_>>(),
        });
        if let (Some(name), Some(request)) = (self.index.get("name"), request.as_object_mut()) {
            let index = json!([{
                "IndexName": name,
                "KeySchema": key_schema(&index_key),
                "Projection": {"ProjectionType": "ALL"},
            }]);
            request.insert("GlobalSecondaryIndexes".into(), index);
        }
        request
    }
}

fn key_schema(key: &[&str]) -> Vec<Value> {
    let schema = key.iter().zip(["HASH", "RANGE"]);
    schema
        .map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind}))
        .collect()
}

/// The table whose name the environment variable `variable` contains: `StampAlbums` for `STAMP_ALBUMS_TABLE`. None if the
/// variable does not contain the name of a table.
fn table_of(variable: &str) -> Option<String> {
    let words = variable.strip_suffix("_TABLE")?.split('_');
    let capitalized = words.map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or_default();
        first.to_owned() + &rest.to_ascii_lowercase()
    });
    Some(capitalized.collect())
}

/// A function that returns the value of an environment variable. Its arguments are the name of the
/// variable and the URL of the local services' endpoint.
type Variables = for<'a> fn(&str, &'a str) -> Option<&'a str>;

/// The sources of the values of environment variables.
const VARIABLES: &[Variables] = &[
    billing::environment_variable, // part: billing
    common_variable,
];

/// Changes of sample events that make them valid at the current time.
const PREPARATIONS: &[fn(Value) -> Value] = &[
    billing::sign_event, // part: billing
];

/// The secrets of the functions: the name without the stage's prefix, and the value.
const SECRETS: &[(&str, &str)] = &[
    billing::SECRET_KEY,                    // part: billing
    billing::WEBHOOK_SECRET,                // part: billing
    ("admin-phone-number", "+12065550100"), // part: notify
];

/// Returns a valid value for the environment variable `name` of a function. `url` is the URL of the
/// local services' endpoint. None if no function has this variable.
pub fn environment_variable(name: &str, url: &str) -> Option<String> {
    if let Some(table) = table_of(name) {
        return Some(table);
    }
    let value = VARIABLES.iter().find_map(|variables| variables(name, url));
    value.map(str::to_owned)
}

fn common_variable<'a>(name: &str, url: &'a str) -> Option<&'a str> {
    Some(match name {
        "ALLOWED_ORIGIN" => "https://app.example.com",
        "ATTACHMENTS_BUCKET" => "attachments",
        "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
        "AWS_ENDPOINT_URL" => url,
        "AWS_REGION" => "us-east-1",
        "AWS_SECRET_ACCESS_KEY" => "a-secret",
        "FREE_NOTES" => "100",
        "LOG_LEVEL" => "info",
        "ROUTE_GROUP" => "sample",
        "SECRETS_PREFIX" => "/scratchpad/sample",
        "STAGE" => "sample",
        "USER_HASH_KEY" => "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b",
        _ => return None,
    })
}

/// Makes a sample event valid at the current time.
pub fn prepare_event(event: Value) -> Value {
    let all = PREPARATIONS.iter();
    all.fold(event, |event, prepare| prepare(event))
}

/// Returns the value of the secret `name`. The name does not include the stage's prefix. None if
/// there is no such secret.
pub(crate) fn secret(name: &str) -> Option<&'static str> {
    let mut secrets = SECRETS.iter();
    secrets.find_map(|(known, value)| (*known == name).then_some(*value))
}

/// The S3 key of the file that is attached to the note in the sample events.
pub(crate) fn attachment_key() -> String {
    format!("private/{USER}/hello.jpg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_of_a_table_contains_the_name_of_its_file() {
        for table in tables(&[]).unwrap() {
            let mut variable = String::new();
            for letter in table.name.chars() {
                if letter.is_uppercase() && !variable.is_empty() {
                    variable.push('_');
                }
                variable.push(letter.to_ascii_uppercase());
            }
            let name = environment_variable(&format!("{variable}_TABLE"), "");
            assert_eq!(name, Some(table.name));
        }
        assert_eq!(table_of("STAMP_ALBUMS_TABLE"), Some("StampAlbums".into()));
    }
}
