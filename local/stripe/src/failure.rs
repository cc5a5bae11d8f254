//! Failures on request.

use std::time::Duration;

use serde::Deserialize;

/// What is to go wrong with calls of one route. As it is made it changes nothing: the call is
/// carried out and answered.
///
/// ```
/// # use local_stripe::Failure;
/// # use std::time::Duration;
/// // The next call is carried out, and its answer lost:
/// Failure::on("POST", "/v1/payment_intents").times(1).lose_answer();
/// // Every call takes ten seconds and is refused without effect:
/// Failure::on("*", "/v1/*").delay(Duration::from_secs(10)).without_effect().answer(429);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    method: String,
    path: String,
    /// How many calls are left that it concerns; none for all.
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
    /// With its own answer.
    #[default]
    Answer,
    /// With an error of this status.
    Status(u16),
    /// With nothing: the connection closes.
    Close,
}

fn yes() -> bool {
    true
}

impl Failure {
    /// For calls with this method and path, each `*` for any; a path may end in `*`.
    pub fn on(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            times: None,
            delay_ms: 0,
            effect: true,
            end: End::Answer,
        }
    }

    /// For the next `n` calls, not for all.
    pub fn times(mut self, n: u32) -> Self {
        self.times = Some(n);
        self
    }

    /// The call waits this long, by the double's clock and for 49 days at most, before it is carried
    /// out. It is carried out also when its caller goes away meanwhile, and holds its idempotency key until then.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// The call is not carried out: its connection closes, unless [`Failure::answer`] says more.
    pub fn without_effect(mut self) -> Self {
        self.effect = false;
        self
    }

    /// The call is answered with an error of this status, whatever came of it. From 500 on the
    /// error is what its idempotency key is answered from then on.
    pub fn answer(mut self, status: u16) -> Self {
        self.end = End::Status(status);
        self
    }

    /// The connection closes instead of an answer.
    pub fn lose_answer(mut self) -> Self {
        self.end = End::Close;
        self
    }

    fn concerns(&self, method: &str, path: &str) -> bool {
        let method = self.method == "*" || self.method == method;
        let path = match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => self.path == path,
        };
        method && path && self.times != Some(0)
    }
}

/// What happens to one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) delay: Duration,
    pub(crate) effect: bool,
    pub(crate) end: End,
}

/// The fate of a call: that of the failure that was asked for first and concerns it.
pub(crate) fn fate(failures: &mut Vec<Failure>, method: &str, path: &str) -> Fate {
    failures.retain(|failure| failure.times != Some(0));
    let concerned = failures
        .iter_mut()
        .find(|failure| failure.concerns(method, path));
    match concerned {
        None => Fate {
            delay: Duration::ZERO,
            effect: true,
            end: End::Answer,
        },
        Some(failure) => {
            failure.times = failure.times.map(|times| times - 1);
            Fate {
                delay: Duration::from_millis(failure.delay_ms.into()),
                effect: failure.effect,
                end: failure.end,
            }
        }
    }
}
