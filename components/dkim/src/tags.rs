//! What mail-auth keeps to itself about tag lists (RFC 6376 section 3.2).

/// The value of the first tag of this name, without whitespace at its ends; names are
/// case-sensitive.
pub(crate) fn value<'a>(list: &'a [u8], name: &str) -> Option<&'a [u8]> {
    list.split(|b| *b == b';').find_map(|tag| {
        let equals = memchr::memchr(b'=', tag)?;
        (tag[..equals].trim_ascii() == name.as_bytes()).then(|| tag[equals + 1..].trim_ascii())
    })
}

/// As text with everything but printable ASCII dropped; empty when there is no such tag.
pub(crate) fn text(list: &[u8], name: &str) -> String {
    value(list, name)
        .unwrap_or_default()
        .iter()
        .filter(|b| b.is_ascii_graphic())
        .map(|b| char::from(*b))
        .collect()
}

/// The field's value with that of `b=` deleted and without its CRLF, everything else as it was (RFC
/// 6376 section 3.7).
pub(crate) fn without_signature(list: &[u8]) -> Vec<u8> {
    let list = list.strip_suffix(b"\r\n").unwrap_or(list);
    let mut out = Vec::with_capacity(list.len());
    for (i, tag) in list.split(|b| *b == b';').enumerate() {
        if i > 0 {
            out.push(b';');
        }
        match memchr::memchr(b'=', tag) {
            Some(equals) if tag[..equals].trim_ascii() == b"b" => out.extend_from_slice(&tag[..=equals]),
            _ => out.extend_from_slice(tag),
        }
    }
    out
}
