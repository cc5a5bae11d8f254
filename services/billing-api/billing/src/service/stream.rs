//! The records in the DynamoDB stream of the table Purchases. Each record contains a purchase as it
//! was before a write, and as it is after the write.

use serde_dynamo::Item;

use super::Cause;
use crate::purchase::Purchase;

/// A change of a purchase: the content of one stream record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The purchase before the write. None if the write created the purchase.
    pub before: Option<Purchase>,
    /// The purchase after the write. None if the write deleted the purchase.
    pub after: Option<Purchase>,
}

/// The error of a stream record whose content is not a purchase. A retry would fail in the same
/// way.
#[derive(Debug, thiserror::Error)]
#[error("the stream record does not contain a purchase")]
pub struct MalformedRecord(#[source] Cause);

impl Change {
    /// Parses the images of a stream record: the purchase before the write and after the write. An
    /// empty image means that the purchase did not exist.
    ///
    /// # Errors
    /// Returns [`MalformedRecord`] if an image is neither empty nor a purchase.
    pub fn from_images(old_image: Item, new_image: Item) -> Result<Self, MalformedRecord> {
        Ok(Self {
            before: purchase(old_image)?,
            after: purchase(new_image)?,
        })
    }
}

fn purchase(image: Item) -> Result<Option<Purchase>, MalformedRecord> {
    if image.is_empty() {
        return Ok(None);
    }
    let purchase = serde_dynamo::from_item(image);
    purchase
        .map(Some)
        .map_err(|error| MalformedRecord(error.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_dynamo::AttributeValue;

    use super::*;
    use crate::fixtures::*;

    fn image(purchase: &Purchase) -> Item {
        serde_dynamo::to_item(purchase).unwrap()
    }

    #[test]
    fn a_change_contains_the_purchase_before_and_after_the_write() {
        let pending = pending("tok_visa");
        let settled = settled(pending.clone());
        let change = Change::from_images(image(&pending), image(&settled)).unwrap();
        assert_eq!(change.before.as_ref(), Some(&pending));
        assert_eq!(change.after, Some(settled));
        let empty = HashMap::<String, AttributeValue>::new().into();
        let added = Change::from_images(empty, image(&pending)).unwrap();
        assert_eq!((added.before, added.after), (None, Some(pending)));
    }

    #[test]
    fn a_change_of_a_purchase_with_a_sub_is_read_without_the_sub() {
        let pending = pending("tok_visa");
        let mut item: HashMap<_, _> = image(&pending).into();
        let sub = buyer().sub.unwrap().to_string();
        item.insert("sub".to_owned(), AttributeValue::S(sub));
        let change = Change::from_images(item.clone().into(), item.into()).unwrap();
        assert_eq!(change.before.as_ref(), Some(&pending));
        assert_eq!(change.after, Some(pending));
    }

    #[test]
    fn a_record_with_a_malformed_attribute_is_an_error() {
        let valid = image(&pending("tok_visa"));
        for name in valid.keys() {
            let mut item: HashMap<_, _> = valid.clone().into();
            item.insert(name.clone(), AttributeValue::Bool(true));
            let result = Change::from_images(valid.clone(), item.into());
            assert!(result.is_err(), "{name}");
        }
    }
}
