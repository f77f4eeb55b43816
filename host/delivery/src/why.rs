//! What a message is waiting for, in words.

use std::sync::Arc;

use relevo_mailkit::classification::Classification;
use relevo_mailkit::reply::EnhancedCode;
use relevo_queue::{Delivery, DeliveryView, ItemView, LastAttempt, Millis, Priority, RecipientState};
use serde::Serialize;

use super::classify::{Classify, of_last};
use super::egress_policy::resolve_egress;
use super::outcome::in_words;
use super::shaper::Admission;
use super::table::SiteTable;
use crate::settings::DeliveryConfig;

/// What a recipient is waiting for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecipientWait {
    /// Who.
    pub recipient: String,
    /// Its domain.
    pub domain: String,
    /// `pending`, `delivered` or `failed`.
    pub state: &'static str,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next; none when it is not going to be.
    pub next_attempt: Option<Millis>,
    /// When it is given up.
    pub expires_at: Millis,
    /// The hosts that serve its domain, as far as known by now; with the pool.
    pub site: Option<String>,
    /// The pool that it leaves from.
    pub pool: Option<String>,
    /// The route that it takes.
    pub route: Option<String>,
    /// Among its tenant's mail; 0 is the usual one.
    pub priority: Priority,
    /// What the last attempt found.
    pub last: Option<Last>,
    /// All that in a sentence or two.
    pub reason: String,
}

/// What the last attempt found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Last {
    /// When.
    pub at: Millis,
    /// Reply code, where a remote gave one.
    pub code: Option<u16>,
    /// Enhanced status.
    pub status: String,
    /// Tamed.
    pub text: String,
    /// The host that answered, and its address.
    pub host: Option<String>,
    /// Its address.
    pub ip: Option<std::net::IpAddr>,
    /// What it means, by the rules in force now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification: Option<Classification>,
}

impl Last {
    fn new(last: &LastAttempt, classify: &dyn Classify) -> Self {
        let classification = of_last(classify, last, &[]).map(Arc::unwrap_or_clone);
        let LastAttempt { at, text, status, code, host, ip } = last.clone();
        Self { at, code, status, text, host, ip, classification }
    }
}

/// When somebody asks: by the time of day, and by the time that never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) now: Millis,
    pub(crate) steady: Millis,
}

/// For every recipient of the item.
pub(crate) fn why(
    item: &ItemView,
    table: &SiteTable,
    (settings, classify): (&dyn DeliveryConfig, &dyn Classify),
    at: Times,
) -> Vec<RecipientWait> {
    let of = |view| of_delivery(item, view, table, (settings, classify), at);
    item.deliveries.iter().flat_map(of).collect()
}

fn of_delivery(
    item: &ItemView,
    view: &DeliveryView,
    table: &SiteTable,
    (settings, classify): (&dyn DeliveryConfig, &dyn Classify),
    at: Times,
) -> Vec<RecipientWait> {
    let delivery = &view.delivery;
    let site = table.site_of(&delivery.key).map(|(id, _)| id.to_string());
    let egress = resolve_egress(settings, &delivery.key);
    let mut instead = egress.instead.map(|note| format!("; {note}")).unwrap_or_default();
    if let Some(spill) = table.spill_of(&delivery.key) {
        instead += &format!("; the caps of warm-up are used up for now: it goes to {spill} instead");
    }
    delivery
        .recipients
        .iter()
        .map(|recipient| {
            let last = delivery.reason(recipient.index).map(|last| Last::new(last, classify));
            let (state, reason) = match &recipient.state {
                RecipientState::Pending => {
                    ("pending", pending_reason(item, view, last.as_ref(), table, at) + &instead)
                }
                RecipientState::Delivered => ("delivered", "the next hop took responsibility".to_owned()),
                RecipientState::Relayed => (
                    "delivered",
                    "the next hop took responsibility; the sender is told when the round is over".to_owned(),
                ),
                RecipientState::Failed { reported: true } => {
                    ("failed", "given up; nothing more will be done".to_owned())
                }
                RecipientState::Failed { reported: false } => {
                    ("failed", "given up; the sender is told when the round is over".to_owned())
                }
            };
            let pending = state == "pending";
            RecipientWait {
                recipient: recipient.address.clone(),
                domain: delivery.key.domain.clone(),
                state,
                attempts: delivery.attempts,
                next_attempt: (pending && !delivery.held).then_some(delivery.due_at),
                expires_at: item.meta.expires_at,
                site: site.clone(),
                pool: egress.pool.map(|pool| pool.name.clone()),
                route: egress.route.map(str::to_owned),
                priority: delivery.priority,
                last,
                reason,
            }
        })
        .collect()
}

fn pending_reason(
    item: &ItemView,
    view: &DeliveryView,
    last: Option<&Last>,
    table: &SiteTable,
    at: Times,
) -> String {
    let now = at.now;
    let delivery = &view.delivery;
    let expiry = match item.meta.expires_at.saturating_sub(now) {
        left if left > 0 => format!("given up in {}", in_words(left)),
        _ => "its time is over: it is given up as soon as it is looked at".to_owned(),
    };
    if view.leased_until.is_some_and(|until| until > now) {
        return format!("being attempted now; {expiry}");
    }
    if delivery.held {
        return match &delivery.hold_reason {
            Some(why) => format!("held {why}; until it is released; {expiry}"),
            None => format!("held by an operator until it is released; {expiry}"),
        };
    }
    if delivery.due_at > now {
        let wait = in_words(delivery.due_at - now);
        if let Some(hold) = table.reason_to_put_off(&delivery.key, &item.meta.tenant, at.steady) {
            return format!("{hold}; the next attempt is in {wait}{}; {expiry}", last_words(last));
        }
        return format!("the next attempt is in {wait}{}; {expiry}", last_words(last));
    }
    format!("{}{}; {expiry}", due_reason(delivery, table, at), last_words(last))
}

fn due_reason(delivery: &Delivery, table: &SiteTable, at: Times) -> String {
    let since = in_words(at.now.saturating_sub(delivery.due_at));
    if let Some((failure, _)) = table.broken(&delivery.key) {
        return format!("due since {since}; there is no way to {}: {}", delivery.key.domain, failure.detail);
    }
    let Some((id, site)) = table.site_of(&delivery.key) else {
        return format!("due since {since}; waits for the lookup of {}", delivery.key.domain);
    };
    match table.admission(site, at.steady) {
        Admission::Wait(hold) => format!("due since {since}; {id}: {hold}"),
        Admission::Go if table.is_short() => format!(
            "due since {since}; all {} connections of the relay are in use, the next that is free may be for {id}",
            table.limits().total
        ),
        Admission::Go => format!("due since {since}; a connection to {id} is about to be used"),
    }
}

fn last_words(last: Option<&Last>) -> String {
    let Some(last) = last else { return String::new() };
    let host = last.host.as_deref().map(|h| format!(" from {h}")).unwrap_or_default();
    let code = last.code.map(|c| format!("{c} ")).unwrap_or_default();
    // The words of a remote mostly begin with the status themselves (RFC 2034 section 4).
    let status = match EnhancedCode::leading(&last.text) {
        Some(_) => String::new(),
        None => format!("{} ", last.status),
    };
    let meaning = match &last.classification {
        Some(answer) => format!("; {}: {}", answer.category, answer.explanation.en),
        None => String::new(),
    };
    format!(" (last answer{host}: {code}{status}{}{meaning})", last.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Unclassified;

    #[test]
    fn the_status_is_said_once() {
        let words = |text: &str, code| {
            let last =
                LastAttempt { text: text.into(), status: "4.2.0".into(), code, ..LastAttempt::default() };
            last_words(Some(&Last::new(&last, &Unclassified)))
        };
        assert_eq!(words("4.2.0 come back later", Some(450)), " (last answer: 450 4.2.0 come back later)");
        assert_eq!(words("come back later", Some(450)), " (last answer: 450 4.2.0 come back later)");
        assert_eq!(words("192.0.2.1 is listed", None), " (last answer: 4.2.0 192.0.2.1 is listed)");
        assert_eq!(words("", None), " (last answer: 4.2.0 )");
    }
}
