//! `POST /render`.

use spin_sdk::http::IncomingRequest;

use super::imports::Import;
use super::{bounded, config, templates};
use crate::answer::Answer;
use crate::config::Relay;
use crate::rendering;
use crate::templates::Templates;

/// Renders what a request asks for. The core is only asked for a stored template.
pub(super) async fn render(request: IncomingRequest) -> Result<Answer, Answer> {
    super::authorize(&request)?;
    let body = bounded(request).await?;
    let request = rendering::read(&body).map_err(|invalid| Answer::invalid(&invalid))?;
    drop(body);
    let templates = match &request.template {
        Some(choice) => {
            let relay = config(Relay::read)?;
            templates::fetch(&relay, [(choice.id.clone(), choice.version)]).await?
        }
        None => Templates::default(),
    };
    match rendering::render(&request, &templates, &Import) {
        Ok(rendered) => Ok(Answer::json(200, &rendered)),
        Err(problem) => Err(Answer::invalid(&relevo_api::InvalidRequest::Fields(vec![problem]))),
    }
}
