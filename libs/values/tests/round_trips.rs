//! Tests that values are read from JSON and from DynamoDB as they were written, with random values.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::{collections::HashMap, fmt::Debug};

use aws_sdk_dynamodb::types::AttributeValue;
use fastrand::Rng;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use values::{Date, Decimal, Email, FromJson, Integer, Text, Time, Url};

const RUNS: usize = 2000;

/// An item that contains a value the two ways in which resources contain fields: directly, and in a flattened struct.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Item<T> {
    direct: T,
    #[serde(flatten)]
    fields: Fields<T>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fields<T> {
    field: T,
    some: Option<T>,
    none: Option<T>,
    absent: Option<bool>,
}

/// Asserts that `value` is read as it was written: by a request, from a stored item, and from a response.
fn assert_round_trip<T>(value: T)
where
    T: Clone + Debug + PartialEq + Serialize + DeserializeOwned + FromJson,
{
    let json = serde_json::to_value(&value).unwrap();
    assert_eq!(T::from_json(json.clone()).as_ref(), Ok(&value));
    let text = json.to_string();
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value, "{text}");

    let fields = Fields {
        field: value.clone(),
        some: Some(value.clone()),
        none: None,
        absent: None,
    };
    let item = Item {
        direct: value,
        fields,
    };
    let mut stored: HashMap<String, AttributeValue> = serde_dynamo::to_item(&item).unwrap();
    stored.remove("absent");
    let read: Item<T> = serde_dynamo::from_item(stored.clone()).unwrap();
    assert_eq!(read, item, "{stored:?}");
}

/// Asserts that a value that [`FromJson`] refuses cannot be read by Serde either.
fn assert_refused<T: Debug + DeserializeOwned + FromJson>(json: serde_json::Value) {
    let error = T::from_json(json.clone()).unwrap_err();
    assert!(error.starts_with("must "), "{json}: {error}");
    assert!(serde_json::from_value::<T>(json.clone()).is_err(), "{json}");
}

fn text(random: &mut Rng, length: usize) -> String {
    (0..length).map(|_| random.char(..)).collect()
}

#[test]
fn random_texts_are_read_as_they_were_written() {
    let random = &mut Rng::with_seed(1);
    for _ in 0..RUNS {
        let length = random.usize(1..=20);
        assert_round_trip(Text::<20>::try_from(text(random, length)).unwrap());
    }
    for length in [0, 21, 100] {
        assert_refused::<Text<20>>(text(random, length).into());
    }
}

#[test]
fn random_integers_and_times_are_read_as_they_were_written() {
    let random = &mut Rng::with_seed(2);
    let max = 2_i64.pow(53) - 1;
    for _ in 0..RUNS {
        let bits = random.u32(0..=53);
        let size = random.i64(0..2_i64.pow(bits)).min(max);
        for value in [size, -size] {
            assert_round_trip(<Integer>::try_from(value).unwrap());
            assert_round_trip(
                Time::try_from(value.clamp(-8_640_000_000_000_000, 1 << 52)).unwrap(),
            );
        }
    }
    for value in [max + 1, -max - 1, i64::MIN, i64::MAX] {
        assert_refused::<Integer>(value.into());
        assert_refused::<Time>(value.into());
    }
}

#[test]
fn random_decimals_are_read_as_they_were_written() {
    let random = &mut Rng::with_seed(3);
    for _ in 0..RUNS {
        // Random digits with a random exponent.
        let value = (random.f64() - 0.5) * 10_f64.powi(random.i32(-8..=15));
        let Ok(decimal) = <Decimal>::try_from(value) else {
            assert!(value.abs() < 1e-9, "{value}");
            continue;
        };
        assert_round_trip(decimal);
        // As people write them: few decimals.
        let cents = random.i64(-1_000_000_000..1_000_000_000) as f64 / 100.0;
        assert_round_trip(<Decimal>::try_from(cents).unwrap());
    }
    for value in [1e16, -1e16, 1e-10] {
        assert_refused::<Decimal>(value.into());
    }
}

#[test]
fn random_dates_are_read_as_they_were_written() {
    let random = &mut Rng::with_seed(4);
    let mut refused = 0;
    for _ in 0..RUNS {
        let (year, month, day) = (random.u16(0..=9999), random.u8(0..=13), random.u8(0..=32));
        match Date::new(year, month, day) {
            Some(date) => assert_round_trip(date),
            None => {
                assert_refused::<Date>(format!("{year:04}-{month:02}-{day:02}").into());
                refused += 1;
            }
        }
    }
    assert!((100..RUNS).contains(&refused), "{refused}");
}

#[test]
fn random_urls_addresses_and_booleans_are_read_as_they_were_written() {
    let random = &mut Rng::with_seed(5);
    for _ in 0..RUNS {
        let word: String = (0..random.usize(1..=60))
            .map(|_| random.alphanumeric())
            .collect();
        assert_round_trip(Url::try_from(format!("https://{word}.example/{word}?{word}")).unwrap());
        assert_round_trip(Email::try_from(format!("{word}@{word}.example")).unwrap());
    }
    assert_round_trip(true);
    assert_round_trip(false);
    for text in ["", "ada", "a b@c d", "ftp://a.example"] {
        assert_refused::<Url>(text.into());
        assert_refused::<Email>(text.into());
        assert_refused::<bool>(text.into());
    }
}
