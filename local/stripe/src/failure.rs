//! Fault injection: selects calls and changes how they end.

use std::time::Duration;

use serde::Deserialize;

/// A fault to inject into the calls of a route. [`Failure::on`] selects the calls, and the other
/// methods set what happens to them. Without these, a call is executed normally.
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
    /// The number of further calls that get this fault. None means all.
    times: Option<u32>,
    #[serde(default)]
    delay_ms: u32,
    #[serde(default = "yes")]
    effect: bool,
    #[serde(default)]
    end: End,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// With its normal response.
    #[default]
    Response,
    /// With an error response of this status.
    Status(u16),
    /// Without a response: the connection closes.
    Close,
}

fn yes() -> bool {
    true
}

impl Failure {
    /// Selects the calls with this method and path. The method `*` matches any method. A path that
    /// ends in `*` matches all paths that start with the rest.
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

    /// Limits the fault to the next `n` calls.
    pub fn times(mut self, n: u32) -> Self {
        self.times = Some(n);
        self
    }

    /// Delays the execution of the call by at most 49 days, according to the double's clock. The call is
    /// executed even if its caller disconnects. Its idempotency key is in use during the delay.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Prevents the execution of the call. The connection closes without a response, unless
    /// [`Failure::respond_with`] sets one.
    pub fn without_effect(mut self) -> Self {
        self.effect = false;
        self
    }

    /// Responds with an error of this status, whether or not the call is executed. An error of 500
    /// or more is stored for the call's idempotency key and replayed.
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

/// Returns the fault for one call, from the first failure that matches the call, and counts that
/// use of the failure.
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
