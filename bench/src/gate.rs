//! The gate: what each function as it is deployed may take, in figures that do not depend on the machine's mood.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// By how many percent a figure may exceed what is written down: more than it differs between two runs.
const TOLERANCE: u64 = 2;

/// What is allowed, as `gates.toml` has it: figures by their names, by what they are of.
pub(crate) type Gates = BTreeMap<String, BTreeMap<String, u64>>;

/// Takes the lesser of two counts of the same thing.
pub(crate) fn least(counted: &mut Gates, again: Gates) {
    for (name, again) in again {
        let figures = counted.entry(name).or_default();
        for (figure, again) in again {
            let least = figures.entry(figure).or_insert(again);
            *least = again.min(*least);
        }
    }
}

/// Says what exceeds its gate, and what has none: each by its name and a line. Nothing when all is as
/// allowed.
pub(crate) fn exceeded(gates: &Gates, counted: &Gates) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (name, figures) in counted {
        for (figure, &counted) in figures {
            let allowed = gates.get(name).and_then(|gate| gate.get(figure));
            let Some(&allowed) = allowed else {
                lines.push((name.clone(), format!("{name} has no gate for {figure}")));
                continue;
            };
            if counted * 100 > allowed * (100 + TOLERANCE) {
                let more = counted as f64 / allowed as f64 - 1.0;
                let line = format!(
                    "{name}, {figure}: {counted}, {:.1} % more than the {allowed} that its gate says",
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
        "# What each function may take, 2 % more at most. Instructions: until it asks for its first event (init), for its\n\
         # first answer, and for one event after that (warm); name-tls is over TLS. Bytes: its zip. What\n\
         # `cargo xtask bench --gate` compares with, and `cargo xtask bench --accept` writes anew. They depend on Rust and zig\n\
         # as well: after an update of either, accept them anew.\n\n",
    );
    for (name, figures) in gates {
        let figures = figures.iter();
        let figures: Vec<_> = figures
            .map(|(figure, allowed)| format!("{figure} = {allowed}"))
            .collect();
        // Writing to a string does not fail.
        let _ = writeln!(file, "{name} = {{ {} }}", figures.join(", "));
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(all: &[(&str, &[(&str, u64)])]) -> Gates {
        let figures = |figures: &[(&str, u64)]| {
            let figures = figures.iter();
            figures
                .map(|&(name, value)| (name.to_owned(), value))
                .collect()
        };
        let all = all.iter();
        all.map(|(name, of)| ((*name).to_owned(), figures(of)))
            .collect()
    }

    #[test]
    fn two_percent_more_pass_and_a_little_more_than_that_is_named_with_both_figures() {
        let allowed = gates(&[("notes-get", &[("init", 1000), ("first", 2000)])]);
        for passing in [[1020, 2040], [1, 1]] {
            let [init, first] = passing;
            let counted = gates(&[("notes-get", &[("init", init), ("first", first)])]);
            assert!(exceeded(&allowed, &counted).is_empty());
        }
        let lines = exceeded(
            &allowed,
            &gates(&[("notes-get", &[("init", 1000), ("first", 2041)])]),
        );
        let [(name, line)] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(name, "notes-get");
        for part in ["notes-get", "first", "2041", "2000", "2.0 %"] {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn what_has_no_gate_and_a_gate_of_nothing_do_not_pass() {
        let old = gates(&[
            ("notes-get", &[("init", 1)]),
            ("notes-list", &[("init", 1)]),
        ]);
        let new = gates(&[
            ("notes-get", &[("init", 1), ("zip", 1)]),
            ("new", &[("init", 1)]),
        ]);
        let lines = exceeded(&old, &new);
        let names: Vec<_> = lines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["notes-get", "new", "notes-list"]);
    }

    #[test]
    fn of_two_counts_the_lesser_counts_in_each_figure() {
        let mut counted = gates(&[("notes-get", &[("init", 10), ("first", 20)])]);
        let again = gates(&[
            ("notes-get", &[("init", 11), ("first", 19)]),
            ("notes-list", &[("init", 1)]),
        ]);
        least(&mut counted, again);
        let expected = gates(&[
            ("notes-get", &[("init", 10), ("first", 19)]),
            ("notes-list", &[("init", 1)]),
        ]);
        assert_eq!(counted, expected);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let gates = gates(&[
            ("notes-get", &[("init", 1), ("zip", 2)]),
            ("get-tls", &[("init", 4)]),
        ]);
        assert_eq!(toml::from_str::<Gates>(&write(&gates)).unwrap(), gates);
    }
}
