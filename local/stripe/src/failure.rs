//! Fault injection: selects calls of the API and changes how the calls end.

use std::time::Duration;

use serde::Deserialize;

/// A fault to inject into calls of the API. [`Failure::on`] selects the calls by method and path.
/// The other functions set how many calls get the fault and what happens to them. If none of these
/// functions is called, the selected calls are executed normally.
///
/// ```
/// # use local_stripe::Failure;
/// # use std::time::Duration;
/// // Executes the next call and drops its response:
/// Failure::on("POST", "/v1/payment_intents").times(1).drop_response();
/// // Delays every call by 10 s, does not execute it, and responds with 429:
/// Failure::on("*", "/v1/*").delay(Duration::from_secs(10)).without_effect().respond_with(429);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    method: String,
    path: String,
    /// The number of calls into which the fault is still to be injected. None means all calls.
    times: Option<u32>,
    #[serde(default)]
    delay_ms: u32,
    #[serde(default = "yes")]
    effect: bool,
    #[serde(default)]
    end: End,
}

/// How a call ends if a fault is injected into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The call ends with its normal response.
    #[default]
    Response,
    /// The call ends with an error response of this status.
    Status(u16),
    /// The call ends without a response: the connection closes.
    Close,
}

fn yes() -> bool {
    true
}

impl Failure {
    /// Selects the calls with this method and path. The method `*` selects all methods. A path that
    /// ends in `*` selects all paths that start with the text before the `*`.
    pub fn on(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            times: None,
            delay_ms: 0,
            effect: true,
            end: End::Response,
        }
    }

    /// Injects the fault into only the next `n` calls that match.
    pub fn times(mut self, n: u32) -> Self {
        self.times = Some(n);
        self
    }

    /// Delays the execution of the call by `delay`, according to the test double's clock. The
    /// maximum is 49 days. The call is executed even if its caller disconnects. During the delay,
    /// other calls with the same idempotency key are rejected.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Prevents the execution of the call. The connection closes without a response, unless
    /// [`Failure::respond_with`] sets a response.
    pub fn without_effect(mut self) -> Self {
        self.effect = false;
        self
    }

    /// Responds with an error of this status, whether or not the call is executed. If the status is
    /// 500 or more, later calls with the same idempotency key get the same error.
    pub fn respond_with(mut self, status: u16) -> Self {
        self.end = End::Status(status);
        self
    }

    /// Closes the connection without a response.
    pub fn drop_response(mut self) -> Self {
        self.end = End::Close;
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        let method = self.method == "*" || self.method == method;
        let path = match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => self.path == path,
        };
        method && path && self.times != Some(0)
    }
}

/// The fault to inject into one call: a delay, whether the call is executed, and how it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) delay: Duration,
    /// Whether the call is executed.
    pub(crate) effect: bool,
    pub(crate) end: End,
}

impl Fault {
    const NONE: Self = Self {
        delay: Duration::ZERO,
        effect: true,
        end: End::Response,
    };
}

/// Returns the fault to inject into one call: the fault of the first element of `failures` that
/// matches the call. Decrements the number of calls for which this element still applies. If no
/// element matches, returns a fault that changes nothing.
pub(crate) fn take_fault(failures: &mut Vec<Failure>, method: &str, path: &str) -> Fault {
    failures.retain(|failure| failure.times != Some(0));
    let matching = failures
        .iter_mut()
        .find(|failure| failure.matches(method, path));
    match matching {
        None => Fault::NONE,
        Some(failure) => {
            failure.times = failure.times.map(|times| times - 1);
            Fault {
                delay: Duration::from_millis(failure.delay_ms.into()),
                effect: failure.effect,
                end: failure.end,
            }
        }
    }
}
