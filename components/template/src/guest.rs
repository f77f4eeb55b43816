//! The component: types converted, nothing else.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use relevo_mailkit::model;

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "template-stage" });

use exports::relevo::mail::template as wit;

struct Component;

export!(Component);

impl wit::Guest for Component {
    fn render(
        source: wit::Source,
        variables: String,
        limits: wit::Limits,
    ) -> Result<wit::Rendered, wit::TemplateError> {
        let source = model::TemplateSource {
            subject: source.subject,
            html: source.html,
            mjml: source.mjml,
            text: source.text,
        };
        let limits = model::TemplateLimits {
            max_output: limits.max_output,
            max_steps: limits.max_steps,
            max_depth: limits.max_depth,
        };
        crate::render(&source, &variables, &limits)
            .map(|r| wit::Rendered { subject: r.subject, html: r.html, text: r.text })
            .map_err(to_error)
    }

    fn build(envelope: wit::Envelope, content: wit::Rendered) -> Result<Vec<u8>, wit::TemplateError> {
        let content = model::Rendered { subject: content.subject, html: content.html, text: content.text };
        crate::build(&from_envelope(envelope), &content).map_err(to_error)
    }
}

fn to_error(e: model::TemplateError) -> wit::TemplateError {
    wit::TemplateError {
        kind: e.kind,
        template: e.template,
        path: e.path,
        line: e.line,
        column: e.column,
        message: e.message,
    }
}

fn from_mailbox(m: wit::Mailbox) -> model::Mailbox {
    model::Mailbox { name: m.name, address: m.address }
}

fn from_mailboxes(list: Vec<wit::Mailbox>) -> Vec<model::Mailbox> {
    list.into_iter().map(from_mailbox).collect()
}

fn from_envelope(e: wit::Envelope) -> model::MessageEnvelope {
    model::MessageEnvelope {
        from: from_mailbox(e.from),
        sender: e.sender.map(from_mailbox),
        to: from_mailboxes(e.to),
        cc: from_mailboxes(e.cc),
        reply_to: from_mailboxes(e.reply_to),
        fields: e.fields.into_iter().map(|f| model::ExtraField { name: f.name, value: f.value }).collect(),
        attachments: e.attachments.into_iter().map(from_attachment).collect(),
        date: e.date,
        message_id: e.message_id,
        boundary_seed: e.boundary_seed,
    }
}

fn from_attachment(a: wit::Attachment) -> model::Attachment {
    model::Attachment {
        file_name: a.file_name,
        media_type: a.media_type,
        content_id: a.content_id,
        content: a.content,
    }
}
