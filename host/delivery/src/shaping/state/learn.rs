//! What refusals lead to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::classification::{Action, Classification, Subject};
use relevo_queue::Millis;

use super::{HOUR, Outcome, PathKey, Refusal, Shaping, Sources, WarmupKey};
use crate::schedule::millis;
use crate::shaping::announced::announced_delay;
use crate::shaping::rules::{Provider, ReplyAction, ReplyRule};
use crate::shaping::suspension::{Suspended, SuspendedBy, Suspension};

/// Octets of a reply that are kept with what it led to.
const KEPT: usize = 300;

impl Shaping {
    /// A transaction ended like this. Returns how long the next attempt of the delivery has to wait
    /// at least, where a rule says so.
    pub fn learned(
        &mut self,
        path: &Arc<PathKey>,
        provider: &Provider,
        sources: &Sources<'_>,
        outcome: &Outcome<'_>,
        now: Millis,
    ) -> Option<Duration> {
        self.count_warmup(provider, sources, outcome);
        let mut applied: Vec<usize> = Vec::new();
        let mut wait = None;
        for refusal in &outcome.refusals {
            let Some((number, rule)) = provider.reply_rule(refusal.classification) else { continue };
            if rule.act == ReplyAction::BackOff {
                wait = wait.max(back_off(rule, refusal));
                continue;
            }
            // Recipients of one transaction say one thing.
            if !applied.contains(&number) {
                applied.push(number);
                self.apply(rule, refusal, (path, provider, sources), outcome, now);
            }
        }
        wait
    }

    fn apply(
        &mut self,
        rule: &ReplyRule,
        refusal: &Refusal<'_>,
        (path, provider, sources): (&Arc<PathKey>, &Provider, &Sources<'_>),
        outcome: &Outcome<'_>,
        now: Millis,
    ) {
        let subject = match rule.act {
            ReplyAction::SuspendTenant => Suspended::Tenant(outcome.tenant.to_owned()),
            _ => Suspended::Source(outcome.source),
        };
        if !self.is_reached(rule, &provider.name, &subject, now) {
            return;
        }
        let reply = relevo_mailkit::text::one_line(refusal.reply, KEPT);
        if rule.act == ReplyAction::SlowDown {
            let configured = self.configured(path, provider, sources);
            let state = self.paths.entry(path.clone()).or_default();
            state.pace.slow_down((&rule.name, &reply), rule.span, configured, now);
            return;
        }
        let since = self.time_of_day(now);
        let of = self.suspensions.get(&provider.name);
        if of.is_some_and(|of| of.iter().any(|other| other.subject == subject && other.until > since)) {
            // It was under way when the suspension began.
            return;
        }
        self.suspend(Suspension {
            subject,
            provider: provider.name.clone(),
            since,
            until: since.saturating_add(millis(rule.span)),
            by: SuspendedBy::Rule,
            author: rule.name.clone(),
            reason: reply,
        });
    }

    /// Counts a refusal. Returns true if there were enough of them within an hour: the count then
    /// begins anew.
    fn is_reached(&mut self, rule: &ReplyRule, provider: &str, subject: &Suspended, now: Millis) -> bool {
        if rule.after <= 1 {
            return true;
        }
        let key = (rule.name.clone(), provider.to_owned(), subject.clone());
        let times = self.matches.entry(key).or_default();
        times.push_back(now);
        while times.front().is_some_and(|first| now.saturating_sub(*first) >= HOUR) {
            times.pop_front();
        }
        let reached = times.len() >= usize::try_from(rule.after).unwrap_or(usize::MAX);
        if reached {
            times.clear();
        }
        reached
    }

    fn count_warmup(&mut self, provider: &Provider, sources: &Sources<'_>, outcome: &Outcome<'_>) {
        let Some(address) = outcome.source.filter(|_| sources.warmup) else { return };
        let key = WarmupKey { address, provider: provider.name.clone() };
        let Some((warmup, _)) = self.warmups.get_mut(&key) else { return };
        let refused = outcome.refusals.iter().filter(|refusal| is_about_sender(refusal.classification));
        warmup.learned(outcome.accepted, u32::try_from(refused.count()).unwrap_or(u32::MAX));
    }

    /// Somebody complained about mail at a provider. It counts against the address that the mail
    /// came from or, where nobody says which one that was, against each that is warmed up there.
    pub fn complained(&mut self, provider: &str, source: Option<IpAddr>) {
        let is_meant =
            |key: &WarmupKey| key.provider == provider && source.is_none_or(|source| key.address == source);
        for (_, (warmup, _)) in self.warmups.iter_mut().filter(|(key, _)| is_meant(key)) {
            warmup.complained();
        }
    }
}

/// Whether a refusal says something about the sender's reputation.
fn is_about_sender(found: &Classification) -> bool {
    matches!(found.action, Action::SlowDown | Action::Suspend)
        || matches!(found.about, Subject::SenderIp | Subject::SenderDomain) && found.category != "greylisted"
}

fn back_off(rule: &ReplyRule, refusal: &Refusal<'_>) -> Option<Duration> {
    announced_delay(refusal.reply).into_iter().chain((!rule.span.is_zero()).then_some(rule.span)).max()
}
