//! The business rules. They are independent of Lambda, HTTP and AWS.

use std::time::SystemTime;

use serde::Serialize;

/// What a run has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The number of items that the run has handled.
    pub handled: usize,
}

/// Handles what is due, until `deadline`.
#[tracing::instrument(skip_all)]
pub async fn finissage(deadline: SystemTime) -> Summary {
    let handled = 0;
    if SystemTime::now() >= deadline {
        tracing::warn!(handled, "run stopped at its deadline");
    }
    Summary { handled }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_run_without_work_handles_nothing() {
        let deadline = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(finissage(deadline).await, Summary { handled: 0 });
    }
}
