//! The queue key of a message's deliveries.

use relevo_queue::{QueueKey, QueueKeyParts};
use relevo_submission::egress::{self, EgressChoice};

use crate::settings::Domain;

/// The scale of priorities is one.
const _: () = assert!(relevo_queue::MAX_PRIORITY == egress::MAX_PRIORITY);

/// The key of deliveries to `domain`. Tenant and sending domain are part of it if a pool or route is chosen.
pub(crate) fn queue_key(sending: Option<&Domain>, choice: &EgressChoice, domain: &str) -> QueueKey {
    match sending {
        Some(sending) if !(choice.pool.is_empty() && choice.route.is_empty()) => QueueKeyParts {
            domain: domain.to_owned(),
            tenant: sending.tenant.clone(),
            sending_domain: sending.name.clone(),
            pool: choice.pool.clone(),
            route: choice.route.clone(),
        }
        .into(),
        _ => QueueKey::of_domain(domain),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settings::EgressGrants;

    #[test]
    fn a_choice_is_in_the_key() {
        let (name, tenant, grants) = ("shop.test".to_owned(), "acme".to_owned(), EgressGrants::default());
        let shop = Domain {
            name,
            tenant,
            dkim: vec![],
            tracking: None,
            grants: Arc::new(grants),
            enforce_tls: false,
        };
        let own = EgressChoice { pool: "own".into(), ..EgressChoice::default() };
        let want = QueueKeyParts {
            domain: "[IPv6:2001:db8::1]".into(),
            tenant: "acme".into(),
            sending_domain: "shop.test".into(),
            pool: "own".into(),
            route: String::new(),
        };
        assert_eq!(*queue_key(Some(&shop), &own, "[IPv6:2001:db8::1]"), want);
        let eu = EgressChoice { route: "eu".into(), ..EgressChoice::default() };
        let want = QueueKeyParts { domain: "x.test".into(), pool: String::new(), route: "eu".into(), ..want };
        assert_eq!(*queue_key(Some(&shop), &eu, "x.test"), want);
    }

    #[test]
    fn without_a_choice_it_is_the_key_of_the_domain() {
        let high = EgressChoice { priority: 1, ..EgressChoice::default() };
        assert_eq!(queue_key(None, &high, "x.test"), QueueKey::of_domain("x.test"));
    }
}
