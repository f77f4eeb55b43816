//! SPF of what comes back (RFC 7208): recorded, and by setting a reason to refuse.

use std::time::Duration;

use relevo_doctor::Answers;
use relevo_doctor::spf::{SpfIdentity, SpfResult, check_host};
use relevo_mailkit::event::SpfVerdict;
use relevo_mailkit::reply::Reply;
use relevo_mailkit::text::escaped;
use tokio::time::Instant;

use super::{Returned, Returns};
use crate::settings::SpfFail;

/// For all lookups of a transaction. Section 4.6.4 asks for 20 seconds at least; peers wait for an
/// answer, and a result decides nothing by default.
const PATIENCE: Duration = Duration::from_secs(10);
/// Transactions that are evaluated at the same time: each may cost a hundred lookups. Others wait.
pub(super) const EVALUATIONS: usize = 16;
const MAX_NAME: usize = 255;

impl Returns {
    /// The verdict about a transaction. It is evaluated once.
    pub(super) async fn spf(&self, returned: &Returned) -> SpfVerdict {
        returned.spf.get_or_init(|| self.evaluate_spf(returned)).await.clone()
    }

    async fn evaluate_spf(&self, returned: &Returned) -> SpfVerdict {
        let helo = returned.via.helo.as_deref().unwrap_or_default();
        let identity = SpfIdentity::of(returned.peer, &returned.reverse_path, helo);
        let _one = self.evaluating.acquire().await;
        let end = Instant::now() + PATIENCE;
        let mut answers = Answers::default();
        let result = loop {
            match check_host(&identity, &answers) {
                Ok(result) => break result,
                Err(questions) => {
                    crate::health::ask(&self.parts.look_up, questions, end, &mut answers).await;
                }
            }
        };
        SpfVerdict { result: result.name().to_owned(), domain: escaped(&identity.domain, MAX_NAME) }
    }

    /// The refusal of a transaction that SPF says is forged, where that is configured.
    pub(super) async fn refused_by_spf(&self, returned: &Returned) -> Option<Reply> {
        if returned.settings.returns.spf_fail == SpfFail::Record {
            return None;
        }
        let verdict = self.spf(returned).await;
        // RFC 7372 section 3.2.
        let text = || format!("SPF of {} says that this address may not send for it", verdict.domain);
        (verdict.result == SpfResult::Fail.name()).then(|| Reply::new(550, (5, 7, 23), text()))
    }
}
