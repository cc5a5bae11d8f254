use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::UserId;

/// The user who writes an item, with both ids that Cognito has for this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The user's identity in the identity pool. It is the partition key of the user's data.
    pub id: UserId,
    /// The user's id in the user pool. None if the request does not contain it.
    pub sub: Option<Sub>,
}

/// The id of a user in the user pool: the claim `sub` of the user's tokens.
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-attributes.html>
///
/// Items store it, so that the items of a person can be found if the identity pool is lost and
/// every user gets a new [`UserId`]. Responses and logs do not contain it. Therefore this type has
/// no `Serialize`, and its `Debug` output does not contain the value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sub(Uuid);

impl FromStr for Sub {
    type Err = &'static str;

    /// Parses a UUID in the form that has hyphens and 36 characters, which is Cognito's form.
    fn from_str(sub: &str) -> Result<Self, Self::Err> {
        let parsed = Uuid::try_parse(sub).ok().filter(|_| sub.len() == 36);
        parsed.map(Self).ok_or("the sub is not a UUID with hyphens")
    }
}

impl fmt::Display for Sub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for Sub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sub(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &str = "2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62";

    #[test]
    fn only_a_hyphenated_uuid_is_a_sub() {
        assert_eq!(SUB.parse::<Sub>().unwrap().to_string(), SUB);
        for other in [
            "",
            "ada",
            "2f6b1c9e0d474a85b3e98c7d5a1f4e62",
            "{2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62}",
            "2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e6",
            "2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62 ",
            "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48",
        ] {
            assert!(other.parse::<Sub>().is_err(), "{other}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_sub() {
        let author = Author {
            id: "us-east-1:ada".parse().unwrap(),
            sub: SUB.parse().ok(),
        };
        let shown = format!("{author:?}");
        assert!(shown.contains("us-east-1:ada"), "{shown}");
        assert!(!shown.contains("2f6b1c9e"), "{shown}");
    }
}
