//! Conditional comments of MJML documents, as far as the tokenizer beneath mrml can read them.
//!
//! It panics on others, which in the sandbox is a trap; so they are found before it sees them.

/// How conditional comments begin, and how far behind that what is read up to a `]` begins.
const OPENERS: [(&str, usize); 4] = [("<!--[if", 5), ("<![if", 3), ("<![endif]", 3), ("<!--<![endif", 7)];
/// The beginning of an opener above without which it is not one.
const HALF: &str = "<![endif";
/// What may stand behind the `]`.
const CLOSERS: [&str; 3] = [">", "-->", "><!-->"];

/// Where a conditional comment begins that does not end as it must. Also looked for within comments
/// and attributes: where it would not be read as one, it is not meant to be one either.
pub(crate) fn malformed(source: &str) -> Option<usize> {
    source.match_indices("<!").map(|(at, _)| at).find(|at| !is_well_formed(&source[*at..]))
}

/// `rest` begins with `<!`.
fn is_well_formed(rest: &str) -> bool {
    let Some((_, skipped)) = OPENERS.iter().find(|(opener, _)| rest.starts_with(opener)) else {
        return !rest.starts_with(HALF);
    };
    rest[*skipped..]
        .split_once(']')
        .is_some_and(|(_, behind)| CLOSERS.iter().any(|closer| behind.starts_with(closer)))
}

#[cfg(test)]
mod tests {
    use super::malformed;

    #[test]
    fn those_in_use_are_well_formed() {
        for source in [
            "<!--[if mso | IE]><table><![endif]-->",
            "<!--[if !mso]><!--><p></p><!--<![endif]-->",
            "<![if !IE]><p></p><![endif]>",
            "<!--[if gte mso 9]>--><b/><!--<![endif]-->",
            "<!-- comment --><![CDATA[ x ]]><!DOCTYPE mjml>",
        ] {
            assert_eq!(malformed(source), None, "{source}");
        }
    }

    /// The tokenizer panics on these.
    #[test]
    fn those_that_do_not_end_are_found() {
        for source in [
            "<!--[if mso",
            "<!--[if mso]",
            "<!--[if mso] >",
            "<!--[if (a[0])]x>",
            "<![if",
            "<![if x]<",
            "<![endif",
            "<![endif -->",
            "<![endif]",
            "<![endif]--",
            "<!--<![endif",
            "<!--<![endif]",
        ] {
            assert_eq!(malformed(&format!("<p>{source}")), Some(3), "{source}");
        }
    }
}
