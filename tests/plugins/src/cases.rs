//! What is to come of each case of the hostile plugin.

/// What a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The answer is used: nothing wrong with it, or what is wrong is put right without a fault
    /// (quotas of the log, attributes that are not granted, reasons that are cut).
    Used,
    /// A fault of the plugin: counted, and answered by the failure policy. Nothing of the answer is
    /// used.
    Fault,
    /// The refusal stands, with 451 4.3.5 in place of the reply; counted as a fault.
    Reply,
    /// Refused by the self-test when it is configured so; a fault if it comes later.
    Configure,
    /// A fault of `observe`, which changes nothing for any message.
    Observe,
}

use Expect::{Configure, Fault, Observe, Reply, Used};

/// Name of the case (the setting or the message attribute `case`, or the field `X-Case`), and what
/// is to come of it.
pub const CASES: &[(&str, Expect)] = &[
    ("none", Used),
    // Effort. `busy` keeps just below its limits.
    ("busy", Used),
    ("endless-loop", Fault),
    ("deep-recursion", Fault),
    ("memory-bomb", Fault),
    ("memory-copy", Fault),
    ("huge-log", Used),
    ("huge-output", Used),
    ("slow-kv", Fault),
    ("kv-flood", Used),
    ("trap", Fault),
    ("error", Fault),
    ("huge-error", Fault),
    ("exit", Fault),
    ("sleep", Fault),
    ("read-file", Fault),
    // Twice the same answer for the same message.
    ("non-determinism", Used),
    // `X-Calls-Before: 0`, always, in class `small`.
    ("remembers", Used),
    // Other calls.
    ("configure-loop", Configure),
    ("configure-trap", Configure),
    ("configure-error", Configure),
    ("inspect-begin-loop", Fault),
    ("inspect-push-loop", Fault),
    ("inspect-push-trap", Fault),
    ("inspect-enough", Used),
    ("inspect-finish-loop", Fault),
    ("inspect-finish-error", Fault),
    ("observe-loop", Observe),
    ("observe-trap", Observe),
    // Header fields.
    ("header-crlf", Fault),
    ("header-lf", Fault),
    ("header-cr", Fault),
    ("header-end", Fault),
    ("header-nul", Fault),
    ("header-8bit", Fault),
    ("header-long", Fault),
    ("header-name-crlf", Fault),
    ("header-name-colon", Fault),
    ("header-name-empty", Fault),
    ("header-name-space", Fault),
    ("header-name-long", Fault),
    ("header-from", Fault),
    ("header-from-case", Fault),
    ("header-bcc", Fault),
    ("header-received", Fault),
    ("header-dkim-signature", Fault),
    ("header-authentication-results", Fault),
    ("header-content-type", Fault),
    ("header-list-unsubscribe", Fault),
    ("header-own", Fault),
    ("header-flood", Fault),
    // Each answer of them keeps to its limits.
    ("headers-most", Used),
    ("headers-twice", Fault),
    // Replies.
    ("reply-crlf", Reply),
    ("reply-lf", Reply),
    ("reply-utf8", Reply),
    ("reply-empty", Reply),
    ("reply-long", Reply),
    ("reply-250", Reply),
    ("reply-221", Reply),
    ("reply-354", Reply),
    ("reply-421", Reply),
    ("reply-0", Reply),
    ("reply-65535", Reply),
    ("reply-class", Reply),
    ("reply-enhanced", Reply),
    // Recipients.
    ("override-out-of-range", Fault),
    ("override-max", Fault),
    ("override-twice", Fault),
    ("override-flood", Fault),
    // Attributes and reasons.
    ("attribute-flood", Fault),
    ("attribute-name", Fault),
    ("attribute-control", Fault),
    ("attribute-long", Fault),
    ("attribute-many", Fault),
    ("attribute-most", Used),
    ("attribute-not-granted", Used),
    ("reason-control", Used),
    ("reason-huge", Fault),
    ("huge-result", Fault),
];
