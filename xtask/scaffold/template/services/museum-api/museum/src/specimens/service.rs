//! The table Specimens. The business rules use it through the trait [`resources::Store`].

use dynamodb::Dynamodb;
use function::StartError;
use idempotency::{Idempotency, IdempotencyTable};
use resources::ResourceTable;

use crate::specimens::specimen::Specimen;

/// A client of the table Specimens.
pub type SpecimensTable = ResourceTable<Specimen>;

/// The environment variable with the name of the table.
const VARIABLE: &str = "SPECIMENS_TABLE";

/// Creates the client of the table, whose name is in an environment variable.
///
/// # Errors
/// Fails if the variable is missing or malformed. The error names the variable.
pub async fn connect() -> Result<SpecimensTable, StartError> {
    let aws = aws::Stack::from_env()?;
    let table = SpecimensTable::from_env(&Dynamodb::new(&aws), VARIABLE)?;
    aws.warm_up("dynamodb").await;
    Ok(table)
}

/// The services of the function that creates specimens.
#[derive(Debug)]
pub struct CreateServices {
    /// The client of the table Specimens.
    pub specimens: SpecimensTable,
    /// The idempotency keys of requests.
    pub idempotency: Idempotency<IdempotencyTable>,
}

impl CreateServices {
    /// Creates the clients of the services. Environment variables contain the names of the tables.
    ///
    /// # Errors
    /// Fails if a variable is missing or malformed. The error names the variable.
    pub async fn from_env() -> Result<Self, StartError> {
        let aws = aws::Stack::from_env()?;
        let dynamodb = Dynamodb::new(&aws);
        let services = Self {
            specimens: SpecimensTable::from_env(&dynamodb, VARIABLE)?,
            idempotency: Idempotency::new(IdempotencyTable::from_env(&dynamodb)?),
        };
        aws.warm_up("dynamodb").await;
        Ok(services)
    }
}
