//! The list of the migrations.

use std::fmt;

use clap::ValueEnum;

/// A change of the stored data of a stage. The order of the variants is the order in which migrations were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Migration {
    /// Count the notes that users created before their notes were counted
    CountNotes,
    // part: billing {
    /// Credit the storage of purchases that were paid before purchases gave storage
    CreditPurchases,
    // part: billing }
}

impl Migration {
    /// The name in the command and in the key of the record.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CountNotes => "count-notes",
            Self::CreditPurchases => "credit-purchases", // part: billing
        }
    }

    /// What the migration does.
    pub(super) fn summary(self) -> String {
        let help = self.to_possible_value();
        let help = help.and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// The name of the table that the migration reads.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::CountNotes => "Notes",
            Self::CreditPurchases => "Purchases", // part: billing
        }
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
