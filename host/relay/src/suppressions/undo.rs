//! Undoing what rules added in a window of time: for an incident at a provider, or a rule that was
//! wrong.

use relevo_store::{SuppressionFilter, SuppressionRecord};
use serde::{Deserialize, Serialize};

use super::{SuppressionError, Suppressions};

/// Entries that are removed at once.
const PAGE: u32 = 1_000;
/// Entries that one call removes at most.
const MAX_REMOVED: usize = 10_000;
/// Entries that an answer shows.
const SHOWN: usize = 100;
/// What bounces added.
const BOUNCE: &str = "bounce";

/// Which entries are undone: all that are given must be true.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoFields {
    /// Entries from this time on: RFC 3339.
    pub after: String,
    /// Entries before this time.
    pub before: String,
    /// The provider of the mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The MX host that answered, or a domain that the hosts are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mx: Option<String>,
    /// The domain of the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The rule that told what the reply means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `bounce`, `complaint`, `unsubscribe` or `manual`. Absent: what rules added for a bounce. Other
    /// entries stay unless they are asked for here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True: nothing is removed, and the answer says what would be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A field that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{param}: {message}")]
pub struct UndoMistake {
    /// The name of the field.
    pub param: &'static str,
    /// How it must be.
    pub message: String,
}

/// What was undone, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// How many entries.
    pub count: usize,
    /// Entries are left that one call had no room for.
    pub has_more: bool,
    /// The first of them.
    pub entries: Vec<SuppressionRecord>,
}

impl UndoFields {
    /// The entries that are meant.
    ///
    /// # Errors
    /// A field that cannot be read, or a window that ends before it begins.
    pub fn filter(&self) -> Result<SuppressionFilter, UndoMistake> {
        let mistake = |param, message: &str| UndoMistake { param, message: message.to_owned() };
        let instant = |param, text: &str| {
            let time =
                relevo_api::schedule::parse_instant(text).ok().and_then(|time| i64::try_from(time).ok());
            let wrong = "must be a time of RFC 3339 with an offset, such as 2026-12-24T18:00:00+01:00";
            time.ok_or_else(|| mistake(param, wrong))
        };
        let (since, until) = (instant("after", &self.after)?, instant("before", &self.before)?);
        if since >= until {
            return Err(mistake("before", "must be later than `after`"));
        }
        let domain = self.domain.as_deref().map(relevo_mailkit::address::to_ascii).transpose();
        let domain = domain.map_err(|error| mistake("domain", &error.to_string()))?;
        let mx = self.mx.as_deref().map(|mx| mx.trim_matches('.').to_ascii_lowercase());
        if mx.as_deref() == Some("") {
            return Err(mistake("mx", "must be the name of a host"));
        }
        let reasons = ["manual", BOUNCE, "complaint", "unsubscribe"];
        let reason = self.reason.as_deref().unwrap_or(BOUNCE);
        if !reasons.contains(&reason) {
            return Err(mistake("reason", &format!("must be one of {}", reasons.join(", "))));
        }
        Ok(SuppressionFilter {
            since: Some(since),
            until: Some(until),
            domain,
            by_rule: reason == BOUNCE,
            reason: Some(reason.to_owned()),
            rule: self.rule.clone(),
            provider: self.provider.clone(),
            mx,
            ..SuppressionFilter::default()
        })
    }

    /// What the audit log says was undone, such as `after ..., before ..., provider google`.
    #[must_use]
    pub fn subject(&self) -> String {
        let (after, before) = (Some(self.after.clone()), Some(self.before.clone()));
        let named = [
            ("after", &after),
            ("before", &before),
            ("provider", &self.provider),
            ("mx", &self.mx),
            ("domain", &self.domain),
            ("rule", &self.rule),
            ("reason", &self.reason),
        ];
        let given = named.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        let dry = self.dry_run.then(|| "dry run".to_owned());
        given.chain(dry).collect::<Vec<_>>().join(", ")
    }
}

impl Suppressions {
    /// Tenants that a filter of [`UndoFields`] may concern: a rule added entries in its window.
    ///
    /// # Errors
    /// The store's.
    pub async fn rule_tenants(&self, filter: &SuppressionFilter) -> Result<Vec<String>, SuppressionError> {
        let (since, until) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
        Ok(self.store.suppression_rule_tenants(since, until).await?)
    }

    /// Removes the entries of a tenant that a filter means, 10,000 at most. A dry run only says which.
    ///
    /// # Errors
    /// The store's. What was removed until then stays removed.
    pub async fn undo(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        dry_run: bool,
    ) -> Result<Undone, SuppressionError> {
        if dry_run {
            let shown = u32::try_from(SHOWN).unwrap_or(u32::MAX);
            let entries = self.list(tenant, filter, ("", ""), shown).await?;
            let count = usize::try_from(self.store.count_matching(tenant, filter).await?).unwrap_or(0);
            return Ok(Undone { count, has_more: false, entries });
        }
        let mut undone = Undone::default();
        while undone.count < MAX_REMOVED {
            let removed = self.remove(tenant, filter, PAGE).await?;
            if removed.is_empty() {
                return Ok(undone);
            }
            undone.count += removed.len();
            let room = SHOWN.saturating_sub(undone.entries.len());
            undone.entries.extend(removed.into_iter().take(room));
        }
        undone.has_more = self.store.count_matching(tenant, filter).await? > 0;
        Ok(undone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> UndoFields {
        UndoFields {
            after: "2026-11-29T08:00:00Z".into(),
            before: "2026-11-29T10:00:00+01:00".into(),
            ..UndoFields::default()
        }
    }

    #[test]
    fn bounces_that_rules_added_are_meant_unless_a_reason_is_given() {
        let filter = fields().filter().expect("a window");
        assert_eq!((filter.since, filter.until), (Some(1_795_939_200_000), Some(1_795_942_800_000)));
        assert!(filter.by_rule && filter.reason.as_deref() == Some(BOUNCE));
        let complaint = UndoFields { reason: Some("complaint".into()), ..fields() };
        let filter = complaint.filter().expect("a reason");
        assert!(!filter.by_rule && filter.reason.as_deref() == Some("complaint"));
        let named = UndoFields {
            domain: Some("BÜCHER.example".into()),
            mx: Some("MX.Example.net.".into()),
            dry_run: true,
            ..fields()
        };
        let filter = named.filter().expect("names");
        assert_eq!(filter.domain.as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(filter.mx.as_deref(), Some("mx.example.net"));
        assert!(named.subject().ends_with("mx MX.Example.net., domain BÜCHER.example, dry run"));
    }

    #[test]
    fn mistakes_are_named() {
        for (fields, param) in [
            (UndoFields { after: "in 1 hour".into(), ..fields() }, "after"),
            (UndoFields { before: String::new(), ..fields() }, "before"),
            (UndoFields { before: "2026-11-29T08:00:00Z".into(), ..fields() }, "before"),
            (UndoFields { reason: Some("because".into()), ..fields() }, "reason"),
            (UndoFields { domain: Some("a..b".into()), ..fields() }, "domain"),
            (UndoFields { mx: Some("..".into()), ..fields() }, "mx"),
        ] {
            assert_eq!(fields.filter().map_err(|mistake| mistake.param), Err(param), "{fields:?}");
        }
    }
}
