use serde_json::Value;

/// A type that can be parsed from a JSON value. Its errors are for clients, so they do not depend on Serde
/// and name no Rust type.
pub trait FromJson: Sized {
    /// Parses `value`.
    ///
    /// # Errors
    /// Returns a text that says what the value must be, such as `must be a string`.
    fn from_json(value: Value) -> Result<Self, String>;
}

impl FromJson for bool {
    fn from_json(value: Value) -> Result<Self, String> {
        value.as_bool().ok_or("must be true or false".into())
    }
}

/// Converts a JSON string to a `T`. The error for any other JSON value is `expected`.
pub(crate) fn from_string<T: TryFrom<String, Error = String>>(
    value: Value,
    expected: &str,
) -> Result<T, String> {
    match value {
        Value::String(text) => T::try_from(text),
        _ => Err(expected.into()),
    }
}

/// Converts a JSON value to an integer. Returns None if the value is not a number, or has a
/// fraction.
///
/// As in JSON Schema, 7.0 is an integer:
/// <https://json-schema.org/understanding-json-schema/reference/numeric#integer>. A number outside
/// the range of `i64` becomes the nearest `i64`.
pub fn to_integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
        Some(number as i64)
    })
}
