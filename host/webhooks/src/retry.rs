//! When a delivery is tried again, and when it is given up.

use std::time::Duration;

use relevo_queue::Millis;

/// The longest delay that `Retry-After` may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// Delays differ by so much in either direction.
const JITTER: f64 = 0.1;

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An answer with this status.
    Status {
        code: u16,
        /// What `Retry-After` asks for, bounded.
        retry_after: Option<Duration>,
    },
    /// No answer.
    None,
}

impl Answer {
    pub(crate) fn is_success(self) -> bool {
        matches!(self, Self::Status { code: 200..=299, .. })
    }

    pub(crate) fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Status { code, retry_after } if !(200..=299).contains(&code) => retry_after,
            _ => None,
        }
    }
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// The endpoint took it.
    Success,
    /// It is tried again at this time.
    Retry(Millis),
    /// It is given up.
    Failed,
    /// It is given up, and the endpoint wants no more.
    Gone,
}

/// Concludes the `tries`th attempt since a delivery was made or replayed. `jitter` is from 0 to 1.
pub(crate) fn conclude(
    retry: &[Duration],
    tries: i64,
    answer: Answer,
    now: Millis,
    jitter: f64,
) -> Conclusion {
    match answer {
        answer if answer.is_success() => return Conclusion::Success,
        Answer::Status { code: 410, .. } => return Conclusion::Gone,
        _ => {}
    }
    let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(0);
    let Some(delay) = retry.get(index) else { return Conclusion::Failed };
    let delay = delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter.clamp(0.0, 1.0));
    let delay = delay.max(answer.retry_after().unwrap_or_default());
    Conclusion::Retry(now.saturating_add(millis(delay)))
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110 section 10.2.3). It is bounded.
pub(crate) fn retry_after(value: &str, now: Millis) -> Option<Duration> {
    let value = value.trim();
    let asked = match value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        true => Duration::from_secs(value.parse().unwrap_or(u64::MAX)),
        false => {
            let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
            let wait = at.as_millisecond().saturating_sub(now);
            Duration::from_millis(u64::try_from(wait).unwrap_or(0))
        }
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::WebhookConfig;

    const OTHER: Answer = Answer::Status { code: 500, retry_after: None };

    #[test]
    fn delays_are_those_of_the_specification_with_jitter() {
        let retry = WebhookConfig::default().retry;
        let seconds = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        for (tries, seconds) in (1..).zip(seconds) {
            for (jitter, factor) in [(0.0, 900), (0.5, 1_000), (1.0, 1_100)] {
                let Conclusion::Retry(at) = conclude(&retry, tries, OTHER, 0, jitter) else {
                    unreachable!("attempt {tries} has another behind it")
                };
                assert!((at - seconds * factor).abs() <= 1, "attempt {tries}: {at}");
            }
        }
        assert_eq!(conclude(&retry, 10, OTHER, 0, 0.5), Conclusion::Failed);
        let days = retry.iter().sum::<Duration>().as_secs() / 86_400;
        assert_eq!(days, 3);
    }

    #[test]
    fn retry_after_is_read_and_bounded() {
        let now = 1_795_000_000_000;
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Wed, 18 Nov 2026 11:08:40 GMT", Some(120)),
            ("Wed, 18 Nov 2020 11:08:40 GMT", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            ("Wed, 18 Nov 2037 11:08:40 GMT", Some(86_400)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        }
        let asked = Answer::Status { code: 503, retry_after: Some(Duration::from_secs(60)) };
        let retry = WebhookConfig::default().retry;
        assert_eq!(conclude(&retry, 1, asked, 0, 0.5), Conclusion::Retry(60_000));
        assert_eq!(
            conclude(&retry, 2, asked, 0, 0.5),
            Conclusion::Retry(300_000),
            "never earlier than planned"
        );
    }

    fn answers() -> impl Strategy<Value = Answer> {
        prop_oneof![
            1 => Just(Answer::None),
            4 => (100_u16..600, proptest::option::of(0_u64..86_400)).prop_map(|(code, wait)| {
                Answer::Status { code, retry_after: wait.map(Duration::from_secs) }
            }),
        ]
    }

    proptest! {
        /// Every delivery ends: after a success, a 410, or the last attempt.
        #[test]
        fn a_delivery_ends(all in proptest::collection::vec((answers(), 0.0_f64..=1.0), 12)) {
            let retry = WebhookConfig::default().retry;
            let (mut now, mut ended) = (1_795_000_000_000, None);
            for (tries, (answer, jitter)) in (1..).zip(&all) {
                match conclude(&retry, tries, *answer, now, *jitter) {
                    Conclusion::Retry(at) => {
                        prop_assert!(at > now && at - now <= millis(MAX_RETRY_AFTER) * 11 / 10);
                        prop_assert!(!answer.is_success());
                        now = at;
                    }
                    conclusion => {
                        ended = Some((tries, *answer, conclusion));
                        break;
                    }
                }
            }
            let (tries, answer, conclusion) = ended.expect("it ends");
            match conclusion {
                Conclusion::Success => prop_assert!(answer.is_success()),
                Conclusion::Gone => {
                    let is_gone = matches!(answer, Answer::Status { code: 410, .. });
                    prop_assert!(is_gone);
                }
                _ => prop_assert_eq!(tries, 10),
            }
        }
    }
}
