//! The gate: how many instructions each function may execute.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::report::Instructions;

/// By how many percent a count may exceed what is written down: more than it differs between two runs.
const TOLERANCE: u64 = 2;

/// What is allowed, as `gates.toml` has it.
pub(crate) type Gates = BTreeMap<String, Instructions>;

/// Takes the lesser of two counts of the same thing.
pub(crate) fn least(counted: &mut Gates, again: Gates) {
    for (name, again) in again {
        let counts = counted.entry(name).or_insert(again);
        counts.init = counts.init.min(again.init);
        counts.cold = counts.cold.min(again.cold);
        counts.warm = counts.warm.min(again.warm);
    }
}

/// Says what exceeds its gate, and what has none: each by its name and a line. Nothing when all is as
/// allowed.
pub(crate) fn exceeded(gates: &Gates, counted: &Gates) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (name, counts) in counted {
        let Some(allowed) = gates.get(name) else {
            lines.push((name.clone(), format!("{name} has no gate")));
            continue;
        };
        for (phase, allowed, counted) in [
            ("init", allowed.init, counts.init),
            ("cold", allowed.cold, counts.cold),
            ("warm", allowed.warm, counts.warm),
        ] {
            if counted * 100 > allowed * (100 + TOLERANCE) {
                let more = counted as f64 / allowed as f64 - 1.0;
                let line = format!(
                    "{name}, {phase}: {counted} instructions, {:.1} % more than the {allowed} that its gate says",
                    more * 100.0
                );
                lines.push((name.clone(), line));
            }
        }
    }
    let gone = gates.keys().filter(|name| !counted.contains_key(*name));
    lines.extend(gone.map(|name| {
        let line = format!("{name} has a gate, and was not measured");
        (name.clone(), line)
    }));
    lines
}

/// The file of these gates.
pub(crate) fn write(gates: &Gates) -> String {
    let mut file = String::from(
        "# Instructions that each function may execute, 2 % more at most: at init, until its first answer, and for one\n\
         # event after that; name-tls is over TLS. What `cargo xtask bench --gate` compares with, and\n\
         # `cargo xtask bench --accept` writes anew. They depend on the compiler and on the machine's C library as well: after\n\
         # an update of either, accept them anew.\n\n",
    );
    for (name, Instructions { init, cold, warm }) in gates {
        // Writing to a string does not fail.
        let _ = writeln!(
            file,
            "{name} = {{ init = {init}, cold = {cold}, warm = {warm} }}"
        );
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(all: &[(&str, u64, u64, u64)]) -> Gates {
        let one = |&(name, init, cold, warm): &(&str, u64, u64, u64)| {
            (name.to_owned(), Instructions { init, cold, warm })
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn two_percent_more_pass_and_a_little_more_than_that_is_named_with_both_figures() {
        let allowed = gates(&[("get", 1000, 2000, 500)]);
        assert!(exceeded(&allowed, &gates(&[("get", 1020, 2040, 510)])).is_empty());
        assert!(exceeded(&allowed, &gates(&[("get", 1, 1, 1)])).is_empty());
        let lines = exceeded(&allowed, &gates(&[("get", 1000, 2041, 500)]));
        let [(name, line)] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(name, "get");
        for part in ["get", "cold", "2041", "2000", "2.0 %"] {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn a_function_without_a_gate_and_a_gate_without_a_function_do_not_pass() {
        let (old, new) = (gates(&[("get", 1, 1, 1)]), gates(&[("list", 1, 1, 1)]));
        let lines = exceeded(&old, &new);
        let names: Vec<_> = lines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["list", "get"]);
    }

    #[test]
    fn of_two_counts_the_lesser_counts_in_each_phase() {
        let mut counted = gates(&[("get", 10, 20, 30)]);
        least(
            &mut counted,
            gates(&[("get", 11, 19, 30), ("list", 1, 1, 1)]),
        );
        assert_eq!(counted, gates(&[("get", 10, 19, 30), ("list", 1, 1, 1)]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let gates = gates(&[("get", 1, 2, 3), ("get-tls", 4, 5, 6)]);
        assert_eq!(toml::from_str::<Gates>(&write(&gates)).unwrap(), gates);
    }
}
