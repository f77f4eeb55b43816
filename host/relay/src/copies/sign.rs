//! DKIM signatures of a copy: the component prepares, the keys sign (law 3).

use std::sync::Arc;
use std::time::Duration;

use relevo_delivery::REPORT_SOURCE;
use relevo_keys::Grant;
use relevo_mailkit::model::{Canonicalization, SignatureRequest, SigningInput};
use relevo_mailkit::recheck;
use relevo_mailkit::source::Source;
use relevo_queue::Lease;
use relevo_runtime::{Stage, Stages};

use super::CopyError;
use super::Signing;
use super::make::{Copies, bad_answer, seconds};
use super::signed::Reuse;
use crate::sandbox::WorkClass;
use crate::settings::{DkimKey, Domain, Settings};

/// A signature outlives the message's last attempt by this, so that a receiver that looks late can
/// verify it.
const AFTER_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

impl Copies {
    /// The DKIM-Signature fields of `copy`. With `reuse` they are made once for all copies of that
    /// name.
    pub(super) async fn signatures(
        &self,
        settings: &Settings,
        lease: &Lease,
        signing: &Signing,
        copy: &Arc<dyn Source>,
        reuse: Option<Reuse>,
    ) -> Result<Arc<[u8]>, CopyError> {
        let Some(reuse) = reuse else {
            return self.sign(settings, lease, signing, copy).await;
        };
        let once = self.signed.cell(reuse);
        let fields = once.get_or_try_init(|| self.sign(settings, lease, signing, copy)).await?;
        Ok(Arc::clone(fields))
    }

    async fn sign(
        &self,
        settings: &Settings,
        lease: &Lease,
        signing: &Signing,
        copy: &Arc<dyn Source>,
    ) -> Result<Arc<[u8]>, CopyError> {
        // Reports about TLS are the operator's, and signed by the domain that they come from: receivers
        // ignore others (RFC 8460 section 3).
        let is_own = lease.meta.tenant.is_empty() && lease.meta.source == REPORT_SOURCE;
        let domain = settings
            .directory
            .configured_domain(&signing.domain)
            .filter(|d| d.tenant == lease.meta.tenant || is_own)
            .ok_or_else(|| {
                CopyError::Host(format!("{} is no longer a domain of its tenant", signing.domain))
            })?;
        let keys = keys_of(domain, &signing.selectors);
        if keys.is_empty() {
            return Ok(Arc::from([]));
        }
        let requests: Vec<_> = keys.iter().map(|key| request(domain, key, lease)).collect();
        let now = seconds(lease.meta.released_at());
        let (name, from_field) = (domain.name.clone(), signing.from_field.clone());
        let sign = move |stages: &dyn Stages, copy: &dyn Source| {
            let unsigned = stages.signing_input(requests, copy, now)?;
            sign_all(&name, &from_field, &keys, &unsigned)
        };
        self.sandbox.run(WorkClass::Deliver, &lease.meta.tenant, copy, sign).await
    }
}

/// The keys that the domain had when the message was accepted, as long as it has them all;
/// otherwise those it has now.
pub(super) fn keys_of(domain: &Domain, selectors: &[String]) -> Vec<DkimKey> {
    let has = |s: &String| domain.dkim.iter().any(|k| k.selector == *s);
    let all_there = !selectors.is_empty() && selectors.iter().all(has);
    let wanted = |k: &&DkimKey| !all_there || selectors.contains(&k.selector);
    domain.dkim.iter().filter(wanted).cloned().collect()
}

fn request(domain: &Domain, key: &DkimKey, lease: &Lease) -> SignatureRequest {
    let timestamp = seconds(lease.meta.released_at());
    let after =
        |from: i64, time: Duration| from.saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let earliest = after(seconds(lease.meta.expires_at), AFTER_EXPIRY);
    SignatureRequest {
        domain: domain.name.clone(),
        selector: key.selector.clone(),
        algorithm: key.key.algorithm(),
        header_canonicalization: Canonicalization::Relaxed,
        body_canonicalization: Canonicalization::Relaxed,
        timestamp,
        expiration: key.signature_lifetime.map(|l| after(timestamp, l).max(earliest)),
    }
}

fn sign_all(
    domain: &str,
    from_field: &[u8],
    keys: &[DkimKey],
    unsigned: &[SigningInput],
) -> Result<Arc<[u8]>, CopyError> {
    if unsigned.len() != keys.len() {
        return Err(bad_answer(Stage::Dkim, "not one answer for each key").into());
    }
    let mut fields = Vec::new();
    for (key, unsigned) in keys.iter().zip(unsigned) {
        let grant = Grant { domain, selector: &key.selector, algorithm: key.key.algorithm(), from_field };
        let field = key.key.sign(&grant, unsigned).map_err(|e| match e {
            relevo_keys::KeyError::NotGranted(rule) => bad_answer(Stage::Dkim, rule).into(),
            other => CopyError::Host(other.to_string()),
        })?;
        recheck::header_fields(&field).map_err(|rule| bad_answer(Stage::Dkim, rule))?;
        fields.extend_from_slice(&field);
    }
    Ok(fields.into())
}
