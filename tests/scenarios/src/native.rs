//! The stages without a sandbox: what the components' libraries say when they are called as plain
//! functions.

use std::io;

use relevo_mailkit::model::{
    ContentOptions, Finding, MessageEnvelope, MessageParts, Part, Refusal, Rendered, Report, Rewrite,
    SignatureRequest, SignatureVerdict, SigningInput, TemplateError, TemplateLimits, TemplateReference,
    TemplateSource, TrackOptions, Txt, ValidateOptions,
};
use relevo_mailkit::returned::ReturnedMail;
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_runtime::{Blame, Fault, FaultKind, Stage, StageStats, Stages};

/// The native stages. Not for production: a fault of a library is a fault of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct NativeStages;

fn unreadable(stage: Stage) -> impl Fn(io::Error) -> Fault {
    move |error| Fault {
        stage,
        blame: Blame::Host,
        kind: FaultKind::Host,
        detail: format!("reading the message: {error}"),
    }
}

fn answer(stage: Stage, detail: String) -> Fault {
    Fault { stage, blame: Blame::Guest, kind: FaultKind::Answer, detail }
}

fn push_all(source: &dyn Source, mut push: impl FnMut(&[u8])) -> io::Result<()> {
    for_each_chunk(source, 0, source.size(), |chunk| {
        push(chunk);
        Ok(())
    })
}

impl Stages for NativeStages {
    fn validate(
        &self,
        options: ValidateOptions,
        message: &dyn Source,
    ) -> Result<Result<Report, Refusal>, Fault> {
        let mut validator = relevo_validate::Validator::new(options);
        push_all(message, |chunk| validator.push(chunk)).map_err(unreadable(Stage::Validate))?;
        Ok(validator.finish())
    }

    fn track(&self, options: TrackOptions, parts: &[Part], message: &dyn Source) -> Result<Rewrite, Fault> {
        let mut rewriter = relevo_track::Rewriter::new(options, parts.to_vec());
        for number in rewriter.parts_needed() {
            let part = usize::try_from(number).ok().and_then(|n| parts.get(n));
            let body =
                part.ok_or_else(|| answer(Stage::Track, "needs parts that are not there".into()))?.body;
            rewriter.begin(number);
            for_each_chunk(message, body.offset, body.length, |chunk| {
                rewriter.push(chunk);
                Ok(())
            })
            .map_err(unreadable(Stage::Track))?;
            rewriter.end();
        }
        Ok(rewriter.finish())
    }

    fn signing_input(
        &self,
        requests: Vec<SignatureRequest>,
        copy: &dyn Source,
        _now: i64,
    ) -> Result<Vec<SigningInput>, Fault> {
        let mut signer = relevo_dkim::Signer::new(requests);
        push_all(copy, |chunk| signer.push(chunk)).map_err(unreadable(Stage::Dkim))?;
        signer.finish().map_err(|reason| answer(Stage::Dkim, format!("cannot sign: {reason}")))
    }

    fn verify(
        &self,
        records: Vec<Txt>,
        message: &dyn Source,
        now: i64,
    ) -> Result<Vec<SignatureVerdict>, Fault> {
        let mut verifier = relevo_dkim::Verifier::new(records, now);
        push_all(message, |chunk| verifier.push(chunk)).map_err(unreadable(Stage::Dkim))?;
        Ok(verifier.finish())
    }

    fn render(
        &self,
        source: TemplateSource,
        variables: &str,
        limits: TemplateLimits,
    ) -> Result<Result<Rendered, TemplateError>, Fault> {
        Ok(relevo_template::render(&source, variables, &limits))
    }

    fn references(
        &self,
        source: TemplateSource,
    ) -> Result<Result<Vec<TemplateReference>, TemplateError>, Fault> {
        Ok(relevo_template::references(&source))
    }

    fn entity(
        &self,
        content: Rendered,
        subject: bool,
        boundary_seed: &str,
    ) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        Ok(relevo_template::entity(&content, subject, boundary_seed))
    }

    fn build(
        &self,
        envelope: MessageEnvelope,
        content: Rendered,
    ) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        Ok(relevo_template::build(&envelope, &content))
    }

    fn read_report(&self, message: &dyn Source) -> Result<ReturnedMail, Fault> {
        let mut reader = relevo_reports::Reader::default();
        push_all(message, |chunk| reader.push(chunk)).map_err(unreadable(Stage::Reports))?;
        Ok(reader.finish())
    }

    fn inspect(
        &self,
        options: ContentOptions,
        message: &dyn Source,
    ) -> Result<Result<Vec<Finding>, String>, Fault> {
        let mut inspector = relevo_content::Inspector::new(options);
        push_all(message, |chunk| inspector.push(chunk)).map_err(unreadable(Stage::Content))?;
        Ok(inspector.finish())
    }

    fn read_parts(&self, message: &dyn Source) -> Result<Result<MessageParts, String>, Fault> {
        let mut reader = relevo_content::Reader::default();
        push_all(message, |chunk| reader.push(chunk)).map_err(unreadable(Stage::Content))?;
        Ok(reader.parts())
    }

    fn read_attachment(
        &self,
        message: &dyn Source,
        number: u32,
    ) -> Result<Result<Option<Vec<u8>>, String>, Fault> {
        let mut reader = relevo_content::Reader::default();
        push_all(message, |chunk| reader.push(chunk)).map_err(unreadable(Stage::Content))?;
        Ok(reader.attachment(number))
    }

    fn stats(&self) -> Vec<(Stage, StageStats)> {
        Vec::new()
    }
}
