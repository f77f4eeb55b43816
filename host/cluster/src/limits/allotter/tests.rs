use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::{WAITS, base_share};
use super::*;

const CAP: u32 = 10;
/// With so many nodes, nothing of the cap is set aside.
const NODES: usize = 3;

fn limit() -> LimitId {
    LimitId::of([&b"test"[..]])
}

fn ask(wanted: u32, has: u32) -> Ask {
    Ask { limit: limit(), kind: LimitKind::Connections, cap: CAP, wanted, has }
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    QuestionLost,
    AnswerLost,
    /// The holder reads it after the next question of the node.
    Late,
}

#[derive(Debug, Clone)]
enum Step {
    Later(u64),
    Ask {
        node: usize,
        wanted: u32,
        fate: Fate,
    },
    /// The node does nothing for a while: it is stopped, or cut off.
    Pause(usize, u64),
    /// It starts anew and has forgotten everything.
    Restart(usize),
    /// Another holder, which knows nothing of the one before.
    NewHolder,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        5 => Just(Fate::Answered),
        1 => Just(Fate::QuestionLost),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Late),
    ];
    prop_oneof![
        6 => (1_u64..3000).prop_map(Step::Later),
        10 => (0..NODES, 0_u32..15, fate).prop_map(|(node, wanted, fate)| Step::Ask { node, wanted, fate }),
        1 => (0..NODES, 1_u64..30_000).prop_map(|(node, millis)| Step::Pause(node, millis)),
        1 => (0..NODES).prop_map(Step::Restart),
        1 => Just(Step::NewHolder),
    ]
}

#[derive(Debug, Default, Clone)]
struct NodeModel {
    granted: u32,
    until: Duration,
    paused: Duration,
    late: Option<(u64, Ask)>,
}

/// The clock of a node: each runs apart from that of the holder.
fn clock(node: usize, now: Duration) -> Duration {
    now * [90, 100, 110][node] / 100
}

fn simulate(steps: &[Step], waits: Duration) -> Result<(), String> {
    let (mut now, mut number) = (at(1_000_000), 0);
    let mut holder = Allotter::new(now);
    let mut nodes = vec![NodeModel::default(); NODES];
    let names: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).to_vec();
    for step in steps {
        match step {
            Step::Later(millis) => now += at(*millis),
            Step::Pause(node, millis) => nodes[*node].paused = now + at(*millis),
            Step::Restart(node) => nodes[*node] = NodeModel::default(),
            Step::NewHolder => holder = Allotter::new(now + waits),
            Step::Ask { node, .. } if nodes[*node].paused > now => {}
            Step::Ask { node, wanted, fate } => {
                number += 1;
                let (model, own) = (&mut nodes[*node], clock(*node, now));
                let has = if own < model.until { model.granted } else { 0 };
                let question = ask(*wanted, has);
                let late = model.late.take();
                if *fate == Fate::Late {
                    model.late = Some((number, question));
                }
                let mut answer = |(number, ask): (u64, Ask)| holder.ask(&names[*node], number, &ask, 3, now);
                if matches!(fate, Fate::Answered | Fate::AnswerLost)
                    && let Some(granted) = answer((number, question))
                    && *fate == Fate::Answered
                {
                    (model.granted, model.until) = (granted, own + SLICE);
                }
                // The node takes no answer to it any more.
                if let Some(late) = late {
                    answer(late);
                }
            }
        }
        let usable = |(node, model): (usize, &NodeModel)| {
            if clock(node, now) < model.until { model.granted } else { 0 }
        };
        let sum: u32 = nodes.iter().enumerate().map(usable).sum();
        if sum > CAP {
            return Err(format!("{sum} of {CAP} at {now:?}"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config::with_cases(500))]
    #[test]
    fn the_nodes_never_have_more_than_the_cap(steps in proptest::collection::vec(step(), 1..300)) {
        prop_assert_eq!(simulate(&steps, WAITS), Ok(()));
    }

    #[test]
    fn fair_shares_add_up_to_what_there_is(
        wants in proptest::collection::vec(0_u32..50, 1..10),
        amount in 0_u32..100,
        turn in 0_usize..1000,
    ) {
        let share = |node: usize| {
            let wants: Vec<_> = wants.iter().enumerate().map(|(at, wanted)| (at == node, *wanted)).collect();
            fair(&wants, amount, turn)
        };
        let shares: Vec<u32> = (0..wants.len()).map(share).collect();
        prop_assert_eq!(shares.iter().sum::<u32>(), amount.min(wants.iter().sum()));
        for (node, share) in shares.iter().enumerate() {
            prop_assert!(*share <= wants[node]);
            prop_assert!(*share == wants[node] || shares.iter().all(|other| *other <= share + 1));
        }
    }

    #[test]
    fn base_shares_and_the_rest_add_up_whoever_counts_more(
        cap in 0_u32..1000,
        least in 1_u32..40,
        more in 0_u32..40,
    ) {
        let most = least + more;
        prop_assert!(most * base_share(cap, most) + (cap - pool(cap, least)) <= cap);
    }
}

/// The property finds a holder that does not wait, and one that waits for too short.
#[test]
fn a_holder_that_does_not_wait_is_found() {
    for waits in [Duration::ZERO, SLICE / 2] {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
        let config = Config { failure_persistence: None, ..Config::with_cases(500) };
        let mut runner = TestRunner::new_with_rng(config, rng);
        let found = runner.run(&proptest::collection::vec(step(), 1..300), |steps| {
            simulate(&steps, waits).map_err(TestCaseError::fail)
        });
        assert!(found.is_err(), "{waits:?}");
    }
}

struct Party {
    allotter: Allotter,
    has: BTreeMap<&'static str, u32>,
    number: u64,
}

impl Party {
    fn new() -> Self {
        Self { allotter: Allotter::new(at(0)), has: BTreeMap::new(), number: 0 }
    }

    /// Every node asks each second for a while. Returns what they have then.
    fn run(&mut self, from: u64, to: u64, wants: &[(&'static str, u32)], nodes: u32) -> Vec<u32> {
        for second in from..to {
            for (node, wanted) in wants {
                self.number += 1;
                let has = self.has.entry(node).or_default();
                let (node, ask) = (Arc::from(*node), ask(*wanted, *has));
                *has = self.allotter.ask(&node, self.number, &ask, nodes, at(second * 1000)).unwrap_or(0);
            }
        }
        wants.iter().map(|(node, _)| self.has[node]).collect()
    }
}

#[test]
fn what_one_node_does_not_want_the_others_have() {
    let mut party = Party::new();
    assert_eq!(party.run(0, 2, &[("a", 15)], 3), [10]);
    assert_eq!(party.run(2, 5, &[("a", 15), ("b", 2)], 3), [8, 2]);
    assert_eq!(party.run(5, 9, &[("a", 15), ("b", 15)], 3), [5, 5]);
    // It vanished with what it had, which comes back when that has lapsed.
    assert_eq!(party.run(9, 15, &[("b", 15)], 3), [5]);
    assert_eq!(party.run(15, 22, &[("b", 15)], 3), [10]);
    assert_eq!(party.allotter.counted(&limit(), at(22_000)), 10);
    assert_eq!(party.allotter.counted(&limit(), at(60_000)), 0);
}

#[test]
fn what_cannot_be_divided_goes_round() {
    let mut party = Party::new();
    let wants = [("a", 9), ("b", 9), ("c", 9)];
    let mut had = [false; 3];
    for round in 0..6 {
        let has = party.run(round * 20, round * 20 + 18, &wants, 3);
        assert_eq!(has.iter().sum::<u32>(), 10);
        for (node, has) in has.iter().enumerate() {
            had[node] |= *has == 4;
        }
    }
    assert_eq!(had, [true; 3]);
}

#[test]
fn half_of_a_large_cap_is_set_aside() {
    let mut party = Party::new();
    assert_eq!(party.run(0, 2, &[("a", 15)], 2), [5], "ten are enough for two nodes");
    assert_eq!((base_share(10, 2), base_share(10, 3), base_share(20, 3)), (2, 0, 3));
}

#[test]
fn memory_is_bounded() {
    let (mut allotter, node) = (Allotter::new(at(0)), Arc::from("a"));
    for number in 0..MAX_LIMITS as u64 + 10 {
        let other = Ask { limit: LimitId::of([&number.to_be_bytes()[..]]), ..ask(1, 0) };
        let granted = allotter.ask(&node, number + 1, &other, 3, at(0));
        assert_eq!(granted, Some(u32::from(number < MAX_LIMITS as u64)));
    }
    assert_eq!(allotter.ask(&node, u64::MAX, &ask(1, 0), 3, at(30_000)), Some(1));
    assert_eq!(allotter.limits(), 1, "what lapsed is forgotten");
}
