//! The attributes by which an author keeps a link as it is.

/// When an attribute opts out.
enum When {
    /// Whatever its value.
    Present,
    /// With this value, in any case.
    Is(&'static str),
    /// With any value but this.
    IsNot(&'static str),
}

const ATTRIBUTES: [(&str, When); 7] = [
    ("clicktracking", When::Is("off")),
    ("ses:no-track", When::Present),
    ("disable-tracking", When::Is("true")),
    ("data-msys-clicktrack", When::Is("0")),
    ("mautic:disable-tracking", When::IsNot("false")),
    ("data-pm-no-track", When::Present),
    ("data-notrack", When::Present),
];

/// Whether an attribute opts its link out. `name` is in lower case.
pub(crate) fn opts_out(name: &str, value: &str) -> bool {
    let value = value.trim();
    ATTRIBUTES.iter().any(|(known, when)| {
        *known == name
            && match when {
                When::Present => true,
                When::Is(wanted) => value.eq_ignore_ascii_case(wanted),
                When::IsNot(other) => !value.eq_ignore_ascii_case(other),
            }
    })
}
