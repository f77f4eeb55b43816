//! Certification Authority Authorization (RFC 8659).

use crate::facts::{Gap, Lookups, RecordKind};

/// What the records that count say about a certificate for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authorization {
    /// There are none: any authority may issue.
    Anybody,
    /// These may.
    Only(Vec<String>),
    /// Nobody may: the records of this name forbid it.
    Nobody { name: String },
}

/// Climbs to the records that count (section 3).
pub(crate) fn authorization(host: &str, lookups: &Lookups<'_>) -> Result<Authorization, Gap> {
    let mut name = host;
    let mut gap = None;
    loop {
        match lookups.records(RecordKind::Caa, name) {
            Ok([]) => {}
            Ok(_) if gap.is_some() => {}
            Ok(records) => return Ok(judged(name, records)),
            // All names are asked for at once.
            Err(Gap::Missing) => gap = Some(Gap::Missing),
            Err(failed) => return Err(gap.unwrap_or(failed)),
        }
        match name.split_once('.') {
            Some((_, above)) => name = above,
            None => return gap.map_or(Ok(Authorization::Anybody), Err),
        }
    }
}

fn judged(name: &str, records: &[String]) -> Authorization {
    let properties: Vec<(u8, String, &str)> = records
        .iter()
        .filter_map(|text| {
            let mut parts = text.splitn(3, ' ');
            let (flags, tag) = (parts.next()?.parse().ok()?, parts.next()?.to_ascii_lowercase());
            Some((flags, tag, parts.next().unwrap_or_default()))
        })
        .collect();
    let known = ["issue", "issuewild", "issuemail", "iodef", "contactemail", "contactphone"];
    // Section 4.1: an authority that does not know a critical property must not issue.
    if properties.iter().any(|(flags, tag, _)| flags & 0x80 != 0 && !known.contains(&tag.as_str())) {
        return Authorization::Nobody { name: name.to_owned() };
    }
    let issue: Vec<&str> =
        properties.iter().filter(|(_, tag, _)| tag == "issue").map(|(.., value)| *value).collect();
    if issue.is_empty() {
        return Authorization::Anybody;
    }
    let issuers =
        issue.iter().map(|value| value.split(';').next().unwrap_or_default().trim().trim_matches('"'));
    let issuers: Vec<String> = issuers.filter(|issuer| !issuer.is_empty()).map(str::to_owned).collect();
    match issuers.is_empty() {
        true => Authorization::Nobody { name: name.to_owned() },
        false => Authorization::Only(issuers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_allow_or_forbid() {
        let of =
            |texts: &[&str]| judged("a.test", &texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        let nobody = Authorization::Nobody { name: "a.test".into() };
        assert_eq!(of(&["0 issue ;"]), nobody);
        assert_eq!(of(&["128 tbs unknown"]), nobody);
        assert_eq!(of(&["0 iodef mailto:a@b.test"]), Authorization::Anybody);
        let only = Authorization::Only(vec!["letsencrypt.org".into()]);
        assert_eq!(of(&["0 ISSUE letsencrypt.org; accounturi=x", "0 issue ;"]), only);
        assert_eq!(of(&["x"]), Authorization::Anybody);
    }
}
