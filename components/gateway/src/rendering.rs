//! `POST /render`: what would be sent.

use relevo_api::content::LIMITS;
use relevo_api::template::{RenderAnswer, RenderRequest};
use relevo_api::{InvalidRequest, Problem};

use crate::emails::Template;
use crate::templates::Templates;

/// Reads a request.
///
/// # Errors
/// Every mistake that the native API would name.
pub fn read(body: &[u8]) -> Result<RenderRequest, InvalidRequest> {
    let request: RenderRequest = relevo_api::json::read(body)?;
    request.check().map_err(|problem| InvalidRequest::Fields(vec![problem]))?;
    Ok(request)
}

/// Renders the sources of the request, or the template that it names.
///
/// # Errors
/// What is wrong with a source, or the variable that is not given.
pub fn render(
    request: &RenderRequest,
    templates: &Templates,
    template: &dyn Template,
) -> Result<RenderAnswer, Problem> {
    let stored = request.template.as_ref().map(|choice| templates.get(&choice.id)).transpose()?;
    let call = request.call(stored);
    let variables = call.variables_json();
    let rendered = template.render(call.source, &variables, LIMITS);
    rendered.map(RenderAnswer::from).map_err(|error| request.problem(&error))
}
