//! A form that came after its session had ended: it is kept in the page for signing in, and offered
//! again after that.

use axum::body::Body;
use axum::http::{HeaderMap, header};

use crate::forms::{Fields, form_body};

/// Octets of a form that is kept. It is sent to somebody who has not signed in, escaped, and comes back
/// encoded twice.
const MAX_KEPT: usize = 128 << 10;

/// Where somebody wants to go once they have signed in, and the form that they sent there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CarriedForm {
    /// A path of the panel; empty: the first page.
    pub(super) next: String,
    /// The form as it was sent; empty: none.
    pub(super) body: String,
    /// There was a form, and it cannot be kept: a file.
    pub(super) is_lost: bool,
}

impl CarriedForm {
    /// Where a link leads to.
    pub(super) fn to(next: &str) -> Self {
        Self { next: safe(next).to_owned(), ..Self::default() }
    }

    /// The form of a request without a session.
    pub(super) async fn read(place: &str, fields: &HeaderMap, body: Body) -> Self {
        let media_type = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_form = media_type.unwrap_or_default().starts_with("application/x-www-form-urlencoded");
        let octets = if is_form && !is_private(place) { form_body(body, MAX_KEPT).await.ok() } else { None };
        let text = octets.and_then(|octets| String::from_utf8(octets.to_vec()).ok());
        let text = text.filter(|text| !text.contains("password"));
        let is_lost = text.is_none();
        Self { next: safe(place).to_owned(), body: text.unwrap_or_default(), is_lost }
    }

    /// From the page for signing in.
    pub(super) fn of(fields: &Fields) -> Self {
        Self {
            next: safe(fields.get("_next")).to_owned(),
            body: fields.get("_body").to_owned(),
            is_lost: false,
        }
    }

    /// The fields of the form, without the proof of its session.
    pub(super) fn fields(&self) -> Fields {
        Fields::read(self.body.as_bytes())
    }
}

/// Forms of the own account: whoever signs in next may be somebody else.
fn is_private(place: &str) -> bool {
    place.starts_with("/panel/account")
}

/// A path below the panel, or nothing: nobody is sent to another site.
fn safe(next: &str) -> &str {
    let is_path = next == "/panel" || next.starts_with("/panel/") || next.starts_with("/panel?");
    let is_plain =
        next.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\') && !next.contains("//");
    let place = next.split('?').next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    let is_plain = is_plain && !place.split('/').any(|segment| [".", ".."].contains(&segment));
    let is_sign_in = ["/panel/sign", "/panel/oidc", "/panel/link"].iter().any(|own| next.starts_with(own));
    if is_path && is_plain && !is_sign_in && next.len() < 2_000 { next } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_away_from_the_panel() {
        assert_eq!(safe("/panel/t/acme/messages?q=1"), "/panel/t/acme/messages?q=1");
        for bad in [
            "//evil.test",
            "https://evil.test",
            "/panel/..//evil",
            "/panel\\evil",
            "/panelx",
            "/panel/\n",
            "/panel/sign-out",
        ] {
            assert_eq!(safe(bad), "", "{bad}");
        }
    }

    #[tokio::test]
    async fn a_form_is_kept() {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().expect("a value"));
        let form = CarriedForm::read("/panel/t/a/topics", &fields, Body::from("_csrf=x&name=A+b")).await;
        assert_eq!(form.fields().iter().collect::<Vec<_>>(), [("name", "A b")]);
        for (place, body) in [
            ("/panel/account", "name=A".to_owned()),
            ("/panel/x", "password=A".to_owned()),
            ("/panel/x", "x".repeat(MAX_KEPT + 1)),
        ] {
            let form = CarriedForm::read(place, &fields, Body::from(body)).await;
            assert!(form.is_lost && form.body.is_empty(), "{place}");
        }
        let file = CarriedForm::read("/panel/t/a/topics", &HeaderMap::new(), Body::from("x")).await;
        assert!(file.is_lost && file.body.is_empty());
    }
}
