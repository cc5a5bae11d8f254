//! Invariants

use billing::{payment::Payment, purchase::Status};

use crate::{call::Invocation, world::World};

pub(crate) fn always(world: &World) -> Vec<&'static str> {
    let mut violations = Vec::new();
    let data = &world.data;
    let mut charged: Vec<_> = data.charges.clone();
    charged.sort();
    if charged.windows(2).any(|two| two[0] == two[1]) {
        violations.push("a card is charged at most once per order");
    }
    if data.overwritten {
        violations.push("a settled purchase is not overwritten");
    }
    violations
}

pub(crate) fn when_quiet(world: &World, waiting: &[Invocation]) -> Vec<&'static str> {
    let mut violations = Vec::new();
    let data = &world.data;
    if !waiting.is_empty() {
        violations.push("the system becomes quiet");
    }
    for purchase in data.purchases.values() {
        let id = purchase.key.purchase_id;
        let charged = data.charges.contains(&id);
        let published = data.published.iter().any(|message| message.purchase_id == id);
        match purchase.status {
            Status::Pending { .. } => violations.push("a purchase is settled in the end"),
            Status::Paid { .. } => {
                if !charged {
                    violations.push("a paid purchase was charged");
                }
                if !published {
                    violations.push("a paid purchase is published");
                }
            }
            Status::Failed { .. } => {
                if charged {
                    violations.push("a charged purchase is paid");
                }
            }
        }
    }
    let open = |payment: &Payment| {
        !matches!(payment, Payment::Succeeded { .. } | Payment::Canceled { .. })
    };
    if data.intents.iter().any(|intent| open(&intent.payment)) {
        violations.push("no payment can charge a card in the end");
    }
    violations
}
