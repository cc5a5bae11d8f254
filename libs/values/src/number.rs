use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{FromJson, to_integer};

/// The greatest integer up to which JavaScript represents every integer exactly.
/// <https://developer.mozilla.org/en-US/docs/Web/JavaScript/Reference/Global_Objects/Number/MAX_SAFE_INTEGER>
const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// An integer from -`MAX` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Integer<const MAX: i64 = MAX_SAFE_INTEGER>(i64);

impl<const MAX: i64> Integer<MAX> {
    /// The value as an `i64`.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<const MAX: i64> TryFrom<i64> for Integer<MAX> {
    type Error = String;

    fn try_from(value: i64) -> Result<Self, Self::Error> {
        const { assert!(MAX >= 0 && MAX <= MAX_SAFE_INTEGER) };
        match (-MAX..=MAX).contains(&value) {
            true => Ok(Self(value)),
            false => Err(format!("must be an integer from -{MAX} to {MAX}")),
        }
    }
}

impl<const MAX: i64> FromJson for Integer<MAX> {
    fn from_json(value: Value) -> Result<Self, String> {
        let integer = to_integer(&value).ok_or("must be an integer")?;
        integer.try_into()
    }
}

impl<const MAX: i64> fmt::Display for Integer<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The greatest integer with as many digits as an `f64` represents exactly: 15.
const MAX_DECIMAL: i64 = 999_999_999_999_999;

/// A number from -`MAX` to `MAX`, which is 0 or not closer to 0 than 0.000000001. It is rounded to 15 significant
/// digits, which an `f64` represents exactly, so that it is read from JSON and DynamoDB as it was written.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Decimal<const MAX: i64 = MAX_DECIMAL>(f64);

/// The smallest positive value. A value with so few zeros after the decimal point has less than the 38 digits that
/// DynamoDB can store.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html#HowItWorks.DataTypes.Number>
const SMALLEST: f64 = 1e-9;

impl<const MAX: i64> Decimal<MAX> {
    /// The value as an `f64`, which is neither NaN nor infinite.
    pub fn get(self) -> f64 {
        self.0
    }
}

// None is NaN.
impl<const MAX: i64> Eq for Decimal<MAX> {}

impl<const MAX: i64> TryFrom<f64> for Decimal<MAX> {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        const { assert!(MAX >= 0 && MAX <= MAX_DECIMAL) };
        let limit = MAX as f64;
        // One digit before the decimal point, and 14 after it. Without this, 0.1 + 0.2 is 0.30000000000000004.
        let value = format!("{value:.14e}").parse().unwrap_or(value);
        if value == 0.0 {
            // Not -0, which DynamoDB stores as 0.
            Ok(Self(0.0))
        } else if !(-limit..=limit).contains(&value) {
            Err(format!("must be a number from -{MAX} to {MAX}"))
        } else if value.abs() < SMALLEST {
            Err("must not be closer to 0 than 0.000000001".into())
        } else {
            Ok(Self(value))
        }
    }
}

impl<const MAX: i64> FromJson for Decimal<MAX> {
    fn from_json(value: Value) -> Result<Self, String> {
        value.as_f64().ok_or("must be a number")?.try_into()
    }
}

/// A value without a fraction is written without a decimal point, as clients send it: 3, not 3.0.
impl<const MAX: i64> Serialize for Decimal<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.fract() == 0.0 {
            true => serializer.serialize_i64(self.0 as i64),
            false => serializer.serialize_f64(self.0),
        }
    }
}

impl<const MAX: i64> fmt::Display for Decimal<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_integer_is_at_most_max_on_both_sides_of_zero() {
        for valid in [-9, -1, 0, 9] {
            assert_eq!(Integer::<9>::try_from(valid).unwrap().get(), valid);
        }
        for invalid in [-10, 10, i64::MIN, i64::MAX] {
            let error = Integer::<9>::try_from(invalid).unwrap_err();
            assert_eq!(error, "must be an integer from -9 to 9");
        }
    }

    #[test]
    fn a_decimal_has_15_significant_digits() {
        for (value, rounded) in [
            (0.1 + 0.2, "0.3"),
            (2.0 / 3.0, "0.666666666666667"),
            (-123_456_789.012_345_67, "-123456789.012346"),
            (1.0 / 3e8, "0.00000000333333333333333"),
        ] {
            assert_eq!(<Decimal>::try_from(value).unwrap().to_string(), rounded);
        }
    }

    #[test]
    fn by_default_a_number_is_at_most_what_javascript_represents_exactly() {
        assert!(<Integer>::try_from(MAX_SAFE_INTEGER).is_ok());
        assert!(<Integer>::try_from(MAX_SAFE_INTEGER + 1).is_err());
        assert!(<Integer>::try_from(-MAX_SAFE_INTEGER - 1).is_err());
        assert!(<Decimal>::try_from(MAX_DECIMAL as f64).is_ok());
        assert!(<Decimal>::try_from(MAX_DECIMAL as f64 + 1.0).is_err());
    }

    #[test]
    fn an_integer_is_parsed_from_a_json_number_without_a_fraction() {
        for valid in ["7", "7.0", "70e-1", "0.7e1"] {
            let value: Value = serde_json::from_str(valid).unwrap();
            assert_eq!(Integer::<9>::from_json(value).unwrap().get(), 7, "{valid}");
        }
        for other in [json!(7.5), json!("7"), json!(null), json!(true), json!([7])] {
            let error = Integer::<9>::from_json(other).unwrap_err();
            assert_eq!(error, "must be an integer");
        }
        for large in [json!(10), json!(1e300), json!(u64::MAX), json!(-1e300)] {
            let error = Integer::<9>::from_json(large).unwrap_err();
            assert_eq!(error, "must be an integer from -9 to 9");
        }
    }

    #[test]
    fn a_decimal_is_at_most_max_on_both_sides_of_zero_and_not_too_close_to_zero() {
        for valid in [-9.0, -1e-9, 0.0, 0.1, 8.999_999_999, 9.0] {
            assert_eq!(Decimal::<9>::try_from(valid).unwrap().get(), valid);
        }
        for invalid in [9.000_001, -9.5, f64::MAX, f64::INFINITY, f64::NAN] {
            let error = Decimal::<9>::try_from(invalid).unwrap_err();
            assert_eq!(error, "must be a number from -9 to 9");
        }
        for tiny in [1e-10, -1e-300, f64::MIN_POSITIVE] {
            let error = Decimal::<9>::try_from(tiny).unwrap_err();
            assert_eq!(error, "must not be closer to 0 than 0.000000001");
        }
    }

    #[test]
    fn minus_zero_becomes_zero() {
        let zero = Decimal::<9>::try_from(-0.0).unwrap();
        assert!(zero.get().is_sign_positive());
        assert_eq!(zero.to_string(), "0");
    }

    #[test]
    fn a_decimal_is_parsed_from_every_json_number_and_only_from_numbers() {
        assert_eq!(Decimal::<9>::from_json(json!(7)).unwrap().get(), 7.0);
        assert_eq!(Decimal::<9>::from_json(json!(2.5)).unwrap().get(), 2.5);
        for other in [json!("7"), json!(null), json!(false), json!([]), json!({})] {
            let error = Decimal::<9>::from_json(other).unwrap_err();
            assert_eq!(error, "must be a number");
        }
    }

    #[test]
    fn a_decimal_without_a_fraction_is_written_as_an_integer() {
        for (value, written) in [(3.0, json!(3)), (-2.5, json!(-2.5)), (0.0, json!(0))] {
            let decimal = Decimal::<9>::try_from(value).unwrap();
            assert_eq!(serde_json::to_value(decimal).unwrap(), written);
        }
    }
}
