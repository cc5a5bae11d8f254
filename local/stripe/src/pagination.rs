//! Selects the objects of a list that a request asks for
//! (<https://docs.stripe.com/api/pagination>).

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::json::str_field;
use crate::params::{Params, integer};

/// A range of times, in seconds since the Unix epoch: the parameters `created` and `created[…]` of
/// a list request (<https://docs.stripe.com/api/payment_intents/list#list_payment_intents-created>).
#[derive(Debug)]
pub(crate) struct TimeRange {
    first: u64,
    last: u64,
}

impl TimeRange {
    fn parse(params: &mut Params) -> Result<Self, ApiError> {
        let mut range = Self {
            first: 0,
            last: u64::MAX,
        };
        let mut take = |name: &str| {
            let time = params.take(name);
            time.map(|time| integer::<u64>(name, &time)).transpose()
        };
        for (name, first_offset) in [("created[gte]", 0), ("created[gt]", 1)] {
            if let Some(time) = take(name)? {
                range.first = range.first.max(time.saturating_add(first_offset));
            }
        }
        for (name, last_offset) in [("created[lte]", 0), ("created[lt]", 1)] {
            if let Some(time) = take(name)? {
                range.last = range.last.min(time.saturating_sub(last_offset));
            }
        }
        if let Some(time) = take("created")? {
            range.first = range.first.max(time);
            range.last = range.last.min(time);
        }
        Ok(range)
    }

    pub(crate) fn contains(&self, time: u64) -> bool {
        (self.first..=self.last).contains(&time)
    }
}

/// The objects that a list request asks for.
#[derive(Debug)]
pub(crate) struct ListQuery {
    /// The maximum number of objects on the page.
    limit: usize,
    /// The id of the last object on the previous page. None for the first page.
    after: Option<String>,
    pub(crate) created: TimeRange,
    /// The names of fields, with the values that the field of a selected object may have.
    fields: Vec<(&'static str, Vec<String>)>,
}

impl ListQuery {
    /// Parses the parameters of a list request. `fields` contains the names of the parameters that
    /// select objects by the equally named field.
    pub(crate) fn parse(params: &mut Params, fields: &[&'static str]) -> Result<Self, ApiError> {
        let limit = params.take("limit").unwrap_or_else(|| "10".to_owned());
        let limit = integer("limit", &limit)?;
        if !(1..=100).contains(&limit) {
            let message = "Invalid limit: must be between 1 and 100.";
            return Err(ApiError::invalid(message).param("limit"));
        }
        let created = TimeRange::parse(params)?;
        let mut given = Vec::new();
        for field in fields {
            let value = params.take(field).map(|value| vec![value]);
            given.extend(value.map(|values| (*field, values)));
        }
        Ok(Self {
            limit,
            after: params.take("starting_after"),
            created,
            fields: given,
        })
    }

    /// Selects only objects whose field `name` has one of `values`. Changes nothing if `values` is
    /// empty.
    pub(crate) fn any_of(mut self, name: &'static str, values: Vec<String>) -> Self {
        if !values.is_empty() {
            self.fields.push((name, values));
        }
        self
    }

    /// Returns the API's list object for the request, with the newest object first. `objects`
    /// contains all objects in the time range `created`, oldest first.
    pub(crate) fn list(&self, url: &str, mut objects: Vec<Value>) -> Result<Value, ApiError> {
        objects.retain(|object| {
            let matches = |(name, values): &(&str, Vec<String>)| {
                let found = str_field(object, name);
                values.iter().any(|value| value == found)
            };
            self.fields.iter().all(matches)
        });
        objects.reverse();
        if let Some(after) = &self.after {
            let last = objects
                .iter()
                .position(|object| str_field(object, "id") == after);
            let last =
                last.ok_or_else(|| ApiError::missing("object", after).param("starting_after"))?;
            objects.drain(..=last);
        }
        let has_more = objects.len() > self.limit;
        objects.truncate(self.limit);
        Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": objects}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_range_contains_its_inclusive_bounds_only() {
        for (query, contained) in [
            ("", vec![4, 5, 6, 7, 8]),
            ("created=6", vec![6]),
            ("created[gte]=5&created[lte]=7", vec![5, 6, 7]),
            ("created[gt]=5&created[lt]=7", vec![6]),
            ("created[gt]=7&created[lt]=5", vec![]),
        ] {
            let mut params = Params::parse(query.as_bytes());
            let range = TimeRange::parse(&mut params).unwrap();
            let found: Vec<_> = (4..=8).filter(|time| range.contains(*time)).collect();
            assert_eq!(found, contained, "{query}");
        }
        let mut params = Params::parse(b"created[gte]=today");
        assert!(TimeRange::parse(&mut params).is_err());
    }
}
