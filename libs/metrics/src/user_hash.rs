use std::{hash::Hasher as _, str::FromStr};

use siphasher::sip::SipHasher24;
use uuid::Uuid;

/// The key of the hashes that stand for users in the log. Everybody who may read the configuration of a function can read the
/// key. It only ensures that the log alone does not lead to the users' data.
#[derive(Debug, Clone, Copy)]
pub struct UserHashKey(u64, u64);

impl UserHashKey {
    /// The hash of a user's ID: 16 hexadecimal digits of SipHash-2-4.
    pub fn hash(self, user_id: &str) -> String {
        let mut hasher = SipHasher24::new_with_keys(self.0, self.1);
        hasher.write(user_id.as_bytes());
        let hash = hasher.finish();
        let digits = (0..16).map(|place| (hash >> (60 - 4 * place) & 0xf) as u32);
        let digits = digits.filter_map(|digit| char::from_digit(digit, 16));
        let mut text = String::with_capacity(16);
        digits.for_each(|digit| text.push(digit));
        text
    }
}

impl FromStr for UserHashKey {
    type Err = &'static str;

    /// Parses the ID of a CloudFormation stack, which ends with a random UUID after a slash, or the UUID alone.
    fn from_str(stack_id: &str) -> Result<Self, Self::Err> {
        let uuid = stack_id
            .rsplit('/')
            .next()
            .and_then(|uuid| Uuid::parse_str(uuid).ok());
        let (high, low) = uuid.ok_or("it must end with a UUID")?.as_u64_pair();
        Ok(Self(high, low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "arn:aws:cloudformation:us-east-1:111111111111:stack/s/00010203-0405-0607-0809-0a0b0c0d0e0f";

    #[test]
    fn the_hash_depends_on_the_user_and_the_key() {
        let key: UserHashKey = STACK.parse().unwrap();
        let hash = key.hash("us-east-1:a");
        assert_eq!(hash.len(), 16);
        assert!(
            hash.bytes().all(|digit| digit.is_ascii_hexdigit()),
            "{hash}"
        );
        assert_eq!(hash, key.hash("us-east-1:a"));
        assert_ne!(hash, key.hash("us-east-1:b"));
        let other: UserHashKey = "10010203-0405-0607-0809-0a0b0c0d0e0f".parse().unwrap();
        assert_ne!(hash, other.hash("us-east-1:a"));
    }

    #[test]
    fn a_key_without_a_uuid_is_refused() {
        for text in [
            "",
            "arn:aws:cloudformation:us-east-1:111111111111:stack/s",
            "secret",
        ] {
            assert!(text.parse::<UserHashKey>().is_err(), "{text}");
        }
    }
}
