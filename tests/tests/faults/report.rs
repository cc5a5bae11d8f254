//! Prints the results of a sweep as a table, in which each row is a call of a function and each column is a kind of
//! failure.

use std::fmt::{self, Display, Formatter};

use crate::failure::Failure;
use crate::sweep::{Outcome, Row, Sweep};

/// The maximum number of characters that are printed of the values that violate an invariant.
const MAX_SHOWN: usize = 2_000;

const NOTES: &str = "
N.K is the Kth call of the function's Nth run. Unless a failure is \"once\", all retries in that run fail.
A call that a function repeats in later runs of a scenario fails in the first of these runs. Reads of secrets and due
purchases (SSM, Query) fail in one scenario of each function: the run makes no other call then, as if it were killed
before its next call.";

impl Display for Sweep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let scenario = self.width(|row| row.scenario.name.len());
        let function = self.width(|row| row.function.len());
        let call = self.width(|row| row.call.len());
        write!(
            f,
            "{:<function$}  {:<scenario$}  call {:<call$}",
            "function", "scenario", ""
        )?;
        for failure in Failure::ALL {
            write!(f, "  {}", failure.name())?;
        }
        writeln!(f)?;
        for (row, outcomes) in self.rows() {
            write!(
                f,
                "{:<function$}  {:<scenario$}",
                row.function, row.scenario.name
            )?;
            write!(f, "  {}.{} {:<call$} ", row.run, row.k, row.call)?;
            for (failure, outcome) in Failure::ALL.into_iter().zip(outcomes) {
                let result = if outcome.held() { "held" } else { "BROKEN" };
                write!(f, "  {result:<width$}", width = failure.name().len())?;
            }
            writeln!(f)?;
        }
        for (
            what,
            Outcome {
                violations,
                history,
            },
        ) in self.results().filter(|(_, outcome)| !outcome.held())
        {
            writeln!(f, "\nBROKEN {what}")?;
            for violation in violations {
                let found: String = violation.found.chars().take(MAX_SHOWN).collect();
                writeln!(f, "  violated: {}\n    {found}", violation.invariant)?;
            }
            for line in history {
                writeln!(f, "  | {line}")?;
            }
        }
        let outcomes = self.rows().flat_map(|(_, outcomes)| outcomes);
        let broken = outcomes.filter(|outcome| !outcome.held()).count();
        let held = self.cells() - broken;
        writeln!(f, "{NOTES}")?;
        for (function, call) in self.skipped() {
            writeln!(f, "skipped: {function} {call}")?;
        }
        write!(
            f,
            "{held} cells held, {broken} broken; {} s",
            self.duration.as_secs()
        )
    }
}

impl Sweep {
    fn width(&self, of: impl Fn(&Row) -> usize) -> usize {
        self.rows()
            .map(|(row, _)| of(row))
            .max()
            .unwrap_or_default()
    }
}
