//! Caps that are divided among nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relevo_queue::RecipientState;

use super::net::{Host, accepts};
use super::{START, World, seconds};
use crate::limits::{LimitShares, LimitUse, SharedLimit};
use crate::shaping::{ShapingRules, WarmupCount, WarmupKey};

/// Gives this node what a test says, and remembers what it was told.
#[derive(Debug, Default)]
struct FixedShares {
    shares: Mutex<HashMap<&'static str, u32>>,
    told: Mutex<HashMap<&'static str, (u32, LimitUse)>>,
}

impl FixedShares {
    fn set(&self, kind: &'static str, share: u32) {
        self.shares.lock().expect("lock").insert(kind, share);
    }

    fn told(&self, kind: &'static str) -> (u32, LimitUse) {
        self.told.lock().expect("lock")[kind]
    }
}

impl LimitShares for FixedShares {
    fn share(&self, limit: &SharedLimit<'_>, cap: u32, of: LimitUse) -> u32 {
        let kind = match limit {
            SharedLimit::Provider(path, _) => {
                assert_eq!(path.provider, "big");
                "provider"
            }
            SharedLimit::Rate(..) => "rate",
            SharedLimit::Site(site, _) => {
                assert!(site.contains("big.test"), "{site}");
                "site"
            }
        };
        self.told.lock().expect("lock").insert(kind, (cap, of));
        self.shares.lock().expect("lock").get(kind).copied().unwrap_or(cap).min(cap)
    }
}

fn world(limits: &str) -> (World, Arc<FixedShares>) {
    let text = format!("[[provider]]\nname = \"big\"\nmx = [\".big.test\"]\n{limits}\n");
    let rules = ShapingRules::with(toml::from_str(&text).expect("a file")).expect("rules");
    let w = World::with(|d| d.shaping = Arc::new(rules));
    let shares = Arc::new(FixedShares::default());
    w.handle.shared.table().share_limits(shares.clone());
    for n in 0..6 {
        let (domain, host) = (format!("{n}.test"), format!("mx{n}.big.test"));
        w.net.domain(&domain, &[(&host, Host::Slow(Duration::from_secs(1)))]);
    }
    (w, shares)
}

/// The most connections that are open within so many seconds.
async fn most_open(w: &World, within: u64) -> usize {
    let mut most = 0;
    for _ in 0..within * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(w.net.log.lock().expect("lock").open_now.values().sum());
    }
    most
}

#[tokio::test(start_paused = true)]
async fn connections_to_a_provider_follow_the_share() {
    let (w, shares) = world("connections = 6");
    shares.set("provider", 0);
    let ids: Vec<_> = (0..120).map(|n| w.to(&format!("u@{}.test", n % 6))).collect();
    assert_eq!(most_open(&w, 10).await, 0);
    assert_eq!(shares.told("provider"), (6, LimitUse { in_use: 0, wanted: 2 }));
    shares.set("provider", 4);
    assert_eq!(most_open(&w, 10).await, 4);
    // Those that are open end after the message that they are at.
    shares.set("provider", 1);
    seconds(3).await;
    assert_eq!(most_open(&w, 10).await, 1);
    shares.set("provider", 6);
    seconds(60).await;
    assert!(ids.iter().all(|id| w.states(*id) == [RecipientState::Delivered]));
    seconds(10).await;
    assert_eq!(shares.told("provider").1.in_use, 0, "what is not used is told");
}

#[tokio::test(start_paused = true)]
async fn connections_to_a_site_follow_the_share() {
    let (w, shares) = world("");
    shares.set("site", 0);
    let ids: Vec<_> = (0..100).map(|_| w.to("u@1.test")).collect();
    assert_eq!(most_open(&w, 10).await, 0);
    let (cap, of) = shares.told("site");
    assert!(cap == 5 && of.in_use == 0 && (2..=5).contains(&of.wanted), "{cap} {of:?}");
    shares.set("site", 3);
    assert_eq!(most_open(&w, 15).await, 3);
    shares.set("site", 1);
    seconds(3).await;
    assert_eq!(most_open(&w, 5).await, 1);
    shares.set("site", 5);
    seconds(60).await;
    assert!(ids.iter().all(|id| w.states(*id) == [RecipientState::Delivered]));
    seconds(10).await;
    assert_eq!(shares.told("site").1.in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_rate_follows_the_share() {
    let (w, shares) = world("messages_per_minute = 60");
    w.net.domain("a.test", &[("mx.big.test", accepts())]);
    shares.set("rate", 0);
    let ids: Vec<_> = (0..50).map(|_| w.to("u@a.test")).collect();
    seconds(10).await;
    assert!(w.net.transactions().is_empty());
    let reason = w.handle.why(ids[0]).await.expect("a store").expect("it is there")[0].reason.clone();
    assert!(reason.contains("other nodes have all messages that may go there in a minute"), "{reason}");
    shares.set("rate", 6);
    seconds(65).await;
    let sent = w.net.transactions().len();
    assert!((5..=6).contains(&sent), "{sent}: a share does not begin with a burst");
    shares.set("rate", 60);
    seconds(60).await;
    assert!(ids.iter().all(|id| w.states(*id) == [RecipientState::Delivered]));
}

/// What the store has, which the keepers of two nodes change.
async fn keep(nodes: &[World; 2], rows: &mut HashMap<WarmupKey, WarmupCount>, looks: u32) {
    for _ in 0..looks {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for node in nodes {
            for key in node.handle.warmup_claims(false) {
                let claim = node.handle.claim_warmup(&key, rows.get(&key), false).expect("it is known");
                rows.insert(key.clone(), claim.after.clone());
                node.handle.claimed_warmup(&key, &claim, true);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_warm_an_address_up_together() {
    let rules =
        ShapingRules::with(toml::from_str("[warmup]\nladder = [20, 40]\nhour = 1.0\n").expect("a file"));
    let rules = Arc::new(rules.expect("rules"));
    let nodes = [(); 2].map(|()| World::warming(&["192.0.2.1"], rules.clone()));
    for node in &nodes {
        node.handle.shared.table().share_limits(Arc::new(FixedShares::default()));
        node.net.domain("a.test", &[("mx.big.test", accepts())]);
        for _ in 0..15 {
            node.to("u@a.test");
        }
        assert!(node.handle.unstored_warmups().is_empty());
    }
    let mut rows = HashMap::new();
    keep(&nodes, &mut rows, 60).await;
    let sent = || nodes.each_ref().map(|node| node.net.transactions().len());
    assert!(sent().iter().sum::<usize>() == 20 && sent()[0] > 0 && sent()[1] > 0, "{:?}", sent());
    let midnight = 86_400 - u64::try_from(START / 1000 % 86_400).expect("positive");
    keep(&nodes, &mut rows, 2).await;
    seconds(midnight - 60).await;
    keep(&nodes, &mut rows, 120).await;
    assert_eq!(sent(), [15, 15]);
    let row = rows.values().next().expect("a row");
    assert_eq!((row.step, row.used, row.accepted), (1, 10, 10), "what was not used came back: {row:?}");
    assert!(nodes.iter().all(|node| node.handle.warmups()[0].cap == Some(40)));
}
