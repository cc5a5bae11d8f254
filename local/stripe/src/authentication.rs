//! The result of a 3-D Secure challenge.

use serde::Deserialize;

/// How the cardholder responds to the 3-D Secure challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// The cardholder authenticates. The card is then charged or declined.
    Succeeds,
    /// The cardholder fails or cancels the challenge.
    Fails,
}
