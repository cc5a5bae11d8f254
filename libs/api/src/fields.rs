//! The fields of a body, read one by one so that a client hears of all that are wrong at once.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{FieldError, Problem};

/// What a handler takes as a body.
pub trait Body: Sized {
    /// Reads every field, and only then gives up on those that cannot be used.
    fn read(fields: &mut Fields) -> Option<Self>;
}

/// The fields of a JSON object. Those that nobody reads are left out of account.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads a body from JSON.
    ///
    /// # Errors
    /// 400 when it is not JSON, 422 naming every field that cannot be used.
    pub(crate) fn parse<T: Body>(json: &[u8]) -> Result<T, Problem> {
        let value = serde_json::from_slice(json)
            .map_err(|error| Problem::bad_request(format!("The body is not JSON: {error}.")))?;
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

    /// A field that has to be there. None when it is not, or cannot be used.
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        match self.object.remove(name) {
            Some(value) => self.typed(name, value),
            None => {
                self.refuse(name, "is missing".into());
                None
            }
        }
    }

    /// A field that may be left out, or null. None when it is there and cannot be used.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<Option<T>> {
        match self.object.remove(name) {
            None | Some(Value::Null) => Some(None),
            Some(value) => self.typed(name, value).map(Some),
        }
    }

    fn typed<T: DeserializeOwned>(&mut self, name: &str, value: Value) -> Option<T> {
        let typed = serde_json::from_value(value);
        typed
            .map_err(|error| self.refuse(name, error.to_string()))
            .ok()
    }

    fn refuse(&mut self, field: &str, detail: String) {
        let field = field.to_owned();
        self.errors.push(FieldError { field, detail });
    }
}
