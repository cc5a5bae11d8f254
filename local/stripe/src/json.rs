//! Reads fields of JSON objects.

use serde_json::Value;

/// The string in the field `name` of `object`. Empty if the field is missing or not a string.
pub(crate) fn str_field<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}
