//! Selects the page of a list or search result that a request asks for
//! (<https://docs.stripe.com/api/pagination>).

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::json::str_field;
use crate::params::{Params, integer};

/// The page of a list or search result that a request asks for.
#[derive(Debug)]
pub(crate) struct Page {
    limit: usize,
    /// The name and the value of the parameter that says where the page starts. The value is the id
    /// of the last object on the previous page. None for the first page.
    after: Option<(&'static str, String)>,
}

impl Page {
    /// Parses the parameter `limit`, and the parameter that says where the page starts. `after` is
    /// the name of the latter parameter.
    pub(crate) fn parse(params: &mut Params, after: &'static str) -> Result<Self, ApiError> {
        let limit = params.take("limit").unwrap_or_else(|| "10".to_owned());
        match integer("limit", &limit)? {
            limit @ 1..=100 => Ok(Self {
                limit,
                after: params.take(after).map(|id| (after, id)),
            }),
            _ => Err(ApiError::invalid("Invalid limit: must be between 1 and 100.").param("limit")),
        }
    }

    /// Returns the objects on this page, newest first, and whether more objects follow. `objects`
    /// contains the objects of all pages, oldest first.
    fn select(&self, objects: Vec<Value>) -> Result<(Vec<Value>, bool), ApiError> {
        let mut newest: Vec<_> = objects.into_iter().rev().collect();
        if let Some((param, id)) = &self.after {
            let last = newest
                .iter()
                .position(|object| str_field(object, "id") == id);
            let last = last.ok_or_else(|| ApiError::missing("object", id).param(param))?;
            newest.drain(..=last);
        }
        let has_more = newest.len() > self.limit;
        newest.truncate(self.limit);
        Ok((newest, has_more))
    }

    /// Returns the API's list object for this page. `objects` contains the objects of all pages,
    /// oldest first.
    pub(crate) fn list(&self, url: &str, objects: Vec<Value>) -> Result<Value, ApiError> {
        let (data, has_more) = self.select(objects)?;
        Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": data}))
    }

    /// Returns the API's search result object for this page. `objects` contains the objects of all
    /// pages, oldest first.
    pub(crate) fn search_result(&self, url: &str, objects: Vec<Value>) -> Result<Value, ApiError> {
        let (data, has_more) = self.select(objects)?;
        let last = data.last().filter(|_| has_more);
        Ok(json!({
            "object": "search_result",
            "url": url,
            "has_more": has_more,
            "next_page": last.map(|last| str_field(last, "id")),
            "data": data,
        }))
    }
}
