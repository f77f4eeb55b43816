//! Removes a node for good.

use super::{ClusterView, node_key, observe};
use crate::engine::{Engine, EngineError, ShardId};

/// A node that was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Forgotten {
    /// Its name.
    pub node: String,
    /// Its home, which others serve as long as the log is there.
    pub home: ShardId,
}

/// Forgets a node: it is no longer counted and no longer shown. Others go on to serve its home, whose
/// events are kept as long as all others. Takes six seconds.
///
/// # Errors
/// It is alive, its home has messages or is served by nobody, there is no such node, or the engine does
/// not answer: the words say what is to be done.
pub async fn forget(engine: &dyn Engine, name: &str) -> Result<Forgotten, EngineError> {
    let view = observe(engine).await?;
    let home = may_be_forgotten(&view, name).map_err(EngineError::Refused)?;
    let leases = engine.leases();
    let revision = leases.entry(&node_key(name)).await?.map_or(0, |entry| entry.revision);
    match leases.replace(&node_key(name), revision, "", "").await? {
        Some(_) => Ok(Forgotten { node: name.to_owned(), home }),
        None => Err(EngineError::Refused(format!("node `{name}` came back meanwhile"))),
    }
}

fn may_be_forgotten(view: &ClusterView, name: &str) -> Result<ShardId, String> {
    let node = view.nodes.iter().find(|node| node.name == name);
    let node = node.ok_or_else(|| format!("there is no node `{name}`"))?;
    if node.is_alive {
        return Err(format!(
            "node `{name}` is alive: stop it first (`relevo cluster drain` there, then end the relay)"
        ));
    }
    let home = node.home;
    let Some(shard) = view.shards.iter().find(|shard| shard.shard == home) else { return Ok(home) };
    if shard.is_free {
        return Err(format!("nobody serves shard {home}, the home of `{name}`: wait until a node does"));
    }
    match shard.load {
        Some(load) if load.items == 0 => Ok(home),
        Some(load) => Err(format!(
            "shard {home}, the home of `{name}`, has {} messages that `{}` still sends: wait until they are finished",
            load.items, shard.holder
        )),
        None => Err(format!("`{}` does not say what shard {home} has: try again", shard.holder)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeView, ShardLoad, ShardView};
    use super::*;

    #[test]
    fn only_who_left_nothing_is_forgotten() {
        let node = |name: &str, home, is_alive| NodeView {
            name: name.into(),
            address: String::new(),
            peer_address: None,
            home,
            is_alive,
            is_draining: false,
        };
        let shard = |shard, is_free, items: Option<u64>| ShardView {
            shard,
            holder: "b".into(),
            is_free,
            load: items.map(|items| ShardLoad { items, applied: 9 }),
        };
        let view = |is_alive, home| ClusterView {
            nodes: vec![node("a", 1, is_alive), node("b", 2, true)],
            shards: vec![home, shard(2, false, Some(7))],
        };
        let refused = |view: &ClusterView, name: &str| may_be_forgotten(view, name).expect_err("refused");
        assert_eq!(may_be_forgotten(&view(false, shard(1, false, Some(0))), "a"), Ok(1));
        assert!(refused(&view(true, shard(1, false, Some(0))), "a").contains("is alive"));
        assert!(refused(&view(false, shard(1, false, Some(3))), "a").contains("3 messages"));
        assert!(refused(&view(false, shard(1, true, Some(0))), "a").contains("nobody serves shard 1"));
        assert!(refused(&view(false, shard(1, false, None)), "a").contains("does not say"));
        assert!(refused(&view(false, shard(1, false, Some(0))), "c").contains("no node `c`"));
    }
}
