//! One recorded message: all that its verdict depends on, and the verdict.

use std::fmt;

use relevo_mailkit::policy::{Attribute, Decision, Message, Verdict};
use relevo_mailkit::transfer::{decode_base64, encode_base64};
use relevo_runtime::Blame;
use relevo_runtime::policy::{Judgement, PluginFault};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use super::reads::Reads;
use crate::ask::in_words;
use crate::digest::hex;

/// Octets of a body that is recorded. A larger one is left out whole: half a body could only give
/// another verdict.
pub(crate) const MAX_BODY: u64 = 1 << 20;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recording {
    /// The version that answered, in hex.
    pub(crate) digest: String,
    /// Of what `configure` was told, see [`fingerprint`].
    pub(crate) settings: String,
    /// Addresses in it are pseudonyms, and headers, body and reads are missing for that reason.
    pub(crate) redacted: bool,
    /// What the plugin was told. Its `now` is the clock of the call; its id and `now` seed the
    /// randomness.
    pub(crate) message: Message,
    pub(crate) body: KeptBody,
    /// What was read of the key-value data; none if redacted.
    pub(crate) reads: Option<Reads>,
    pub(crate) answer: RecordedAnswer,
}

/// The octets after the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeptBody {
    /// All of them; in base64 on disk.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    Whole(Vec<u8>),
    /// None: redacted, too many, or not readable any more.
    LeftOut,
}

fn to_base64<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(&encode_base64(octets)))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    Ok(decode_base64(String::deserialize(deserializer)?.as_bytes()))
}

/// What the version said, without its words: texts and reasons may name people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecordedAnswer {
    Verdicts(Verdicts),
    /// Which call broke, and how.
    Fault(String),
}

/// The verdicts of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdicts {
    all: Short,
    /// By the index of the recipient.
    overrides: Vec<(u32, Short)>,
}

impl RecordedAnswer {
    /// About a recipient.
    pub(crate) fn in_short(&self, recipient: u32) -> String {
        match self {
            Self::Verdicts(verdicts) => verdicts.of(recipient).to_string(),
            Self::Fault(words) => format!("fault: {words}"),
        }
    }

    /// None: the host broke, and the plugin said nothing.
    pub(crate) fn of(result: &Result<Judgement, PluginFault>) -> Option<Self> {
        match result {
            Ok(judgement) => Some(Self::Verdicts((&judgement.decision).into())),
            Err(fault) => (fault.blame == Blame::Guest).then(|| Self::Fault(in_words(fault))),
        }
    }
}

/// A verdict in short: texts and reasons are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Short {
    Accept,
    Hold,
    Discard,
    /// With code and enhanced code.
    Reject(u16, String),
}

impl From<&Verdict> for Short {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Hold(_) => Self::Hold,
            Verdict::Discard(_) => Self::Discard,
            Verdict::Reject(reply) => Self::Reject(reply.code, reply.status().to_string()),
        }
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Hold => f.write_str("hold"),
            Self::Discard => f.write_str("discard"),
            Self::Reject(code, enhanced) => write!(f, "reject {code} {enhanced}"),
        }
    }
}

impl From<&Decision> for Verdicts {
    fn from(decision: &Decision) -> Self {
        let own = decision.overrides.iter().map(|own| (own.recipient, Short::from(&own.verdict)));
        Self { all: Short::from(&decision.verdict), overrides: own.collect() }
    }
}

impl Verdicts {
    /// That of a recipient.
    pub(crate) fn of(&self, recipient: u32) -> &Short {
        self.overrides.iter().find(|(index, _)| *index == recipient).map_or(&self.all, |(_, own)| own)
    }
}

/// The first recipient with another verdict, and how many there are. A fault differs for all of
/// them.
pub(crate) fn difference(
    recipients: u32,
    one: &RecordedAnswer,
    other: &RecordedAnswer,
) -> Option<(u32, u32)> {
    match (one, other) {
        (RecordedAnswer::Verdicts(one), RecordedAnswer::Verdicts(other)) => {
            let mut differ = (0..recipients).filter(|index| one.of(*index) != other.of(*index));
            let first = differ.next()?;
            Some((first, 1 + u32::try_from(differ.count()).unwrap_or(u32::MAX - 1)))
        }
        _ => (one != other).then_some((0, recipients)),
    }
}

/// Of a plugin's settings: a replay tells when they are not those of the recording.
pub(crate) fn fingerprint(settings: &[Attribute]) -> String {
    let mut hash = sha2::Sha256::new();
    for Attribute { name, value } in settings {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
    }
    hex(&hash.finalize()[..8])
}
