//! Lists of tags (RFC 6376 section 3.2): `name=value; name=value`.

/// The tags in their order: names in lower case, values without the white space around them. A tag
/// that is there twice, or has no `=`, is a mistake.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for part in text.split(';') {
        let part = part.trim_matches(is_space);
        if part.is_empty() {
            continue;
        }
        let Some((name, value)) = part.split_once('=') else {
            return Err(format!("`{}` has no `=`", crate::check::shown(part)));
        };
        let name = name.trim_matches(is_space).to_ascii_lowercase();
        if tags.iter().any(|(known, _)| *known == name) {
            return Err(format!("`{}` is there twice", crate::check::shown(&name)));
        }
        tags.push((name, value.trim_matches(is_space).to_owned()));
    }
    Ok(tags)
}

/// The value of a tag.
pub(crate) fn value<'t>(tags: &'t [(String, String)], name: &str) -> Option<&'t str> {
    tags.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_with_their_white_space_and_case() {
        let tags = parse(" V=DMARC1 ;\tp = none ; ; rua=mailto:a@b.test;").expect("a list");
        assert_eq!(tags[0], ("v".to_owned(), "DMARC1".to_owned()));
        assert_eq!((value(&tags, "p"), value(&tags, "sp")), (Some("none"), None));
        assert!(parse("v=DKIM1; p").is_err() && parse("p=a; P=b").is_err());
    }
}
