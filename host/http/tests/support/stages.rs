//! Stages that answer nothing: routers are tested here, not what renders.

use relevo_mailkit::model::{
    ContentOptions, Finding, MessageEnvelope, MessageParts, Part, Refusal, Rendered, Report, Rewrite,
    SignatureRequest, SignatureVerdict, SigningInput, TemplateError, TemplateLimits, TemplateReference,
    TemplateSource, TrackOptions, Txt, ValidateOptions,
};
use relevo_mailkit::returned::ReturnedMail;
use relevo_mailkit::source::Source;
use relevo_runtime::{Blame, Fault, FaultKind, Stage, StageStats, Stages};

pub struct NoStages;

fn fault<T>(stage: Stage) -> Result<T, Fault> {
    Err(Fault { stage, blame: Blame::Host, kind: FaultKind::Host, detail: "none here".into() })
}

impl Stages for NoStages {
    fn validate(&self, _: ValidateOptions, _: &dyn Source) -> Result<Result<Report, Refusal>, Fault> {
        fault(Stage::Validate)
    }

    fn track(&self, _: TrackOptions, _: &[Part], _: &dyn Source) -> Result<Rewrite, Fault> {
        fault(Stage::Track)
    }

    fn signing_input(
        &self,
        _: Vec<SignatureRequest>,
        _: &dyn Source,
        _: i64,
    ) -> Result<Vec<SigningInput>, Fault> {
        fault(Stage::Dkim)
    }

    fn verify(&self, _: Vec<Txt>, _: &dyn Source, _: i64) -> Result<Vec<SignatureVerdict>, Fault> {
        fault(Stage::Dkim)
    }

    fn render(
        &self,
        _: TemplateSource,
        _: &str,
        _: TemplateLimits,
    ) -> Result<Result<Rendered, TemplateError>, Fault> {
        fault(Stage::Template)
    }

    fn references(&self, _: TemplateSource) -> Result<Result<Vec<TemplateReference>, TemplateError>, Fault> {
        fault(Stage::Template)
    }

    fn entity(&self, _: Rendered, _: bool, _: &str) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        fault(Stage::Template)
    }

    fn build(&self, _: MessageEnvelope, _: Rendered) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        fault(Stage::Template)
    }

    fn read_report(&self, _: &dyn Source) -> Result<ReturnedMail, Fault> {
        fault(Stage::Reports)
    }

    fn inspect(&self, _: ContentOptions, _: &dyn Source) -> Result<Result<Vec<Finding>, String>, Fault> {
        fault(Stage::Content)
    }

    fn read_parts(&self, _: &dyn Source) -> Result<Result<MessageParts, String>, Fault> {
        fault(Stage::Content)
    }

    fn read_attachment(&self, _: &dyn Source, _: u32) -> Result<Result<Option<Vec<u8>>, String>, Fault> {
        fault(Stage::Content)
    }

    fn stats(&self) -> Vec<(Stage, StageStats)> {
        Vec::new()
    }
}
