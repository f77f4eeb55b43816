//! Who signed a message that came back.

use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::model::Txt;
use relevo_mailkit::source::Source;
use relevo_queue::Millis;
use relevo_resolve::{Resolve, ResolveError};
use tokio::time::timeout;

use crate::sandbox::{Sandbox, WorkClass};

/// For all lookups of a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records at one name that are looked at.
const MAX_RECORDS: usize = 4;

/// The key records at these names. None when DNS did not answer for one of them.
pub(super) async fn keys(resolve: &dyn Resolve, names: &[String]) -> Option<Vec<Txt>> {
    let lookups = async {
        let mut keys = Vec::new();
        for name in names {
            let found = match resolve.txt(name).await {
                Ok(found) => found,
                Err(ResolveError::Temporary { .. }) => return None,
                Err(_) => continue,
            };
            let records = found.into_iter().take(MAX_RECORDS);
            keys.extend(records.map(|value| Txt { name: name.clone(), value }));
        }
        Some(keys)
    };
    timeout(PATIENCE, lookups).await.ok().flatten()
}

/// The domains whose signatures verify with these keys, each once. A component that gives no answer
/// has verified nothing.
pub(super) async fn verified(
    sandbox: &Sandbox,
    keys: Vec<Txt>,
    message: &Arc<dyn Source>,
    now: Millis,
) -> Vec<String> {
    if keys.is_empty() {
        return Vec::new();
    }
    let seconds = now.div_euclid(1000);
    let verdicts = sandbox
        .run(WorkClass::Accept, "", message, move |stages, message| stages.verify(keys, message, seconds))
        .await;
    let verdicts = verdicts.unwrap_or_else(|fault| {
        tracing::warn!(%fault, "the signatures of a message that came back could not be checked");
        Vec::new()
    });
    let mut domains: Vec<String> = Vec::new();
    for verdict in verdicts.into_iter().filter(|verdict| verdict.pass) {
        let domain = verdict.domain.to_ascii_lowercase();
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    domains
}
