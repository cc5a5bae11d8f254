//! What the stream of the table Purchases says: a purchase as it was, and as it is.

use serde_dynamo::Item;

use super::Cause;
use crate::purchase::Purchase;

/// A write of a purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it was before. None when it was not there.
    pub before: Option<Purchase>,
    /// What it is. None when it is gone.
    pub after: Option<Purchase>,
}

/// A record that is not of purchases. To read it again will not help.
#[derive(Debug, thiserror::Error)]
#[error("a record of the stream is no purchase")]
pub struct Unreadable(#[source] Cause);

impl Change {
    /// Reads the images of a record. One that is empty is of nothing.
    ///
    /// # Errors
    /// When one of them is no purchase.
    pub fn read(old_image: Item, new_image: Item) -> Result<Self, Unreadable> {
        Ok(Self {
            before: purchase(old_image)?,
            after: purchase(new_image)?,
        })
    }
}

fn purchase(image: Item) -> Result<Option<Purchase>, Unreadable> {
    if image.is_empty() {
        return Ok(None);
    }
    let read = serde_dynamo::from_item(image);
    read.map(Some).map_err(|error| Unreadable(error.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_dynamo::AttributeValue;

    use super::*;
    use crate::service::memory::*;

    fn image(purchase: &Purchase) -> Item {
        serde_dynamo::to_item(purchase).unwrap()
    }

    #[tokio::test]
    async fn a_purchase_is_read_as_it_was_written() {
        let pending = Memory::default().ordered("tok_visa").await;
        for end in [paid(), failed()] {
            let settled = Purchase {
                status: end.into(),
                ..pending.clone()
            };
            let change = Change::read(image(&pending), image(&settled)).unwrap();
            assert_eq!(change.before.as_ref(), Some(&pending));
            assert_eq!(change.after, Some(settled));
        }
        let nothing = HashMap::<String, AttributeValue>::new().into();
        let added = Change::read(nothing, image(&pending)).unwrap();
        assert_eq!((added.before, added.after), (None, Some(pending)));
    }

    #[tokio::test]
    async fn a_record_that_is_no_purchase_is_an_error_and_no_panic() {
        let pending = Memory::default().ordered("tok_visa").await;
        let whole = image(&pending);
        for name in whole.keys() {
            let mut item: HashMap<_, _> = whole.clone().into();
            item.insert(name.clone(), AttributeValue::Null(true));
            let read = Change::read(whole.clone(), item.into());
            assert!(read.is_err(), "{name}");
        }
    }
}
