//! Parses the environment variables of a function into Rust types, during the cold start.

use std::{env, fmt::Display, str::FromStr};

use crate::error::StartError;

/// The error of a missing or malformed environment variable.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The environment variable is not set, or is empty.
    #[error("the environment variable {name} is missing or empty")]
    Missing {
        /// The name of the environment variable.
        name: &'static str,
    },
    /// The environment variable cannot be parsed.
    #[error("the environment variable {name} is malformed: {reason}")]
    Malformed {
        /// The name of the environment variable.
        name: &'static str,
        /// Why the value is malformed. Never contains the value, because the value may be a secret.
        reason: String,
    },
}

/// Parses the environment variable `name`.
///
/// # Errors
/// Fails if the variable is missing, empty or malformed. The error contains the name of the
/// variable.
pub fn setting<T: FromStr<Err: Display>>(name: &'static str) -> Result<T, SettingError> {
    parse(name, env::var(name))
}

fn parse<T: FromStr<Err: Display>>(
    name: &'static str,
    value: Result<String, env::VarError>,
) -> Result<T, SettingError> {
    let malformed = |reason: String| SettingError::Malformed { name, reason };
    match value {
        Err(env::VarError::NotPresent) => Err(SettingError::Missing { name }),
        Err(env::VarError::NotUnicode(_)) => Err(malformed("it must be UTF-8".into())),
        Ok(value) if value.is_empty() => Err(SettingError::Missing { name }),
        Ok(value) => value.parse().map_err(|error| malformed(format!("{error}"))),
    }
}

/// Checks the environment variables that the crate `lambda_runtime` needs, because it panics if
/// they are missing or malformed.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
pub(crate) fn require_runtime() -> Result<(), StartError> {
    for name in ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION"] {
        setting::<String>(name)?;
    }
    setting::<http::Uri>("AWS_LAMBDA_RUNTIME_API")?;
    setting::<u32>("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_a_missing_or_empty_variable() {
        for value in [Err(env::VarError::NotPresent), Ok(String::new())] {
            let error = parse::<String>("NOTES_TABLE", value).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the environment variable NOTES_TABLE is missing or empty"
            );
        }
    }

    #[test]
    fn the_error_names_a_malformed_variable_without_its_value() {
        let error = parse::<u32>("TIMEOUT_SECONDS", Ok("soon".into())).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("the environment variable TIMEOUT_SECONDS is malformed"),
            "{text}"
        );
        assert!(!text.contains("soon"), "{text}");
    }

    #[test]
    fn a_valid_variable_is_parsed() {
        assert_eq!(
            parse::<u32>("TIMEOUT_SECONDS", Ok("30".into())).unwrap(),
            30
        );
    }
}
