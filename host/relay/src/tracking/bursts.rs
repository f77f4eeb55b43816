//! Links of one recipient that are followed at once.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use parking_lot::Mutex;
use relevo_queue::ItemId;

/// Clicks further apart than this are not at once.
const SPAN: Duration = Duration::from_secs(2);
/// Recipients that are remembered. With more at once, the oldest are forgotten.
const MAX_RECIPIENTS: usize = 10_000;
/// Distinct links of a recipient that are remembered. More make no difference.
const MAX_LINKS: usize = 8;

/// A recipient of a message.
type Key = (ItemId, u32);

/// Remembers the latest clicks.
#[derive(Debug, Default)]
pub(super) struct Bursts(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    /// Links by their hash, with the time of the last click.
    links: HashMap<Key, Vec<(u64, Duration)>>,
    /// Recipients in the order of their first click.
    order: VecDeque<(Duration, Key)>,
}

impl Bursts {
    /// Remembers a click, and counts the distinct links of the recipient within two seconds, this
    /// one included.
    pub(super) fn click(&self, item: ItemId, recipient: u32, url: &str, now: Duration) -> u32 {
        let mut hasher = DefaultHasher::new();
        url.hash(&mut hasher);
        let (key, link) = ((item, recipient), hasher.finish());
        let mut recent = self.0.lock();
        recent.forget(now);
        if !recent.links.contains_key(&key) {
            recent.order.push_back((now, key));
        }
        let links = recent.links.entry(key).or_default();
        links.retain(|(known, at)| *known != link && now.abs_diff(*at) <= SPAN);
        if links.len() < MAX_LINKS {
            links.push((link, now));
        }
        u32::try_from(links.len()).unwrap_or(u32::MAX)
    }
}

impl Recent {
    fn forget(&mut self, now: Duration) {
        while let Some((since, key)) = self.order.front().copied() {
            let is_old = now.saturating_sub(since) > SPAN;
            if !is_old && self.order.len() < MAX_RECIPIENTS {
                return;
            }
            self.order.pop_front();
            let links = self.links.get(&key);
            let last = links.and_then(|links| links.iter().map(|(_, at)| *at).max()).unwrap_or(since);
            if now.saturating_sub(last) <= SPAN && self.order.len() + 1 < MAX_RECIPIENTS {
                self.order.push_back((last, key));
            } else {
                self.links.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: ItemId = ItemId([1; 16]);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn distinct_links_of_one_recipient_are_counted() {
        let bursts = Bursts::default();
        assert_eq!(bursts.click(ITEM, 0, "https://a.example/", at(0)), 1);
        assert_eq!(bursts.click(ITEM, 0, "https://a.example/", at(100)), 1);
        assert_eq!(bursts.click(ITEM, 0, "https://b.example/", at(200)), 2);
        assert_eq!(bursts.click(ITEM, 1, "https://c.example/", at(300)), 1, "another recipient");
        assert_eq!(bursts.click(ITEM, 0, "https://c.example/", at(2_000)), 3);
        assert_eq!(bursts.click(ITEM, 0, "https://d.example/", at(2_150)), 3, "the first is over");
        assert_eq!(bursts.click(ITEM, 0, "https://e.example/", at(9_000)), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let bursts = Bursts::default();
        for recipient in 0..30_000 {
            bursts.click(ITEM, recipient, "https://a.example/", at(0));
        }
        for link in 0..100 {
            bursts.click(ITEM, 0, &format!("https://a.example/{link}"), at(1));
        }
        let recent = bursts.0.lock();
        assert!(recent.links.len() <= MAX_RECIPIENTS && recent.order.len() <= MAX_RECIPIENTS);
        assert!(recent.links.values().all(|links| links.len() <= MAX_LINKS));
        drop(recent);
        bursts.click(ITEM, 5, "https://a.example/", at(60_000));
        assert_eq!(bursts.0.lock().links.len(), 1);
    }
}
