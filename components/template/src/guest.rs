//! The component: the library behind the generated interface.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "template-stage" });

use exports::relevo::mail::template as wit;

relevo_mailkit::wit_conversions!(template: exports::relevo::mail::template);

struct Component;

export!(Component);

impl wit::Guest for Component {
    fn render(
        source: wit::Source,
        variables: String,
        limits: wit::Limits,
    ) -> Result<wit::Rendered, wit::TemplateError> {
        crate::render(&source.into(), &variables, &limits.into()).map(Into::into).map_err(Into::into)
    }

    fn references(source: wit::Source) -> Result<Vec<wit::Reference>, wit::TemplateError> {
        match crate::references(&source.into()) {
            Ok(references) => Ok(references.into_iter().map(Into::into).collect()),
            Err(error) => Err(error.into()),
        }
    }

    fn entity(
        content: wit::Rendered,
        subject: bool,
        boundary_seed: String,
    ) -> Result<Vec<u8>, wit::TemplateError> {
        crate::entity(&content.into(), subject, &boundary_seed).map_err(Into::into)
    }

    fn build(envelope: wit::Envelope, content: wit::Rendered) -> Result<Vec<u8>, wit::TemplateError> {
        crate::build(&envelope.into(), &content.into()).map_err(Into::into)
    }
}
