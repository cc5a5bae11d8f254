//! Parses the fields of a JSON body. Each field is parsed separately, so that one response reports
//! all invalid fields.

use serde_json::{Map, Value};
use values::{FromJson, to_integer};

use crate::{FieldError, Problem};

/// A request body that is parsed from a JSON object.
pub trait Body: Sized {
    /// Reads the fields of the body. Returns None if a required field is missing, or a field is
    /// invalid.
    ///
    /// An implementation must read all fields before it returns None: `fields` collects the errors,
    /// and the response reports all of them.
    fn read(fields: &mut Fields) -> Option<Self>;
}

/// The fields of a JSON object. Fields that [`Body::read`] does not read are ignored.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Parses a body from JSON.
    ///
    /// # Errors
    /// 400 if the text is not JSON. 422 if fields are missing or invalid. The problem then names
    /// each of these fields.
    pub fn parse<T: Body>(json: &str) -> Result<T, Problem> {
        let value = serde_json::from_str(json).map_err(|error| not_json(&error))?;
        let Value::Object(object) = value else {
            return Err(Problem::invalid("", "The body must be a JSON object."));
        };
        let mut fields = Self {
            object,
            errors: Vec::new(),
        };
        match T::read(&mut fields) {
            Some(body) if fields.errors.is_empty() => Ok(body),
            _ => Err(Problem::unprocessable(fields.errors)),
        }
    }

    /// Parses the required field `name` with `parse`, a function such as [`string`]. Returns None
    /// if the field is missing or invalid.
    pub fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) -> Option<T> {
        match self.object.remove(name) {
            Some(value) => self.valid(name, parse(value)),
            None => self.valid(name, Err("is required".into())),
        }
    }

    /// Parses the optional field `name` with `parse`, a function such as [`string`]. Returns
    /// `Some(None)` if the field is missing or null, and `None` if the field is invalid.
    pub fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) -> Option<Option<T>> {
        match self.object.remove(name) {
            None | Some(Value::Null) => Some(None),
            Some(value) => self.valid(name, parse(value)).map(Some),
        }
    }

    fn valid<T>(&mut self, name: &str, parsed: Result<T, String>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(detail) => {
                let field = name.to_owned();
                self.errors.push(FieldError { field, detail });
                None
            }
        }
    }
}

/// Parses a field that must be a JSON string, and converts it to a `T`.
///
/// If `T` rejects the string, the client gets the error text of `T`. The bound `Into<String>`
/// excludes the error types of std, because their texts are for developers.
///
/// # Errors
/// Returns a text that says what the field must be, such as `must be a string`.
pub fn string<T: TryFrom<String, Error: Into<String>>>(value: Value) -> Result<T, String> {
    match value {
        Value::String(text) => T::try_from(text).map_err(Into::into),
        _ => Err("must be a string".into()),
    }
}

/// Parses a field that must be an integer, as [`to_integer`] defines it, and converts it to a `T`.
///
/// # Errors
/// Returns a text that says what the field must be, such as `must be an integer`.
pub fn integer<T: TryFrom<i64, Error: Into<String>>>(value: Value) -> Result<T, String> {
    let integer = to_integer(&value).ok_or("must be an integer")?;
    T::try_from(integer).map_err(Into::into)
}

/// Parses a field of one of the types of the crate `values`, or `bool`.
///
/// # Errors
/// Returns a text that says what the field must be, such as `must be a date such as 2026-01-31`.
pub fn value<T: FromJson>(value: Value) -> Result<T, String> {
    T::from_json(value)
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::bad_request(match error.is_eof() {
        true => "The body cannot be parsed as JSON: it ends too early.".into(),
        false => format!(
            "The body cannot be parsed as JSON: check line {}, column {}.",
            error.line(),
            error.column()
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Word(String);

    impl TryFrom<String> for Word {
        type Error = &'static str;

        fn try_from(word: String) -> Result<Self, Self::Error> {
            let is_valid = !word.is_empty();
            is_valid.then_some(Self(word)).ok_or("must not be empty")
        }
    }

    #[derive(Debug, PartialEq)]
    struct Size(i64);

    impl TryFrom<i64> for Size {
        type Error = String;

        fn try_from(size: i64) -> Result<Self, Self::Error> {
            let is_valid = (1..=9).contains(&size);
            is_valid
                .then_some(Self(size))
                .ok_or("must be an integer from 1 to 9".into())
        }
    }

    #[test]
    fn the_error_for_a_wrong_json_type_names_the_expected_type() {
        let others = [json!(null), json!(true), json!(["x"]), json!({"a": 1})];
        for value in [&others[..], &[json!(5), json!(1.5)]].concat() {
            let error = string::<Word>(value.clone()).unwrap_err();
            assert_eq!(error, "must be a string", "{value}");
        }
        for value in [&others[..], &[json!("7"), json!(1.5)]].concat() {
            let error = integer::<Size>(value.clone()).unwrap_err();
            assert_eq!(error, "must be an integer", "{value}");
        }
    }

    #[test]
    fn a_rejected_value_has_the_error_text_of_its_type() {
        assert_eq!(string(json!("x")), Ok(Word("x".into())));
        assert_eq!(string::<Word>(json!("")).unwrap_err(), "must not be empty");
        assert_eq!(integer(json!(7)), Ok(Size(7)));
        for value in [
            json!(0),
            json!(-1),
            json!(-1.0),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e300),
            json!(-1e300),
        ] {
            let error = integer::<Size>(value.clone()).unwrap_err();
            assert_eq!(error, "must be an integer from 1 to 9", "{value}");
        }
    }

    #[test]
    fn a_number_with_a_zero_fraction_is_an_integer() {
        for value in ["7", "7.0", "7.000", "7e0", "70e-1", "0.7e1"] {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(integer(value.clone()), Ok(Size(7)), "{value}");
        }
        for value in ["7.5", "0.07", "1e-300"] {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(to_integer(&value), None, "{value}");
        }
    }
}
