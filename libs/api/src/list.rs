//! Pagination of lists. A client sends `limit` and `cursor` in the query string. The response has a
//! `Link` header with the URL of the next page.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{Problem, Request, Response, response::json_array};

/// A paginated list of resources that belong to one caller. Each resource has an id of 16 bytes.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    name: &'static str,
    caller: &'a str,
}

/// The parameters `limit` and `cursor` of a request for one page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// The maximum number of items on the page: 1 to 100. The default is 100.
    pub limit: usize,
    /// The id of the last item of the previous page. None for the first page.
    pub after: Option<[u8; 16]>,
}

impl<'a> List<'a> {
    /// Creates the list `name`, such as `notes`, for the user `caller`.
    pub const fn of(name: &'static str, caller: &'a str) -> Self {
        Self { name, caller }
    }

    /// Parses `limit` and `cursor` in the query string of `request`.
    ///
    /// # Errors
    /// 422 if the limit is not an integer from 1 to 100. 400 if the cursor is not one that this
    /// caller received for this list.
    pub fn page(self, request: &Request) -> Result<PageRequest, Problem> {
        let limit = request.query("limit").unwrap_or("100").parse().ok();
        let limit = limit.filter(|limit| (1..=100).contains(limit));
        let limit =
            limit.ok_or_else(|| Problem::invalid("limit", "must be an integer from 1 to 100"))?;
        let after = request.query("cursor").map(|cursor| {
            self.decode(cursor).ok_or_else(|| {
                Problem::bad_request(
                    "cursor: must be a cursor that you received in the Link header of this list.",
                )
            })
        });
        let after = after.transpose()?;
        Ok(PageRequest { limit, after })
    }

    /// Creates a response with status 200. The body contains `items`, or only the first of them if
    /// not all fit into one response. `more` says whether the list has items after `items`. If the
    /// list has items after those in the body, the `Link` header has the URL of the next page.
    ///
    /// # Errors
    /// 500 if an item cannot be serialized.
    pub fn response<T: Serialize>(
        self,
        items: &[T],
        id: impl Fn(&T) -> [u8; 16],
        more: bool,
        page: PageRequest,
    ) -> Result<Response, Problem> {
        let (body, carried) = json_array(items)?;
        let response = Response::raw_json(body);
        let more = more || carried < items.len();
        match items.get(..carried).and_then(<[_]>::last) {
            Some(last) if more => {
                let (limit, cursor) = (page.limit, self.encode(id(last)));
                response.next_page(&format!("?limit={limit}&cursor={cursor}"))
            }
            _ => Ok(response),
        }
    }

    /// Returns the cursor for the page that starts after the item `id`.
    ///
    /// The cursor contains `id` and a digest of the list's name, the caller and `id`, so that
    /// [`List::page`] detects a modified cursor and a cursor of another list. A cursor grants no
    /// access: a request can read only the list of its own caller.
    fn encode(self, id: [u8; 16]) -> String {
        URL_SAFE_NO_PAD.encode([&id[..], &self.digest(id)].concat())
    }

    fn decode(self, cursor: &str) -> Option<[u8; 16]> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (id, rest) = bytes.split_first_chunk()?;
        (rest == self.digest(*id)).then_some(*id)
    }

    fn digest(self, id: [u8; 16]) -> [u8; 8] {
        let hash = Sha256::new()
            .chain_update(format!("scratchpad {} cursor {}", self.name, self.caller))
            .chain_update(id)
            .finalize();
        let mut digest = [0; 8];
        let bytes = digest.iter_mut().zip(hash);
        bytes.for_each(|(to, from)| *to = from);
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: List = List::of("notes", "us-east-1:ada");
    const ID: [u8; 16] = [7; 16];

    #[test]
    fn a_cursor_decodes_to_the_id_that_it_encodes() {
        assert_eq!(ADA.decode(&ADA.encode(ID)), Some(ID));
    }

    #[test]
    fn a_cursor_with_one_changed_character_is_refused() {
        let text = ADA.encode(ID);
        for index in 0..text.len() {
            for other in ["A", "B", "_", "%", ""] {
                let mut changed = text.clone();
                changed.replace_range(index..=index, other);
                if changed != text {
                    assert_eq!(ADA.decode(&changed), None, "{changed}");
                }
            }
        }
        assert_eq!(ADA.decode(""), None);
    }

    #[test]
    fn a_cursor_of_another_caller_or_another_list_is_refused() {
        for other in [
            List::of("notes", "us-east-1:bob"),
            List::of("files", "us-east-1:ada"),
        ] {
            assert_eq!(ADA.decode(&other.encode(ID)), None);
        }
    }
}
