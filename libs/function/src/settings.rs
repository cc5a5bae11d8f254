//! A function's settings: environment variables, parsed into types at start.

use std::{env, fmt::Display, str::FromStr};

use crate::StartError;

/// A setting that keeps the function from starting. Its text names the setting.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The environment variable is not there, or empty.
    #[error("the setting {name} is missing")]
    Missing {
        /// The environment variable.
        name: &'static str,
    },
    /// The environment variable is not what it should be.
    #[error("the setting {name} is malformed: {reason}")]
    Malformed {
        /// The environment variable.
        name: &'static str,
        /// What is wrong with it. Never its value: it may be a secret.
        reason: String,
    },
}

/// Reads a setting from the environment.
///
/// # Errors
/// Names the setting when it is missing, empty or malformed.
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
        Err(env::VarError::NotUnicode(_)) => Err(malformed("not UTF-8".into())),
        Ok(value) if value.is_empty() => Err(SettingError::Missing { name }),
        Ok(value) => value.parse().map_err(|error| malformed(format!("{error}"))),
    }
}

/// What the runtime reads itself, and would panic without.
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
    fn a_missing_or_empty_setting_is_named() {
        for value in [Err(env::VarError::NotPresent), Ok(String::new())] {
            let error = parse::<String>("NOTES_TABLE", value).unwrap_err();
            assert_eq!(error.to_string(), "the setting NOTES_TABLE is missing");
        }
    }

    #[test]
    fn a_malformed_setting_is_named_without_its_value() {
        let error = parse::<u32>("TIMEOUT_SECONDS", Ok("soon".into())).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("the setting TIMEOUT_SECONDS is malformed"),
            "{text}"
        );
        assert!(!text.contains("soon"), "{text}");
    }

    #[test]
    fn a_good_setting_is_parsed() {
        assert_eq!(
            parse::<u32>("TIMEOUT_SECONDS", Ok("30".into())).unwrap(),
            30
        );
    }
}
