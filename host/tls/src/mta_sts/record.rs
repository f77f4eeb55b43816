//! The TXT record at `_mta-sts.DOMAIN` (RFC 8461 section 3.1).

/// The longest id.
const MAX_ID: usize = 32;

/// A record that says that there is a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRecord {
    /// Changes when the policy changes: 1 to 32 letters and digits.
    pub id: String,
}

impl StsRecord {
    /// Reads the text of a TXT record. None: it is no valid record.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(';');
        let version = fields.next()?.trim_end_matches([' ', '\t']);
        if version != "v=STSv1" {
            return None;
        }
        let mut id = None;
        for field in fields {
            let field = field.trim_matches([' ', '\t']);
            // The last `;` may end the record.
            if field.is_empty() {
                continue;
            }
            let (name, value) = field.split_once('=')?;
            if name == "id" && id.is_none() {
                let is_valid = (1..=MAX_ID).contains(&value.len())
                    && value.bytes().all(|octet| octet.is_ascii_alphanumeric());
                if !is_valid {
                    return None;
                }
                id = Some(value.to_owned());
            }
        }
        Some(Self { id: id? })
    }
}

/// The record among the TXT records of a name. Several records, or one that is not valid, are none.
#[must_use]
pub fn find_record(texts: &[String]) -> Option<StsRecord> {
    let mut records = texts.iter().filter(|text| {
        text.strip_prefix("v=STSv1").is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with(';'))
    });
    match (records.next(), records.next()) {
        (Some(text), None) => StsRecord::parse(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_strictly() {
        let id = |text: &str| StsRecord::parse(text).map(|record| record.id);
        for good in ["v=STSv1; id=20160831085700Z;", "v=STSv1;id=1", "v=STSv1 ; x=y; id=a ; id=b"] {
            assert!(id(good).is_some(), "{good}");
        }
        assert_eq!(id("v=STSv1; id=a; id=b").as_deref(), Some("a"), "the first counts");
        let long = format!("v=STSv1; id={}", "a".repeat(33));
        for bad in ["", "v=STSv1", "v=STSv1;", "v=STSv2; id=1", "id=1; v=STSv1", "v=STSv1; id=", &long] {
            assert_eq!(id(bad), None, "{bad}");
        }
        for bad in ["v=STSv1; id=a-b", " v=STSv1; id=1", "v=STSv1; id", "v=stsv1; id=1"] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_record_counts_among_others() {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert!(find_record(&texts(&["v=spf1 -all", "v=STSv1; id=1"])).is_some());
        assert!(find_record(&texts(&["v=STSv1; id=1", "v=STSv1; id=2"])).is_none());
        assert!(find_record(&[]).is_none());
    }
}
