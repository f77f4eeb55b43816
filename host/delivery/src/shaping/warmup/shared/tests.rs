use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

const NODES: usize = 3;

fn rules() -> WarmupRules {
    WarmupRules { ladder: vec![40, 80, 160], hour: 0.5, ..WarmupRules::default() }
}

fn nodes() -> Vec<Warmup> {
    (0..NODES).map(|_| Warmup::of_many_nodes(WarmupCount::default())).collect()
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Sets recipients aside.
    Reserve(usize, u32),
    /// So much of what was set aside was sent to after all.
    Release(usize, u32),
    /// The keeper of the node looks; another node may have changed the row in between.
    Claim(usize, Option<usize>),
    /// The store makes the change, and the node does not hear of it.
    Unheard(usize),
    /// The node dies and starts anew.
    Crash(usize),
    Later(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..NODES, 1_u32..9).prop_map(|(node, n)| Step::Reserve(node, n)),
        4 => (0..NODES, 0_u32..9).prop_map(|(node, n)| Step::Release(node, n)),
        8 => (0..NODES, proptest::option::of(0..NODES)).prop_map(|(node, other)| Step::Claim(node, other)),
        1 => (0..NODES).prop_map(Step::Unheard),
        1 => (0..NODES).prop_map(Step::Crash),
        1 => (1_i64..14).prop_map(Step::Later),
    ]
}

fn look(node: &mut Warmup, row: &mut Option<WarmupCount>, is_last: bool) {
    look_beside(node, row, None, is_last, true);
}

/// One look of the keeper, which tries again when another node was faster, if it `compares`.
fn look_beside(
    node: &mut Warmup,
    row: &mut Option<WarmupCount>,
    other: Option<&mut Warmup>,
    is_last: bool,
    compares: bool,
) {
    let rules = rules();
    if !node.wants_claim(&rules, is_last) {
        return;
    }
    let Some(claim) = node.claim(row.as_ref(), &rules, is_last) else { return };
    if let Some(other) = other
        && let Some(faster) = other.claim(row.as_ref(), &rules, false)
        && Some(&faster.after) != row.as_ref()
    {
        *row = Some(faster.after.clone());
        other.claimed(&faster);
        if compares {
            node.refused(&claim);
            return look(node, row, is_last);
        }
    }
    *row = Some(claim.after.clone());
    node.claimed(&claim);
}

fn pair(nodes: &mut [Warmup], node: usize, other: Option<usize>) -> (&mut Warmup, Option<&mut Warmup>) {
    match other.filter(|other| *other != node) {
        Some(other) => {
            let [node, other] = nodes.get_disjoint_mut([node, other]).expect("two nodes");
            (node, Some(other))
        }
        None => (&mut nodes[node], None),
    }
}

/// Plays a schedule with nodes that compare the row before they change it, or do not.
fn simulate(steps: Vec<Step>, compares: bool) -> Result<(), String> {
    let (rules, mut nodes, mut row, mut hour) = (rules(), nodes(), None, 2_400);
    let mut sent = HashMap::<i64, u32>::new();
    let mut open: Vec<Vec<(u32, i64)>> = vec![Vec::new(); NODES];
    for step in steps {
        match step {
            Step::Later(hours) => hour += hours,
            Step::Reserve(node, n) => {
                // The table rolls before it reserves.
                nodes[node].roll(hour, &rules);
                let at = nodes[node].hour();
                let reserved = nodes[node].reserve(n, &rules);
                if nodes[node].cap(&rules).is_some() {
                    *sent.entry(at).or_default() += reserved;
                    open[node].push((reserved, at));
                }
            }
            Step::Release(node, n) => {
                if let Some((reserved, at)) = open[node].pop() {
                    let used = n.min(reserved);
                    nodes[node].release(reserved, used, at, &rules);
                    nodes[node].learned(used, 0);
                    *sent.entry(at).or_default() -= reserved - used;
                }
            }
            Step::Claim(node, other) => {
                let (node, other) = pair(&mut nodes, node, other);
                look_beside(node, &mut row, other, false, compares);
            }
            Step::Unheard(node) => {
                if let Some(claim) = nodes[node].claim(row.as_ref(), &rules, false) {
                    row = Some(claim.after);
                }
            }
            Step::Crash(node) => {
                nodes[node] = Warmup::of_many_nodes(row.clone().unwrap_or_default());
                open[node].clear();
            }
        }
        if let Some(row) = &row {
            check(row, &sent)?;
        }
    }
    Ok(())
}

fn check(row: &WarmupCount, sent: &HashMap<i64, u32>) -> Result<(), String> {
    let Some(cap) = Warmup::stored(row.clone()).cap(&rules()) else { return Ok(()) };
    let of_day: u32 = sent.iter().filter(|(at, _)| at.div_euclid(24) == row.day).map(|(_, sent)| sent).sum();
    let of_hour = sent.get(&row.hour).copied().unwrap_or(0);
    match of_day <= cap && of_hour <= cap.div_ceil(2) {
        true => Ok(()),
        false => Err(format!("{of_day} on day {} and {of_hour} in an hour, of {cap}", row.day)),
    }
}

proptest! {
    #![proptest_config(Config::with_cases(400))]
    /// Whatever is sent, given back, lost with a crash or a lost answer: no day and no hour has more than
    /// its cap, over all nodes.
    #[test]
    fn nodes_never_exceed_a_cap_together(steps in proptest::collection::vec(step(), 1..400)) {
        prop_assert_eq!(simulate(steps, true), Ok(()));
    }
}

#[test]
fn nodes_that_do_not_compare_are_found() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config { failure_persistence: None, ..Config::with_cases(400) };
    let found = TestRunner::new_with_rng(config, rng)
        .run(&proptest::collection::vec(step(), 1..400), |steps| {
            simulate(steps, false).map_err(TestCaseError::fail)
        });
    assert!(found.is_err());
}

/// All send as much as they may in an hour. Returns how much.
fn hour_of_all(nodes: &mut [Warmup], row: &mut Option<WarmupCount>, hour: i64) -> u32 {
    let (rules, mut sent) = (rules(), 0);
    for _ in 0..100 {
        for node in nodes.iter_mut() {
            node.roll(hour, &rules);
            look(node, row, false);
            if node.cap(&rules).is_some() {
                let reserved = node.reserve(2, &rules);
                node.learned(reserved, 0);
                sent += reserved;
            }
        }
    }
    sent
}

#[test]
fn nodes_use_the_caps_up_and_climb_the_ladder_together() {
    let (mut nodes, mut row) = (nodes(), None);
    for (day, cap) in [(100, 40), (101, 80), (102, 160)] {
        assert_eq!(hour_of_all(&mut nodes, &mut row, 24 * day), cap / 2);
        assert_eq!(hour_of_all(&mut nodes, &mut row, 24 * day + 1), cap / 2);
        assert_eq!(hour_of_all(&mut nodes, &mut row, 24 * day + 2), 0);
        let rules = rules();
        assert!(nodes.iter().all(|node| node.allowance(&rules) == Err(WarmupHold::Day(cap))));
        assert_eq!(nodes[0].used(), cap);
    }
    hour_of_all(&mut nodes, &mut row, 24 * 103);
    assert!(nodes.iter().all(|node| node.allowance(&rules()) == Ok(u32::MAX)), "it is warm");
}

#[test]
fn what_a_node_does_not_use_the_others_have() {
    let (rules, mut nodes, mut row) = (rules(), nodes(), None);
    for node in &mut nodes {
        node.roll(2_400, &rules);
        look(node, &mut row, false);
    }
    assert_eq!(
        row.as_ref().map(|row| (row.used, row.in_hour)),
        Some((20, 20)),
        "ten each, as far as they go"
    );
    for _ in 0..=IDLE_LOOKS {
        look(&mut nodes[0], &mut row, false);
    }
    assert_eq!(row.as_ref().map(|row| (row.used, row.in_hour)), Some((10, 10)));
    look(&mut nodes[1], &mut row, true);
    assert_eq!(row.as_ref().map(|row| (row.used, row.in_hour)), Some((0, 0)), "it stops");
    assert_eq!(hour_of_all(&mut nodes[2..], &mut row, 2_400), 20);
    // The one that was idle has mail again.
    assert_eq!(hour_of_all(&mut nodes[..1], &mut row, 2_401), 20);
}
