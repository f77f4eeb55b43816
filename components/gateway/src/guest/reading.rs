//! `/c`, `/o` and `/u` of a tracking host.

use std::time::Duration;

use futures::StreamExt;
use relevo_api::tracking::{ReportedEvent, TrackingReport};
use relevo_api::unsubscribe::UnsubscribeAction;
use relevo_mailkit::token::Kind;
use relevo_pages::ReaderAnswer;
use relevo_pages::unsubscribe::MAX_FORM;
use spin_sdk::http::{IncomingRequest, Method};

use super::core::CoreError;
use super::deadline::within;
use super::imports::Host;
use super::{Reply, config, core, field};
use crate::config::{Relay, Tracking};
use crate::emails::Surroundings;
use crate::readers::{self, PageVisit, Reader, ReaderPath};

/// Time for a form to come. What it says does not matter to RFC 8058.
const FORM_TIME: Duration = Duration::from_secs(5);
/// Time for the core to take an event. The instance is kept for it, though the reader has the answer.
const REPORT_TIME: Duration = Duration::from_secs(5);
/// Between the two times that an event is reported.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

/// Answers a reader. A click or an open is reported when the reader has the answer.
pub(super) async fn answer(request: IncomingRequest, path: ReaderPath) -> Reply {
    let Ok(settings) = config(Tracking::read) else { return reply(readers::words(503), false) };
    let reader = reader(&request, &settings);
    let only_looks = reader.only_looks;
    let action = match (request.method(), path.kind, path.button) {
        (Method::Get | Method::Head, Kind::Unsubscribe, None) => UnsubscribeAction::Show,
        (Method::Post, Kind::Unsubscribe, button) => button.unwrap_or(UnsubscribeAction::Leave),
        (Method::Get | Method::Head, Kind::Click | Kind::Open, None) => {
            let (answer, event) = readers::visit(&settings, &path, &reader, Host.now());
            let afterwards = event.map(|event| Box::pin(report(event)) as _);
            return Reply { afterwards, ..reply(answer, only_looks) };
        }
        _ => {
            let mut answer = readers::words(405);
            answer.fields.push(("allow", path.methods().to_owned()));
            return reply(answer, only_looks);
        }
    };
    let is_one_click = path.button.is_none() && action == UnsubscribeAction::Leave;
    let visit = PageVisit { token: &path.token, reader: &reader, action, is_one_click };
    reply(unsubscribe(&settings, &visit, request).await, only_looks)
}

/// The answer without its body for those who only look.
fn reply(mut answer: ReaderAnswer, only_looks: bool) -> Reply {
    if only_looks {
        answer.body.clear();
    }
    Reply { answer: answer.into(), afterwards: None }
}

fn reader(request: &IncomingRequest, settings: &Tracking) -> Reader {
    let text = |name| field(request, name).and_then(|value| String::from_utf8(value).ok());
    // A host that adds its field behind one of the client is believed, the client is not.
    let address = request.headers().get(&settings.address_field).pop();
    let address = address.and_then(|value| readers::client_address(std::str::from_utf8(&value).ok()?));
    Reader {
        host: request.authority().or_else(|| text("host")).unwrap_or_default(),
        only_looks: request.method() == Method::Head,
        user_agent: text("user-agent"),
        address,
        languages: text("accept-language").unwrap_or_default(),
    }
}

/// Asks the core. One-click is answered when the core has it on disk.
async fn unsubscribe(settings: &Tracking, visit: &PageVisit<'_>, request: IncomingRequest) -> ReaderAnswer {
    if !readers::is_genuine(settings, &visit.reader.host, visit.token) {
        return visit.answer(422, b"");
    }
    let form = match visit.action {
        UnsubscribeAction::Show => Vec::new(),
        _ => form(request).await,
    };
    let Ok(relay) = config(Relay::read) else { return visit.answer(503, b"") };
    let Ok(body) = serde_json::to_vec(&visit.question(&form)) else { return visit.answer(503, b"") };
    match core::ask(&relay, (Method::Post, "/relay/unsubscribe"), &[], body).await {
        Ok(answer) => visit.answer(answer.status, &answer.body),
        Err(_) => visit.answer(503, b""),
    }
}

/// The form, if it comes whole, in time, and is no longer than any that the page sends.
async fn form(request: IncomingRequest) -> Vec<u8> {
    let read = async {
        let mut form = Vec::new();
        let mut stream = std::pin::pin!(request.into_body_stream());
        while let Some(Ok(chunk)) = stream.next().await {
            form.extend(chunk);
            if form.len() > MAX_FORM {
                return Vec::new();
            }
        }
        form
    };
    within(FORM_TIME, read).await.unwrap_or_default()
}

/// Tells the core about an event, once more if that fails. The report is the same both times, so it
/// counts once. An event is lost if the core is away for longer: no reader waits for it.
async fn report(event: ReportedEvent) {
    let Ok(relay) = config(Relay::read) else { return };
    let Ok(body) = serde_json::to_vec(&TrackingReport { events: vec![event] }) else { return };
    let tell = || async {
        let told = core::ask(&relay, (Method::Post, "/relay/events"), &[], body.clone());
        within(REPORT_TIME, told).await.unwrap_or(Err(CoreError::Silent))
    };
    let mut told = tell().await;
    if told.as_ref().map_or(true, |answer| answer.status == 429 || answer.status >= 500) {
        within(REPORT_PAUSE, std::future::pending::<()>()).await;
        told = tell().await;
    }
    match told {
        Ok(answer) if answer.status == 202 => {}
        Ok(answer) => eprintln!("the core does not take an event: status {}", answer.status),
        Err(_) => eprintln!("an event is lost: the core is away"),
    }
}
