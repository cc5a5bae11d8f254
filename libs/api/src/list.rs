//! A list that is read page by page: `limit` and `cursor` in the query, a `Link` to the next page in
//! the answer.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{Problem, Request, Response, response::json_array};

/// A list of one caller's things, each of which has 16 bytes as its id.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    name: &'static str,
    caller: &'a str,
}

/// The page that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The most that the caller wants in it: 1 to 100, 100 unless they say.
    pub limit: usize,
    /// The id of the last thing on the page before.
    pub after: Option<[u8; 16]>,
}

impl<'a> List<'a> {
    /// The caller's list of that name, such as `notes`.
    pub const fn of(name: &'static str, caller: &'a str) -> Self {
        Self { name, caller }
    }

    /// The page that `request` asks for.
    ///
    /// # Errors
    /// 422 when the limit is no number from 1 to 100, 400 when the cursor is not one that the caller
    /// got for this list.
    pub fn page(self, request: &Request) -> Result<Page, Problem> {
        let limit = request.query("limit").unwrap_or("100").parse().ok();
        let limit = limit.filter(|limit| (1..=100).contains(limit));
        let limit = limit
            .ok_or_else(|| Problem::invalid("limit", "must be a whole number from 1 to 100"))?;
        let after = request.query("cursor").map(|cursor| {
            self.decode(cursor).ok_or_else(|| {
                Problem::bad_request(
                    "cursor: must be as the Link header of your last page gave it.",
                )
            })
        });
        let after = after.transpose()?;
        Ok(Page { limit, after })
    }

    /// 200 with as many of `items` as one answer carries, and where the others are. `more` says
    /// whether there are others than these.
    ///
    /// # Errors
    /// 500 when an item cannot be written as JSON.
    pub fn answer<T: Serialize>(
        self,
        items: &[T],
        id: impl Fn(&T) -> [u8; 16],
        more: bool,
        page: Page,
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

    /// The cursor of a page that ended with `id`.
    ///
    /// It carries a digest over list, caller and id, so that one that was changed, or is of another
    /// list, is known for one. It gives no access: a list is always the caller's own.
    fn encode(self, id: [u8; 16]) -> String {
        URL_SAFE_NO_PAD.encode([&id[..], &self.digest(id)].concat())
    }

    fn decode(self, cursor: &str) -> Option<[u8; 16]> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (id, rest) = bytes.split_first_chunk()?;
        (rest == self.digest(*id)).then_some(*id)
    }

    fn digest(self, id: [u8; 16]) -> [u8; 8] {
        let whole = Sha256::new()
            .chain_update(format!("scratchpad {} cursor {}", self.name, self.caller))
            .chain_update(id)
            .finalize();
        let mut digest = [0; 8];
        let bytes = digest.iter_mut().zip(whole);
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
    fn a_cursor_comes_back_as_it_went() {
        assert_eq!(ADA.decode(&ADA.encode(ID)), Some(ID));
    }

    #[test]
    fn a_cursor_with_any_character_changed_is_refused() {
        let text = ADA.encode(ID);
        for place in 0..text.len() {
            for other in ["A", "B", "_", "%", ""] {
                let mut changed = text.clone();
                changed.replace_range(place..=place, other);
                if changed != text {
                    assert_eq!(ADA.decode(&changed), None, "{changed}");
                }
            }
        }
        assert_eq!(ADA.decode(""), None);
    }

    #[test]
    fn a_cursor_of_somebody_else_or_of_another_list_is_refused() {
        for other in [
            List::of("notes", "us-east-1:bob"),
            List::of("purchases", "us-east-1:ada"),
        ] {
            assert_eq!(ADA.decode(&other.encode(ID)), None);
        }
    }
}
