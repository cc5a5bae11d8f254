//! Request parameters in the encoding of Stripe's clients: `a=1&b[c]=2&d[]=3`.

use std::str::FromStr;

use serde_json::{Map, Value};

use crate::error::ApiError;

/// The parameters of a request. The methods that read a parameter also remove it, so that
/// [`Params::finish`] can detect unknown parameters.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// Returns the sorted parameters. The result is equal for two requests whose parameters differ
    /// only in order.
    pub(crate) fn fingerprint(&self) -> Vec<(String, String)> {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(crate) fn required(&mut self, name: &str) -> Result<String, ApiError> {
        self.take(name).ok_or_else(|| {
            ApiError::invalid(format!("Missing required param: {name}."))
                .code("parameter_missing")
                .param(name)
        })
    }

    /// Removes the parameters of the form `name[]` or `name[0]` and returns their values.
    pub(crate) fn take_list(&mut self, name: &str) -> Vec<String> {
        self.take_entries(name)
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    }

    /// Removes the parameters of the form `name[key]` and returns their values in a map, keyed by
    /// `key`.
    pub(crate) fn take_map(&mut self, name: &str) -> Map<String, Value> {
        self.take_entries(name)
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect()
    }

    fn take_entries(&mut self, name: &str) -> Vec<(String, String)> {
        let key = |found: &str| {
            let key = found.strip_prefix(name)?.strip_prefix('[')?;
            key.strip_suffix(']').map(str::to_owned)
        };
        let (taken, remaining) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(found, _)| key(found).is_some());
        self.0 = remaining;
        let taken: Vec<(String, String)> = taken;
        taken
            .into_iter()
            .filter_map(|(found, value)| Some((key(&found)?, value)))
            .collect()
    }

    pub(crate) fn take_bool(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name).as_deref() {
            Some("true") => Ok(true),
            Some("false") | None => Ok(false),
            Some(other) => Err(ApiError::invalid(format!("Invalid boolean: {other}"))
                .code("parameter_invalid_boolean")
                .param(name)),
        }
    }

    /// Fails if the request has a parameter that was not read. The test double must not ignore a
    /// parameter that has an effect at Stripe.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::invalid(format!(
                "Received unknown parameter: {name}"
            ))
            .code("parameter_unknown")
            .param(name)),
        }
    }
}

/// Parses `value`, the value of the parameter `name`, as an integer.
pub(crate) fn integer<T: FromStr>(name: &str, value: &str) -> Result<T, ApiError> {
    value.parse().map_err(|_| {
        ApiError::invalid(format!("Invalid integer: {value}"))
            .code("parameter_invalid_integer")
            .param(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_maps_are_selected_by_their_exact_names() {
        let mut params = Params::parse(b"types[]=card&types[1]=link&types_of=x&metadata[id]=1");
        assert_eq!(params.take_list("types"), ["card", "link"]);
        assert_eq!(params.take_map("metadata")["id"], "1");
        assert_eq!(params.finish().unwrap_err().error()["param"], "types_of");
    }

    #[test]
    fn the_order_of_parameters_does_not_change_the_fingerprint() {
        let one = Params::parse(b"a=1&b=2").fingerprint();
        assert_eq!(one, Params::parse(b"b=2&a=1").fingerprint());
        assert_ne!(one, Params::parse(b"a=1&b=3").fingerprint());
    }
}
