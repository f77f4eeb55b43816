//! `X-Relevo-Template`: the content of a message is replaced by a rendering before it is judged.

use std::io;
use std::sync::Arc;

use relevo_mailkit::model::{Edit, Encoding, MessageOptions, Report, Segment, Span};
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_mailkit::splice::{NoLinks, Splice};
use relevo_queue::SpooledBody;

use super::checks::UncheckedMessage;
use super::preparing::Run;
use super::submission::Rejection;
use super::{not_stored, store_failed};
use crate::sandbox::{WorkClass, in_place_or_blocking};
use crate::templates::TemplateRefusal;

impl Run<'_> {
    /// The id of the template that a message of `tenant` names, and the message with the rendering in
    /// place of its content. None: it names no template.
    pub(super) async fn rendered(
        &self,
        incoming: &UncheckedMessage,
        tenant: &str,
        report: &Report,
    ) -> Result<Option<(String, SpooledBody)>, Rejection> {
        let Ok(MessageOptions { template: Some(name), variables, .. }) = &report.options else {
            return Ok(None);
        };
        let Some(templates) = &self.pipeline.templates else {
            return Err(refused("X-Relevo-Template", "there are no templates here"));
        };
        let began = self.began();
        let template = templates.find(tenant, name).await.map_err(refusal)?;
        let version = templates.published(tenant, &template.id).await.map_err(refusal)?;
        let variables = serde_json::from_str(variables.as_deref().unwrap_or("{}"))
            .map_err(|_| refused("X-Relevo-Variables", "a JSON object is wanted"))?;
        let content = templates.render(tenant, &version.content, variables).await.map_err(refusal)?;
        let (subject, seed) = (report.subject.is_empty(), self.id.to_string());
        let message = &incoming.message;
        let entity = self
            .pipeline
            .sandbox
            .run(WorkClass::Accept, tenant, message, move |stages, _| stages.entity(content, subject, &seed));
        let entity = entity.await?.map_err(|error| {
            let text = format!("the rendering cannot be sent: {}: {}", error.template, error.message);
            refused("X-Relevo-Template", &text)
        })?;
        let octets = replaced(message, report, entity).await.map_err(|e| store_failed(&e.to_string()))?;
        let body = self.spooled(&octets).await?;
        self.step("template", began, vec![format!("{} version {}", template.id, version.number)]);
        Ok(Some((template.id, body)))
    }

    async fn spooled(&self, octets: &[u8]) -> Result<SpooledBody, Rejection> {
        let mut spool = self.pipeline.queue.spool().await.map_err(|error| not_stored(&error))?;
        spool.write(octets).await.map_err(|error| not_stored(&error))?;
        spool.finish().await.map_err(|error| not_stored(&error))
    }
}

/// The header of the message without the fields that describe its content, and then the entity.
async fn replaced(message: &Arc<dyn Source>, report: &Report, entity: Vec<u8>) -> io::Result<Vec<u8>> {
    let header = report.parts.first().map_or(0, |part| part.header.end());
    let fields = report.content_fields.clone();
    let message = Arc::clone(message);
    in_place_or_blocking(message.is_in_memory(), move || {
        // The empty line that ends the header, unless the message ends with its header.
        let mut end = [0; 4];
        let from = header.saturating_sub(4);
        let read = message.read_at(from, &mut end)?;
        let last = end.get(..read.min(usize::try_from(header - from).unwrap_or(4))).unwrap_or_default();
        let cut = if last == b"\r\n\r\n" { header - 2 } else { header };
        let cut_out = |at| Edit { at, encoding: Encoding::Identity, segments: Vec::new(), part: None };
        let mut edits: Vec<Edit> = fields.into_iter().map(cut_out).collect();
        let rest = Span { offset: cut, length: message.size().saturating_sub(cut) };
        edits.push(Edit { segments: vec![Segment::Literal(entity)], ..cut_out(rest) });
        let splice = Splice::new(Vec::new(), message, edits, &NoLinks).map_err(io::Error::other)?;
        let mut octets = Vec::new();
        for_each_chunk(&splice, 0, splice.size(), |chunk| -> io::Result<()> {
            octets.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(octets)
    })
    .await
}

fn refusal(refusal: TemplateRefusal) -> Rejection {
    match refusal {
        TemplateRefusal::NotFound(reason) | TemplateRefusal::Conflict(reason) => {
            refused("X-Relevo-Template", &reason)
        }
        TemplateRefusal::Invalid { param, message } => {
            let field =
                if param.starts_with("variables") { "X-Relevo-Variables" } else { "X-Relevo-Template" };
            refused(field, &format!("{param}: {message}"))
        }
        TemplateRefusal::Unavailable => {
            Rejection::new(451, (4, 3, 0), "store-error", "templates are not available now, try again later")
        }
    }
}

fn refused(field: &str, text: &str) -> Rejection {
    Rejection::new(550, (5, 6, 0), "option-field", &format!("option-field: {field}: {text}"))
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::model::{DeclaredEncoding, Part};

    use super::*;

    fn part(header: u64, size: u64) -> Part {
        Part {
            parent: None,
            header: Span { offset: 0, length: header },
            body: Span { offset: header, length: size - header },
            media_type: "text/plain".into(),
            charset: None,
            declared: DeclaredEncoding::SevenBit,
            encoding_field: None,
            attachment: false,
            sealed: false,
            has_eight_bit: false,
            has_long_line: false,
        }
    }

    async fn of(message: &str, header: u64, fields: Vec<Span>) -> String {
        let report = Report {
            parts: vec![part(header, message.len() as u64)],
            content_fields: fields,
            ..crate::testing::report()
        };
        let source: Arc<dyn Source> = Arc::new(message.as_bytes().to_vec());
        let octets = replaced(&source, &report, b"X: y\r\n\r\nnew\r\n".to_vec()).await.expect("a message");
        String::from_utf8(octets).expect("ASCII")
    }

    #[tokio::test]
    async fn the_header_stays_but_for_what_describes_the_content() {
        let field = Span { offset: 6, length: 6 };
        assert_eq!(
            of("A: b\r\nM: x\r\n\r\nold\r\n", 14, vec![]).await,
            "A: b\r\nM: x\r\nX: y\r\n\r\nnew\r\n"
        );
        let field = vec![Span { offset: 6, ..field }];
        assert_eq!(of("A: b\r\nM: x\r\n\r\nold\r\n", 14, field.clone()).await, "A: b\r\nX: y\r\n\r\nnew\r\n");
        assert_eq!(of("A: b\r\nM: x\r\n", 12, field).await, "A: b\r\nX: y\r\n\r\nnew\r\n");
        assert_eq!(of("A: b\r\n\r\n", 8, vec![]).await, "A: b\r\nX: y\r\n\r\nnew\r\n");
    }
}
