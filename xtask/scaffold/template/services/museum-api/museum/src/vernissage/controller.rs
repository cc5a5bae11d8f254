//! The business rules. They are independent of Lambda, HTTP and AWS.

use domain::UserId;

/// Handles a request of `user`.
#[tracing::instrument(skip_all)]
pub async fn vernissage(_user: &UserId) {
    // The business rule.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_handled() {
        vernissage(&"us-east-1:ada".parse().unwrap()).await;
    }
}
