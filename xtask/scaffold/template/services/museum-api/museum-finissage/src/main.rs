//! Runs regularly, as the manifest of the service says.

use std::{
    convert::Infallible,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use museum::finissage::controller::{self, Summary};
use serde::de::IgnoredAny;

/// The time that a run leaves for its response.
const RESERVE: Duration = Duration::from_secs(5);

struct Services;

async fn handle(
    _: &Services,
    _event: IgnoredAny,
    deadline: SystemTime,
) -> Result<Summary, Infallible> {
    Ok(controller::finissage(deadline - RESERVE).await)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(async || Ok(Services), handle).await
}
