use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a user: the Cognito identity whose credentials signed the request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UserId(String);

impl UserId {
    /// The user's id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = &'static str;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Self::try_from(id.to_owned())
    }
}

/// Accepts the id of a Cognito identity: a region, a colon, and hexadecimal digits with hyphens, at
/// most 55 characters in all.
/// <https://docs.aws.amazon.com/cognitoidentity/latest/APIReference/API_GetId.html>
impl TryFrom<String> for UserId {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':');
        if (1..=55).contains(&id.len()) && id.chars().all(allowed) {
            Ok(Self(id))
        } else {
            Err("not the id of a Cognito identity")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_of_a_cognito_identity_is_a_user_id() {
        assert!(
            "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48"
                .parse::<UserId>()
                .is_ok()
        );
        for id in ["", "us-east-1:a/b", "us-east-1:a b", &"x".repeat(56)] {
            assert!(id.parse::<UserId>().is_err(), "{id}");
        }
    }
}
