//! Reads fields of JSON objects.

use serde_json::Value;

/// Returns the string in the field `name` of `object`. Empty if the field is missing or is not a
/// string.
pub(crate) fn str_field<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}
