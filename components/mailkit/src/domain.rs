//! Domain names.

/// Second labels under which registries of countries let others register, as in `co.uk`.
const REGISTRY_LABELS: [&str; 10] = ["ac", "co", "com", "edu", "gob", "gov", "ne", "net", "or", "org"];

/// The domain that somebody registered: the last two labels of a name, or three under a registry's
/// own second level. None: the name has too few labels.
///
/// A rule of thumb instead of the list of public suffixes. `name` is lower case, without a final dot,
/// and no address.
#[must_use]
pub fn registrable(name: &str) -> Option<&str> {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let (last, second) = (dots.next()?, dots.next());
    let label = &name[second.map_or(0, |at| at + 1)..last];
    let is_registry = name.len() - last == 3 && REGISTRY_LABELS.contains(&label);
    match (is_registry, second) {
        (false, second) => Some(&name[second.map_or(0, |at| at + 1)..]),
        (true, None) => None,
        (true, Some(_)) => Some(&name[dots.next().map_or(0, |at| at + 1)..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_domains_are_told_from_registries() {
        for (name, expected) in [
            ("example.com", Some("example.com")),
            ("mx1.mail.example.com", Some("example.com")),
            ("mx.example.co.uk", Some("example.co.uk")),
            ("example.co.uk", Some("example.co.uk")),
            ("co.uk", None),
            ("co.example", Some("co.example")),
            ("com", None),
            ("", None),
        ] {
            assert_eq!(registrable(name), expected, "{name}");
        }
    }
}
