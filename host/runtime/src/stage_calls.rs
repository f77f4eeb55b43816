//! How each stage is spoken to: the order of calls that `wit/relevo-mail` prescribes.

use relevo_mailkit::model::{
    ContentOptions, Finding, MessageEnvelope, MessageParts, Part, Refusal, Rendered, Report, Rewrite,
    SignatureRequest, SignatureVerdict, SigningInput, TemplateError, TemplateLimits, TemplateReference,
    TemplateSource, TrackOptions, Txt, ValidateOptions,
};
use relevo_mailkit::returned::ReturnedMail;
use relevo_mailkit::source::Source;

use crate::bindings::{
    content::ContentStage, dkim::DkimStage, reports::ReportsStage, template::TemplateStage,
    track::TrackStage, validate::ValidateStage,
};
use crate::call::{Broken, push};
use crate::state::enter;
use crate::{Fault, Runtime, Stage, StageStats, Stages, answer};

/// The seed of a call's randomness. The same call gets the same: what a stage returns must come out
/// the same on a retry.
fn seed(now: i64, size: u64) -> u64 {
    now.cast_unsigned().rotate_left(32) ^ size
}

/// Returns true if the tracking stage could ask for one of these parts. It decides itself; this
/// only spares an instance.
fn could_rewrite(options: &TrackOptions, parts: &[Part]) -> bool {
    let unsubscribe = options.unsubscribe_length > 0;
    let html = options.clicks || options.opens || unsubscribe;
    let text = (options.clicks && options.text_links) || unsubscribe;
    parts.iter().any(|part| {
        let typed = (html && part.media_type == "text/html") || (text && part.media_type == "text/plain");
        typed && !part.attachment && !part.sealed
    })
}

impl Stages for Runtime {
    fn validate(
        &self,
        options: ValidateOptions,
        message: &dyn Source,
    ) -> Result<Result<Report, Refusal>, Fault> {
        let (now, size) = (options.now, message.size());
        let options = options.into();
        self.run(now, seed(now, size), |store, guest: &ValidateStage| {
            let interface = guest.relevo_mail_validate();
            let validator = interface.validator();
            enter(store);
            let handle = validator.call_constructor(&mut *store, &options)?;
            push(store, message, 0, size, |store, chunk| validator.call_push(store, handle, chunk))?;
            enter(store);
            let result: Result<Report, Refusal> =
                validator.call_finish(&mut *store, handle)?.map(Into::into).map_err(Into::into);
            if let Ok(report) = &result {
                answer::parts(&report.parts, size).map_err(Broken::Answer)?;
            }
            Ok(result)
        })
    }

    fn track(&self, options: TrackOptions, parts: &[Part], message: &dyn Source) -> Result<Rewrite, Fault> {
        if !could_rewrite(&options, parts) {
            return Ok(Rewrite { edits: Vec::new(), links: Vec::new(), notes: Vec::new() });
        }
        let options = options.into();
        let index: Vec<_> = parts.iter().cloned().map(Into::into).collect();
        let size = message.size();
        self.run(0, seed(0, size), |store, guest: &TrackStage| {
            let interface = guest.relevo_mail_track();
            let rewriter = interface.rewriter();
            enter(store);
            let handle = rewriter.call_constructor(&mut *store, &options, &index)?;
            enter(store);
            let needed = rewriter.call_parts_needed(&mut *store, handle)?;
            answer::parts_needed(&needed, parts).map_err(Broken::Answer)?;
            for &number in &needed {
                let Some(part) = usize::try_from(number).ok().and_then(|n| parts.get(n)) else { continue };
                enter(store);
                rewriter.call_begin(&mut *store, handle, number)?;
                push(store, message, part.body.offset, part.body.length, |store, chunk| {
                    rewriter.call_push(store, handle, chunk)
                })?;
                enter(store);
                rewriter.call_end(&mut *store, handle)?;
            }
            enter(store);
            let rewrite = Rewrite::from(rewriter.call_finish(&mut *store, handle)?);
            answer::rewrite(&rewrite, &needed).map_err(Broken::Answer)?;
            Ok(rewrite)
        })
    }

    fn signing_input(
        &self,
        requests: Vec<SignatureRequest>,
        copy: &dyn Source,
        now: i64,
    ) -> Result<Vec<SigningInput>, Fault> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let requests: Vec<_> = requests.into_iter().map(Into::into).collect();
        let size = copy.size();
        self.run(now, seed(now, size), |store, guest: &DkimStage| {
            let interface = guest.relevo_mail_dkim();
            let signer = interface.signer();
            enter(store);
            let handle = signer.call_constructor(&mut *store, &requests)?;
            push(store, copy, 0, size, |store, chunk| signer.call_push(store, handle, chunk))?;
            enter(store);
            let result = signer.call_finish(&mut *store, handle)?;
            let inputs = result.map_err(|reason| Broken::Answer(format!("cannot sign: {reason}")))?;
            if inputs.len() != requests.len() {
                let counts = format!("{} answers for {} requests", inputs.len(), requests.len());
                return Err(Broken::Answer(counts));
            }
            Ok(inputs.into_iter().map(Into::into).collect())
        })
    }

    fn verify(
        &self,
        records: Vec<Txt>,
        message: &dyn Source,
        now: i64,
    ) -> Result<Vec<SignatureVerdict>, Fault> {
        let records: Vec<_> = records.into_iter().map(Into::into).collect();
        let size = message.size();
        self.run(now, seed(now, size), |store, guest: &DkimStage| {
            let interface = guest.relevo_mail_dkim();
            let verifier = interface.verifier();
            enter(store);
            let handle = verifier.call_constructor(&mut *store, &records, now)?;
            push(store, message, 0, size, |store, chunk| verifier.call_push(store, handle, chunk))?;
            enter(store);
            let verdicts = verifier.call_finish(&mut *store, handle)?;
            Ok(verdicts.into_iter().map(Into::into).collect())
        })
    }

    fn render(
        &self,
        source: TemplateSource,
        variables: &str,
        limits: TemplateLimits,
    ) -> Result<Result<Rendered, TemplateError>, Fault> {
        let source = source.into();
        self.run(0, seed(0, variables.len() as u64), |store, guest: &TemplateStage| {
            enter(store);
            let result =
                guest.relevo_mail_template().call_render(&mut *store, &source, variables, limits.into())?;
            Ok(result.map(Into::into).map_err(Into::into))
        })
    }

    fn references(
        &self,
        source: TemplateSource,
    ) -> Result<Result<Vec<TemplateReference>, TemplateError>, Fault> {
        let source = source.into();
        self.run(0, seed(0, 0), |store, guest: &TemplateStage| {
            enter(store);
            let result = guest.relevo_mail_template().call_references(&mut *store, &source)?;
            Ok(result.map(|all| all.into_iter().map(Into::into).collect()).map_err(Into::into))
        })
    }

    fn entity(
        &self,
        content: Rendered,
        subject: bool,
        boundary_seed: &str,
    ) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        let content = content.into();
        self.run(0, seed(0, 0), |store, guest: &TemplateStage| {
            enter(store);
            let template = guest.relevo_mail_template();
            let result = template.call_entity(&mut *store, &content, subject, boundary_seed)?;
            if let Ok(entity) = &result {
                answer::message(entity).map_err(Broken::Answer)?;
            }
            Ok(result.map_err(Into::into))
        })
    }

    fn build(
        &self,
        envelope: MessageEnvelope,
        content: Rendered,
    ) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        let now = envelope.date.unwrap_or(0);
        let (envelope, content) = (envelope.into(), content.into());
        self.run(now, seed(now, 0), |store, guest: &TemplateStage| {
            enter(store);
            let result = guest.relevo_mail_template().call_build(&mut *store, &envelope, &content)?;
            if let Ok(message) = &result {
                answer::message(message).map_err(Broken::Answer)?;
            }
            Ok(result.map_err(Into::into))
        })
    }

    fn read_report(&self, message: &dyn Source) -> Result<ReturnedMail, Fault> {
        let size = message.size();
        self.run(0, seed(0, size), |store, guest: &ReportsStage| {
            let interface = guest.relevo_mail_reports();
            let reader = interface.reader();
            enter(store);
            let handle = reader.call_constructor(&mut *store)?;
            push(store, message, 0, size, |store, chunk| reader.call_push(store, handle, chunk))?;
            enter(store);
            Ok(reader.call_finish(&mut *store, handle)?.into())
        })
    }

    fn inspect(
        &self,
        options: ContentOptions,
        message: &dyn Source,
    ) -> Result<Result<Vec<Finding>, String>, Fault> {
        let size = message.size();
        self.run(0, seed(0, size), |store, guest: &ContentStage| {
            let interface = guest.relevo_mail_content();
            let inspector = interface.inspector();
            enter(store);
            let handle = inspector.call_constructor(&mut *store, options.into())?;
            push(store, message, 0, size, |store, chunk| inspector.call_push(store, handle, chunk))?;
            enter(store);
            let result = inspector.call_finish(&mut *store, handle)?;
            Ok(result.map(|findings| findings.into_iter().map(Into::into).collect()))
        })
    }

    fn read_parts(&self, message: &dyn Source) -> Result<Result<MessageParts, String>, Fault> {
        let size = message.size();
        self.run(0, seed(0, size), |store, guest: &ContentStage| {
            let interface = guest.relevo_mail_content();
            let reader = interface.reader();
            enter(store);
            let handle = reader.call_constructor(&mut *store)?;
            push(store, message, 0, size, |store, chunk| reader.call_push(store, handle, chunk))?;
            enter(store);
            Ok(reader.call_parts(&mut *store, handle)?.map(Into::into))
        })
    }

    fn read_attachment(
        &self,
        message: &dyn Source,
        number: u32,
    ) -> Result<Result<Option<Vec<u8>>, String>, Fault> {
        let size = message.size();
        self.run(0, seed(0, size), |store, guest: &ContentStage| {
            let interface = guest.relevo_mail_content();
            let reader = interface.reader();
            enter(store);
            let handle = reader.call_constructor(&mut *store)?;
            push(store, message, 0, size, |store, chunk| reader.call_push(store, handle, chunk))?;
            enter(store);
            Ok(reader.call_attachment(&mut *store, handle, number)?)
        })
    }

    fn stats(&self) -> Vec<(Stage, StageStats)> {
        self.counted()
    }
}
