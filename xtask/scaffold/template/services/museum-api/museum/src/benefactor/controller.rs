//! The business rules. They are independent of Lambda, HTTP and AWS.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// A message of the topic. Replace it by a type with the members that the controller reads.
pub type Message = BTreeMap<String, IgnoredAny>;

/// Handles a message of the topic. SNS can deliver a message more than once, so handling it again
/// must change nothing.
#[tracing::instrument(skip_all)]
pub async fn benefactor(_message: &Message) {
    // The business rule.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_handled_again() {
        for _ in 0..2 {
            benefactor(&Message::new()).await;
        }
    }
}
