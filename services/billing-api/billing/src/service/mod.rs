//! The external services: one trait per service, next to its AWS or Stripe implementation.

pub mod dead_letters;
#[cfg(test)]
pub(crate) mod memory;
pub mod orders;
pub mod payments;
pub mod publisher;
pub mod purchases;
pub mod stream;
pub mod stripe;

pub use dead_letters::DeadLetterQueue;
pub use domain::{Cause, ServiceError as Error};
use dynamodb::Dynamodb;
use function::StartError;
pub use orders::{Buyer, Opened, OrderStore, OrderTables};
pub use payments::{ChargeError, Payments};
pub use publisher::{NotePurchased, Publisher, Topic};
pub use purchases::{DueKey, DuePage, PurchaseStore, PurchasesTable, SettleIf, Settled};
pub use stripe::{BaseUrl, Stripe, StripeUntil};

/// The services of a function that completes or cancels a payment.
#[derive(Debug)]
pub struct PaymentServices {
    /// The client of Stripe.
    pub stripe: Stripe,
    /// The client of the table Purchases.
    pub purchases: PurchasesTable,
}

impl PaymentServices {
    /// Creates the clients, and opens their connections. Environment variables contain the name of the
    /// table, the URL of Stripe's API and the path of the secret key.
    ///
    /// # Errors
    /// Fails if a variable is missing or malformed, or the secret key cannot be loaded. The error names
    /// the variable or the secret.
    pub async fn from_env() -> Result<Self, StartError> {
        let aws = aws::Stack::from_env()?;
        Self::new(&aws, &Dynamodb::new(&aws)).await
    }

    /// Does the same as [`PaymentServices::from_env`], with the clients of `aws` and `dynamodb`.
    ///
    /// # Errors
    /// See [`PaymentServices::from_env`].
    pub async fn new(aws: &aws::Stack, dynamodb: &Dynamodb) -> Result<Self, StartError> {
        let purchases = PurchasesTable::from_env(dynamodb)?;
        let stripe = async {
            let stripe = Stripe::from_env(aws).await?;
            stripe.warm_up().await;
            Ok::<_, StartError>(stripe)
        };
        let (stripe, ()) = tokio::join!(stripe, aws.warm_up("dynamodb"));
        Ok(Self {
            stripe: stripe?,
            purchases,
        })
    }
}
