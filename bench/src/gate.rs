//! The gate: how many instructions each function may execute.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::report::Instructions;

/// By how many percent a count may exceed what is written down: more than it differs between two runs.
const TOLERANCE: u64 = 2;

/// What is allowed, as `gates.toml` has it.
pub(crate) type Gates = BTreeMap<String, Instructions>;

/// Says what exceeds its gate, a line each, and what has none. Nothing when all is as allowed.
pub(crate) fn exceeded(gates: &Gates, counted: &Gates) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, counts) in counted {
        let Some(allowed) = gates.get(name) else {
            lines.push(format!("{name} has no gate"));
            continue;
        };
        for (phase, allowed, counted) in [
            ("init", allowed.init, counts.init),
            ("cold", allowed.cold, counts.cold),
            ("warm", allowed.warm, counts.warm),
        ] {
            if counted * 100 > allowed * (100 + TOLERANCE) {
                let more = counted as f64 / allowed as f64 - 1.0;
                lines.push(format!(
                    "{name}, {phase}: {counted} instructions, {:.1} % more than the {allowed} that its gate says",
                    more * 100.0
                ));
            }
        }
    }
    let gone = gates.keys().filter(|name| !counted.contains_key(*name));
    lines.extend(gone.map(|name| format!("{name} has a gate, and was not measured")));
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
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        for part in ["get", "cold", "2041", "2000", "2.0 %"] {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn a_function_without_a_gate_and_a_gate_without_a_function_do_not_pass() {
        let (old, new) = (gates(&[("get", 1, 1, 1)]), gates(&[("list", 1, 1, 1)]));
        let lines = exceeded(&old, &new);
        assert_eq!(
            lines,
            ["list has no gate", "get has a gate, and was not measured"]
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let gates = gates(&[("get", 1, 2, 3), ("get-tls", 4, 5, 6)]);
        assert_eq!(toml::from_str::<Gates>(&write(&gates)).unwrap(), gates);
    }
}
