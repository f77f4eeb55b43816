//! The command line, without a relay.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

fn crash(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_relevo-crash")).args(args).env_remove("RELEVO").output().unwrap()
}

#[test]
fn help_is_no_failure_and_everything_else_without_a_relay_is() {
    let help = crash(&["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--kills N"));
    for (args, why) in [
        (&["--kills", "1"][..], "RELEVO does not name the relay's binary"),
        (&["--only", "tea"], "tea is none of"),
    ] {
        let output = crash(args);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
}
