//! What a sweep found, for people: function × call × failure → held.

use std::fmt::{self, Display, Formatter};

use crate::failure::Failure;
use crate::sweep::{End, Row, Sweep};

/// The most of a breach that is shown.
const SHOWN: usize = 2_000;

const NOTES: &str = "
N.K is the Kth call of the function's Nth run. What is not \"once\" goes on for every repetition in
that run. No cell is skipped; the calls that only read secrets and the list of what is to be done
(SSM, Query) fail in one life of each function.";

impl Display for Sweep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let life = self.width(|row| row.life.name.len());
        let function = self.width(|row| row.function.len());
        let call = self.width(|row| row.call.len());
        write!(
            f,
            "{:<function$}  {:<life$}  call {:<call$}",
            "function", "life", ""
        )?;
        for failure in Failure::ALL {
            write!(f, "  {}", failure.name())?;
        }
        writeln!(f)?;
        for (row, ends) in self.rows() {
            write!(f, "{:<function$}  {:<life$}", row.function, row.life.name)?;
            write!(f, "  {}.{} {:<call$} ", row.run, row.k, row.call)?;
            for (failure, end) in Failure::ALL.into_iter().zip(ends) {
                let held = if end.held() { "held" } else { "BROKEN" };
                write!(f, "  {held:<width$}", width = failure.name().len())?;
            }
            writeln!(f)?;
        }
        for (what, End { breaches, story }) in self.ends().filter(|(_, end)| !end.held()) {
            writeln!(f, "\nBROKEN {what}")?;
            for breach in breaches {
                let found: String = breach.found.chars().take(SHOWN).collect();
                writeln!(f, "  not so: {}\n    {found}", breach.invariant)?;
            }
            for line in story {
                writeln!(f, "  | {line}")?;
            }
        }
        let ends = self.rows().flat_map(|(_, ends)| ends);
        let broken = ends.filter(|end| !end.held()).count();
        let held = self.cells() - broken;
        writeln!(f, "{NOTES}")?;
        write!(
            f,
            "{held} cells held, {broken} broken; {} s",
            self.took.as_secs()
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
