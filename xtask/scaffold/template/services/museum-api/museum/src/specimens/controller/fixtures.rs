//! Users and specimens for the tests of the business rules.

use resources::{memory, prelude::*};
use test_support::samples;

use crate::specimens::{
    controller::create,
    specimen::{Specimen, SpecimenFields},
};

/// The table Specimens in memory.
pub(super) type Memory = memory::Memory<Specimen>;

/// A user who writes specimens, with a `sub`.
pub(super) fn ada() -> Author {
    Author {
        id: "us-east-1:ada".parse().unwrap(),
        sub: "2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62".parse().ok(),
    }
}

/// Another user, who has no `sub`.
pub(super) fn bob() -> Author {
    Author {
        id: "us-east-1:bob".parse().unwrap(),
        sub: None,
    }
}

/// The fields of a specimen. Each `number` gives other values of the unique fields.
pub(super) fn fields(number: u32) -> SpecimenFields {
    let sample = samples::body("museum-specimens-create");
    let unique = SpecimenFields::UNIQUE.iter().map(|(name, _)| *name);
    serde_json::from_value(samples::numbered(&sample, unique, number)).unwrap()
}

/// Creates a specimen of `author` with [`fields`]. Returns it.
pub(super) async fn specimen(memory: &Memory, author: &Author, number: u32) -> Specimen {
    let fields = fields(number);
    let plan = create(memory, author, &fields, Plan::generate()).await;
    Specimen::new(&author.id, plan.unwrap(), fields)
}
