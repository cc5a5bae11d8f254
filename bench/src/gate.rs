//! The gates: upper limits for the instruction counts and the package sizes of the deployed functions. Neither of these
//! figures depends on the load of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The percentage by which a figure may exceed its gate (its upper limit). Two measurements of the same code differ by
/// less.
const TOLERANCE_PERCENT: u64 = 2;

/// The content of `gates.toml`, or measured figures in the same form. Maps each function to its figures: `init`,
/// `first` and `warm` are instruction counts, and `zip` is the size of the deployment package in bytes. The key of a
/// function is its name. For calls to AWS over TLS, `-tls` is appended to the name.
pub(crate) type Gates = BTreeMap<String, BTreeMap<String, u64>>;

/// A measured figure that exceeds its gate (its upper limit), a figure without a gate, or a gate that was not measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The key of the function in [`Gates`].
    pub(crate) name: String,
    /// The message for the developer, one line.
    pub(crate) message: String,
}

/// Whether the gate with the key `gate` belongs to one of `functions`. Always true if `functions` is empty.
pub(crate) fn is_of(gate: &str, functions: &[String]) -> bool {
    let name = gate.strip_suffix("-tls").unwrap_or(gate);
    functions.is_empty() || functions.iter().any(|function| function == name)
}

/// Merges the figures of a second measurement, `again`, into `counted`: keeps the smaller one of two figures with the
/// same name, and adds the figures that only `again` has.
pub(crate) fn keep_minimum(counted: &mut Gates, again: Gates) {
    for (name, again) in again {
        let figures = counted.entry(name).or_default();
        for (figure, again) in again {
            let least = figures.entry(figure).or_insert(again);
            *least = again.min(*least);
        }
    }
}

/// Compares the measured figures in `counted` with their upper limits in `gates`. Returns the violations of measured
/// functions in the order of `counted`, followed by the gates that were not measured. Empty if there are no violations.
pub(crate) fn violations(gates: &Gates, counted: &Gates) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, figures) in counted {
        for (figure, &counted) in figures {
            let allowed = gates.get(name).and_then(|gate| gate.get(figure));
            let message = match allowed {
                None => format!("{name} has no gate for {figure}"),
                Some(&allowed) if counted * 100 > allowed * (100 + TOLERANCE_PERCENT) => {
                    let excess = (counted as f64 / allowed as f64 - 1.0) * 100.0;
                    format!(
                        "{name}, {figure}: {counted} is {excess:.1} % more than its gate, {allowed}"
                    )
                }
                Some(_) => continue,
            };
            violations.push(Violation {
                name: name.clone(),
                message,
            });
        }
    }
    let unused = gates.keys().filter(|name| !counted.contains_key(*name));
    violations.extend(unused.map(|name| Violation {
        name: name.clone(),
        message: format!("{name} has a gate but was not measured"),
    }));
    violations
}

/// Returns the message for measurements without a violation. The message contains the number of keys in `counted` (a
/// function with a `-tls` key counts twice), the number of functions, and the figure whose percentage above its gate is
/// highest. The percentage is negative for a figure below its gate.
pub(crate) fn summary(gates: &Gates, counted: &Gates) -> String {
    let functions: BTreeSet<_> = counted
        .keys()
        .map(|name| name.strip_suffix("-tls").unwrap_or(name))
        .collect();
    let changes = counted.iter().flat_map(|(name, figures)| {
        figures.iter().filter_map(move |(figure, &counted)| {
            let allowed = *gates.get(name)?.get(figure)?;
            let percent = (counted as f64 / allowed as f64 - 1.0) * 100.0;
            Some((percent, name, figure))
        })
    });
    let largest = changes.max_by(|(one, ..), (other, ..)| one.total_cmp(other));
    let largest = largest.map_or_else(String::new, |(percent, name, figure)| {
        format!(" (largest: {name} {figure}, {percent:+.1} %)")
    });
    format!(
        "{} rows of {} functions are within their limits{largest}",
        counted.len(),
        functions.len()
    )
}

/// Reads gates from a file. Returns no gates if the file cannot be read.
///
/// # Errors
/// Fails if the file cannot be parsed.
pub(crate) fn read(file: &Path) -> Result<Gates> {
    let text = fs::read_to_string(file).unwrap_or_default();
    toml::from_str(&text).with_context(|| format!("cannot parse {}", file.display()))
}

/// Writes gates to a file, as TOML with a comment that explains them.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn write(file: &Path, gates: &Gates) -> Result<()> {
    fs::write(file, render(gates)).with_context(|| format!("cannot write {}", file.display()))
}

fn render(gates: &Gates) -> String {
    let mut file = String::from(
        "# The limits of each deployed function. `cargo xtask bench --gate` fails if a figure exceeds its limit by more than\n\
         # 2 %. `cargo xtask bench --accept` writes new limits. `init`: instructions until the function requests its first event.\n\
         # `first`: instructions for its first response. `warm`: instructions for one warm invocation. `zip`: the size of the\n\
         # deployment package in bytes. `NAME-tls`: the figures of NAME with calls to AWS over TLS. The figures depend on the\n\
         # versions of Rust and zig, so accept new limits after an update of either.\n\n",
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
    fn only_an_excess_of_more_than_two_percent_is_a_violation() {
        let allowed = gates(&[("notes-get", &[("init", 1000), ("first", 2000)])]);
        for passing in [[1020, 2040], [1, 1]] {
            let [init, first] = passing;
            let counted = gates(&[("notes-get", &[("init", init), ("first", first)])]);
            assert!(violations(&allowed, &counted).is_empty());
        }
        let violations = violations(
            &allowed,
            &gates(&[("notes-get", &[("init", 1000), ("first", 2041)])]),
        );
        let [Violation { name, message }] = &violations[..] else {
            panic!("{violations:?}")
        };
        assert_eq!(name, "notes-get");
        for part in ["notes-get", "first", "2041", "2000", "2.0 %"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_figure_without_a_gate_and_a_gate_without_a_figure_are_violations() {
        let old = gates(&[
            ("notes-get", &[("init", 1)]),
            ("notes-list", &[("init", 1)]),
        ]);
        let new = gates(&[
            ("notes-get", &[("init", 1), ("zip", 1)]),
            ("new", &[("init", 1)]),
        ]);
        let violations = violations(&old, &new);
        let names: Vec<_> = violations.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["new", "notes-get", "notes-list"]);
    }

    #[test]
    fn the_summary_names_the_figure_that_exceeds_its_gate_by_the_most_percent() {
        let allowed = gates(&[
            ("notes-get", &[("first", 1000), ("init", 1000)]),
            ("notes-get-tls", &[("first", 2000)]),
            ("notes-list", &[("first", 2000)]),
        ]);
        let counted = gates(&[
            ("notes-get", &[("first", 990), ("init", 1002)]),
            ("notes-get-tls", &[("first", 2006)]),
            ("notes-list", &[("first", 2000)]),
        ]);
        assert_eq!(
            summary(&allowed, &counted),
            "3 rows of 2 functions are within their limits (largest: notes-get-tls first, +0.3 %)"
        );
    }

    #[test]
    fn the_smaller_count_of_each_figure_is_kept() {
        let mut counted = gates(&[("notes-get", &[("init", 10), ("first", 20)])]);
        let again = gates(&[
            ("notes-get", &[("init", 11), ("first", 19)]),
            ("notes-list", &[("init", 1)]),
        ]);
        keep_minimum(&mut counted, again);
        let expected = gates(&[
            ("notes-get", &[("init", 10), ("first", 19)]),
            ("notes-list", &[("init", 1)]),
        ]);
        assert_eq!(counted, expected);
    }

    #[test]
    fn rendered_gates_parse_to_the_same_gates() {
        let gates = gates(&[
            ("notes-get", &[("init", 1), ("zip", 2)]),
            ("notes-get-tls", &[("init", 4)]),
        ]);
        assert_eq!(toml::from_str::<Gates>(&render(&gates)).unwrap(), gates);
    }
}
