//! Fields of JSON objects.

use serde_json::Value;

/// The text at a JSON pointer. Empty if there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

/// The number at a JSON pointer. 0 if there is none.
pub(super) fn number(object: &Value, pointer: &str) -> u64 {
    let number = object.pointer(pointer).and_then(Value::as_u64);
    number.unwrap_or_default()
}
