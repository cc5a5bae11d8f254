//! The data to which the sample events in `events/` refer.

use serde_json::{Value, json};

use crate::billing; // part: billing

/// The id of the user in the sample events.
pub const USER: &str = "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48";

/// The id of the note in the sample events.
const NOTE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d907";
/// The version of the note in the sample events.
const VERSION: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d908";

/// The environment variables that every function has although its manifest does not list them,
/// because Lambda or the local cloud sets them. [`environment_variable`] returns their values.
pub const LAMBDA_VARIABLES: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
];

/// The name of each table, and the names of its key attributes: the partition key and, if the table
/// has one, the sort key.
pub(crate) const TABLES: [(&str, &[&str]); 4] = [
    ("Notes", &["userId", "noteId"]),
    ("Attachments", &["userId", "attachment"]),
    ("Storage", &["userId", "entry"]),
    ("Idempotency", &["id"]),
];

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
    let value = VARIABLES.iter().find_map(|variables| variables(name, url));
    value.map(str::to_owned)
}

fn common_variable<'a>(name: &str, url: &'a str) -> Option<&'a str> {
    Some(match name {
        "ALLOWED_ORIGIN" => "https://app.example.com",
        "ATTACHMENTS_BUCKET" => "attachments",
        "ATTACHMENTS_TABLE" => "Attachments",
        "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
        "AWS_ENDPOINT_URL" => url,
        "AWS_REGION" => "us-east-1",
        "AWS_SECRET_ACCESS_KEY" => "a-secret",
        "FREE_NOTES" => "100",
        "IDEMPOTENCY_TABLE" => "Idempotency",
        "LOG_LEVEL" => "info",
        "NOTES_TABLE" => "Notes",
        "ROUTE_GROUP" => "sample",
        "SECRETS_PREFIX" => "/scratchpad/sample",
        "STAGE" => "sample",
        "STORAGE_TABLE" => "Storage",
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

/// The initial items of the tables: the name of a table, and an item in DynamoDB's JSON format.
pub(crate) fn items() -> [(&'static str, Value); 3] {
    let note = json!({
        "userId": {"S": USER}, "noteId": {"S": NOTE}, "version": {"S": VERSION},
        "content": {"S": "hello world"}, "attachment": {"S": "hello.jpg"},
        "uploaded": {"M": {"contentType": {"S": "image/jpeg"}, "size": {"N": "7"}}},
        "createdAt": {"N": "1763632800000"}, "updatedAt": {"N": "1763632800000"},
        "counted": {"BOOL": true},
    });
    let total = json!({
        "userId": {"S": USER}, "entry": {"S": "total"}, "used": {"N": "1"}, "balance": {"N": "1"},
    });
    let attachment = json!({
        "userId": {"S": USER}, "attachment": {"S": attachment_key()},
        "claims": {"SS": [format!("{NOTE}/{VERSION}")]},
        "contentType": {"S": "image/jpeg"}, "size": {"N": "7"},
    });
    [
        ("Notes", note),
        ("Storage", total),
        ("Attachments", attachment),
    ]
}
