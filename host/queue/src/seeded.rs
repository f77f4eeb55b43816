//! Mistakes that `cargo xtask cluster --seeded` makes on purpose, to see that its checks object. They
//! are in a build with the feature `seeded-bugs` alone, and there one is made if the environment
//! names it.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeededBug {
    /// An owner that another one fenced takes a refused record for stored.
    NoFence,
    /// A record counts as stored before a quorum has it.
    EarlyAnswer,
    /// The first settlement of some deliveries is thrown away, so that they are attempted again.
    RepeatedAttempt,
    /// Events of some settlements are written twice.
    EventTwice,
}

#[cfg(feature = "seeded-bugs")]
impl SeededBug {
    /// Whether it is to be made in this process.
    pub(crate) fn is_made(self) -> bool {
        static NAMED: std::sync::LazyLock<String> =
            std::sync::LazyLock::new(|| std::env::var("RELEVO_SEEDED_BUG").unwrap_or_default());
        let name = match self {
            Self::NoFence => "no_fence",
            Self::EarlyAnswer => "early_answer",
            Self::RepeatedAttempt => "repeated_attempt",
            Self::EventTwice => "event_twice",
        };
        *NAMED == name
    }
}

#[cfg(not(feature = "seeded-bugs"))]
impl SeededBug {
    /// Never.
    pub(crate) const fn is_made(self) -> bool {
        false
    }
}
