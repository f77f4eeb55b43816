//! Measures a reply through the classifier: natively, and in the sandbox.
//!
//! `cargo xtask build --release && cargo run --release -p relevo-runtime --example classify`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, for people")]

use std::hint::black_box;
use std::time::Instant;

use relevo_classify::{DEFAULT_RULES, Rules};
use relevo_mailkit::classification::ReceiverReply;
use relevo_runtime::{Classifier, RuntimeConfig};

/// Times that all cases are classified.
const ROUNDS: u32 = 200;

fn main() {
    let began = Instant::now();
    let rules = Rules::parse(DEFAULT_RULES).unwrap();
    println!("rules read natively in {:?}", began.elapsed());
    let began = Instant::now();
    let classifier = Classifier::new(&RuntimeConfig::beside_executable(), None).unwrap();
    println!("component loaded and rules read in {:?}", began.elapsed());
    let began = Instant::now();
    classifier.load(None).unwrap();
    println!("rules read in the sandbox in {:?}", began.elapsed());

    let cases: Vec<ReceiverReply> = rules.answers().flat_map(|(_, cases)| cases.to_vec()).collect();
    let octets: usize = cases.iter().map(|case| case.text.len()).sum();
    println!("{} replies of {} octets on average", cases.len(), octets / cases.len());
    measure("natively", &cases, |reply| {
        black_box(rules.classify(reply));
    });
    measure("in the sandbox", &cases, |reply| {
        black_box(classifier.classify(reply).unwrap());
    });
}

fn measure(what: &str, cases: &[ReceiverReply], classify: impl Fn(&ReceiverReply)) {
    cases.iter().for_each(&classify);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        cases.iter().for_each(&classify);
    }
    let replies = ROUNDS * u32::try_from(cases.len()).unwrap();
    println!("{what}: {:?} a reply", began.elapsed() / replies);
}
