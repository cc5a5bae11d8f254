//! The price table: `prices.json`. The build script also includes this file, and fails if the table
//! contains a price that Stripe cannot charge.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The content of `prices.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceTable {
    /// Stripe's code of the currency, in lower case: <https://docs.stripe.com/currencies>.
    currency: String,
    /// The price per note, by the number of notes in a purchase.
    tiers: Vec<Tier>,
    /// The maximum number of notes in one purchase.
    limit: u32,
}

/// A row of the price table. It applies to purchases of `from` notes or more, up to the next row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    /// The smallest number of notes that has this price.
    from: u32,
    /// The price per note, in the minor unit of the currency.
    each: u32,
}

/// The minimum amounts of a charge by currency, in the minor unit:
/// <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>. Only currencies whose minor unit is a hundredth,
/// because the app and the messages show two decimals.
const MINIMUMS: &str = include_str!("../../minimums.json");

/// The maximum amount of a charge, in the minor unit: eight digits.
/// <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
const MAXIMUM: u64 = 99_999_999;

impl PriceTable {
    /// Parses and checks the price table.
    ///
    /// # Errors
    /// Fails if the JSON is malformed, the tiers do not cover 1 to `limit` notes, or a price is
    /// below the minimum or above the maximum of a charge.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let table: Self =
            serde_json::from_str(json).map_err(|error| format!("prices.json: {error}"))?;
        let minimums: BTreeMap<String, u64> =
            serde_json::from_str(MINIMUMS).map_err(|error| format!("minimums.json: {error}"))?;
        let Some(minimum) = minimums.get(&table.currency) else {
            let currency = &table.currency;
            return Err(format!(
                "add Stripe's minimum charge amount of the currency {currency} to minimums.json"
            ));
        };
        if table.tiers.first().map(|tier| tier.from) != Some(1) {
            return Err("the first tier must start from 1 note".into());
        }
        let ends = table
            .tiers
            .iter()
            .skip(1)
            .map(|next| next.from.saturating_sub(1));
        for (tier, last) in table.tiers.iter().zip(ends.chain([table.limit])) {
            if last < tier.from {
                return Err(format!("the tier from {} has no notes", tier.from));
            }
            // Within a tier, the price increases with the number of notes.
            for notes in [tier.from, last] {
                let price = u64::from(notes) * u64::from(tier.each);
                if !(*minimum..=MAXIMUM).contains(&price) {
                    return Err(format!(
                        "the price of {notes} notes, {price}, is not from {minimum} to {MAXIMUM}"
                    ));
                }
            }
        }
        Ok(table)
    }

    /// The Rust source of the constants `CURRENCY`, `TIERS` and `LIMIT`.
    #[cfg_attr(
        test,
        expect(dead_code, reason = "only the build script generates constants")
    )]
    pub(crate) fn constants(&self) -> String {
        let Self {
            currency,
            tiers,
            limit,
        } = self;
        let count = tiers.len();
        let tiers: String = tiers
            .iter()
            .map(|Tier { from, each }| format!("({from}, {each}), "))
            .collect();
        format!(
            "const CURRENCY: [u8; 3] = *b\"{currency}\";\n\
             const TIERS: [(u32, u32); {count}] = [{tiers}];\n\
             const LIMIT: u32 = {limit};\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(currency: &str, tiers: &str, limit: u32) -> Result<(), String> {
        let json = format!(r#"{{"currency":"{currency}","tiers":{tiers},"limit":{limit}}}"#);
        PriceTable::parse(&json).map(|_| ())
    }

    #[test]
    fn a_price_that_stripe_does_not_charge_is_refused() {
        let one_tier = |each: u32| format!(r#"[{{"from":1,"each":{each}}}]"#);
        assert_eq!(parse("usd", &one_tier(50), 10), Ok(()));
        assert!(parse("usd", &one_tier(49), 10).is_err());
        assert!(parse("gbp", &one_tier(30), 10).is_ok());
        assert!(parse("usd", &one_tier(100), 999_999).is_ok());
        assert!(parse("usd", &one_tier(100), 1_000_000).is_err());
        let cheap_later = r#"[{"from":1,"each":400},{"from":2,"each":10}]"#;
        assert!(parse("usd", cheap_later, 10).is_err());
        assert!(parse("xxx", &one_tier(400), 10).is_err());
    }

    #[test]
    fn tiers_must_cover_every_number_of_notes() {
        for tiers in [
            "[]",
            r#"[{"from":2,"each":400}]"#,
            r#"[{"from":1,"each":400},{"from":11,"each":200},{"from":11,"each":100}]"#,
            r#"[{"from":1,"each":400},{"from":101,"each":200}]"#,
        ] {
            assert!(parse("usd", tiers, 100).is_err(), "{tiers}");
        }
    }
}
