//! Which language a reader wants.

/// Ranges of a field that are read. Nobody sends more.
const MAX_RANGES: usize = 50;

/// The tag that an Accept-Language field (RFC 9110 section 12.5.4) wants most, of those that are
/// `known`, in lower case: a whole tag, or its primary part. None: it wants no known one.
#[must_use]
pub fn wanted(field: &str, known: impl Fn(&str) -> bool) -> Option<String> {
    let mut best: Option<(u32, String)> = None;
    for range in field.split(',').take(MAX_RANGES) {
        let mut parameters = range.split(';');
        let tag = parameters.next().unwrap_or_default().trim().to_ascii_lowercase();
        let weight = parameters.find_map(|p| p.trim().strip_prefix("q=")).map_or(Some(1000), weight);
        let primary = tag.split('-').next().unwrap_or_default();
        let found = [tag.as_str(), primary].into_iter().find(|tag| known(tag));
        if let (Some(found), Some(weight @ 1..)) = (found, weight)
            && best.as_ref().is_none_or(|(most, _)| weight > *most)
        {
            best = Some((weight, found.to_owned()));
        }
    }
    best.map(|(_, tag)| tag)
}

/// Thousandths of a weight.
fn weight(text: &str) -> Option<u32> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_weight = matches!(whole, "0" | "1") && fraction.len() <= 3;
    let thousandths: u32 = format!("{fraction:0<3}").parse().ok()?;
    is_weight.then(|| (if whole == "1" { 1000 } else { 0 }) + thousandths).filter(|weight| *weight <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_wanted_most_is_taken() {
        for (field, tag) in [
            ("", None),
            ("es", Some("es")),
            ("es-MX,es;q=0.9,en;q=0.8", Some("es")),
            ("de,es;q=0.5,en;q=0.7", Some("en")),
            ("en;q=0.1, ES-419", Some("es")),
            ("es;q=0, en;q=0.1", Some("en")),
            ("es;q=0", None),
            ("*", None),
            ("fr", None),
            ("es;q=nonsense", None),
            ("es;q=1.5", None),
        ] {
            let found = wanted(field, |tag| matches!(tag, "en" | "es"));
            assert_eq!(found.as_deref(), tag, "{field}");
        }
    }
}
