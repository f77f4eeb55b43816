//! Attachments that a request names by URL.

use std::time::Duration;

use relevo_api::CheckedRequest;
use relevo_fetch::{FetchLimits, FetchRequest, Fetcher, Method};

use super::SendRefusal;

/// Octets of all attachments of a request that are fetched.
const MAX_OCTETS: usize = 40_000_000;
/// Time for one attachment.
const TIME: Duration = Duration::from_secs(20);

/// The octets of every attachment, in the order of the request.
pub(super) async fn load(fetcher: &Fetcher, request: &CheckedRequest) -> Result<Vec<Vec<u8>>, SendRefusal> {
    let mut left = MAX_OCTETS;
    let mut all = Vec::with_capacity(request.attachments.len());
    for (index, (content, asked)) in request.attachments.iter().zip(&request.request.attachments).enumerate()
    {
        if let Some(octets) = content {
            all.push(octets.clone());
            continue;
        }
        let url = asked.path.clone().unwrap_or_default();
        let octets = fetch(fetcher, url, left)
            .await
            .map_err(|reason| SendRefusal::invalid(format!("attachments[{index}].path"), reason))?;
        left = left.saturating_sub(octets.len());
        all.push(octets);
    }
    Ok(all)
}

async fn fetch(fetcher: &Fetcher, url: String, most: usize) -> Result<Vec<u8>, String> {
    let request = FetchRequest { method: Method::Get, url, headers: Vec::new(), body: Vec::new() };
    let limits = FetchLimits { time: TIME, body: most, cut: false, clear: false };
    let answer = fetcher.send(request, limits).await.map_err(|error| error.to_string())?;
    match answer.status {
        200 => Ok(answer.body),
        status => Err(format!("the URL answers {status}, not 200")),
    }
}
