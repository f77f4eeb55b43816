//! The seam between the product and the sandbox.

use std::time::Duration;

use relevo_mailkit::model::{
    ContentOptions, Finding, MessageEnvelope, MessageParts, Part, Refusal, Rendered, Report, Rewrite,
    SignatureRequest, SignatureVerdict, SigningInput, TemplateError, TemplateLimits, TemplateReference,
    TemplateSource, TrackOptions, Txt, ValidateOptions,
};
use relevo_mailkit::returned::ReturnedMail;
use relevo_mailkit::source::Source;

/// The first-party stages. Each method is one call of a component with a fresh state; nothing is
/// kept between calls.
///
/// A call computes on the thread of the caller, for as long as [`crate::StageLimits`] allows, and
/// reads `message` as it goes. So callers bound how many run at the same time, and keep sources
/// that may block away from threads that serve sockets.
pub trait Stages: Send + Sync {
    /// `validate`: pushes the whole message and returns the report, or why it is refused.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn validate(
        &self,
        options: ValidateOptions,
        message: &dyn Source,
    ) -> Result<Result<Report, Refusal>, Fault>;

    /// `track`: finds what to rewrite. Makes no instance when no part could be rewritten.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn track(&self, options: TrackOptions, parts: &[Part], message: &dyn Source) -> Result<Rewrite, Fault>;

    /// `dkim.signer`: the octets to be signed for `copy`, one answer for each request. `now` is
    /// what the guest's wall clock shows. The caller checks each answer against what it grants
    /// before it signs.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn signing_input(
        &self,
        requests: Vec<SignatureRequest>,
        copy: &dyn Source,
        now: i64,
    ) -> Result<Vec<SigningInput>, Fault>;

    /// `dkim.verifier`: checks every signature of `message` against `records`.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn verify(
        &self,
        records: Vec<Txt>,
        message: &dyn Source,
        now: i64,
    ) -> Result<Vec<SignatureVerdict>, Fault>;

    /// `template.render`: `variables` is a JSON object.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn render(
        &self,
        source: TemplateSource,
        variables: &str,
        limits: TemplateLimits,
    ) -> Result<Result<Rendered, TemplateError>, Fault>;

    /// `template.references`: the templates that the sources name.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn references(
        &self,
        source: TemplateSource,
    ) -> Result<Result<Vec<TemplateReference>, TemplateError>, Fault>;

    /// `template.entity`: content for a message with a header of its own.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn entity(
        &self,
        content: Rendered,
        subject: bool,
        boundary_seed: &str,
    ) -> Result<Result<Vec<u8>, TemplateError>, Fault>;

    /// `template.build`: a complete message.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn build(
        &self,
        envelope: MessageEnvelope,
        content: Rendered,
    ) -> Result<Result<Vec<u8>, TemplateError>, Fault>;

    /// `reports`: reads a message that came back.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn read_report(&self, message: &dyn Source) -> Result<ReturnedMail, Fault>;

    /// `content.inspector`: what receivers may dislike about a message. The inner error says why there
    /// are no findings.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn inspect(
        &self,
        options: ContentOptions,
        message: &dyn Source,
    ) -> Result<Result<Vec<Finding>, String>, Fault>;

    /// `content.reader.parts`: a message taken apart for people. The inner error says why there are
    /// none.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn read_parts(&self, message: &dyn Source) -> Result<Result<MessageParts, String>, Fault>;

    /// `content.reader.attachment`: the decoded octets of an attachment; None: there is no such one.
    ///
    /// # Errors
    /// The stage gave no answer.
    fn read_attachment(
        &self,
        message: &dyn Source,
        number: u32,
    ) -> Result<Result<Option<Vec<u8>>, String>, Fault>;

    /// The cost of each stage since the start.
    fn stats(&self) -> Vec<(Stage, StageStats)>;
}

/// A first-party component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// `validate.wasm`
    Validate,
    /// `track.wasm`
    Track,
    /// `dkim.wasm`
    Dkim,
    /// `template.wasm`
    Template,
    /// `reports.wasm`
    Reports,
    /// `content.wasm`
    Content,
    /// `classify.wasm`, which [`crate::Classifier`] runs.
    Classify,
}

impl Stage {
    /// Those of [`Stages`], in the order in which a message meets them.
    pub const ALL: [Self; 6] =
        [Self::Validate, Self::Track, Self::Dkim, Self::Template, Self::Reports, Self::Content];

    /// The index in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The name in logs, metrics, events and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Track => "track",
            Self::Dkim => "dkim",
            Self::Template => "template",
            Self::Reports => "reports",
            Self::Classify => "classify",
            Self::Content => "content",
        }
    }
}

/// Counters of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageStats {
    /// Calls that returned an answer.
    pub calls: u64,
    /// Calls that ended in a fault.
    pub faults: u64,
    /// CPU time of calls, instantiation and checks of answers included.
    pub cpu: Duration,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The component broke: trap, deadline, memory, an answer that does not pass the checker.
    Guest,
    /// The host could not run it: reading the message failed, the machine had no time for it, or it
    /// is shutting down.
    Host,
}

impl Blame {
    /// The name in events, metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Host => "host",
        }
    }
}

/// What broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped.
    Trap,
    /// Over its CPU or wall time.
    Deadline,
    /// Over its memory.
    Memory,
    /// Over its tables.
    Table,
    /// Over its stack.
    Stack,
    /// Called an import that is tolerated but does nothing here, or asked one for too much.
    Denied,
    /// An answer that breaks the contract.
    Answer,
    /// Said itself that it cannot answer.
    Error,
    /// Not the guest.
    Host,
}

impl FaultKind {
    /// The name in events, metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Table => "table",
            Self::Stack => "stack",
            Self::Denied => "denied",
            Self::Answer => "answer",
            Self::Error => "error",
            Self::Host => "host",
        }
    }
}

/// A stage that gave no answer. The message is not to blame: the client is told 451 4.3.0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stage {} {kind:?} ({blame:?}): {detail}", .stage.name())]
pub struct Fault {
    /// Where.
    pub stage: Stage,
    /// Who.
    pub blame: Blame,
    /// What.
    pub kind: FaultKind,
    /// For the log; never for the peer.
    pub detail: String,
}
