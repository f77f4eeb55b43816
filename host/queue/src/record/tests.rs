use proptest::prelude::*;
use relevo_mailkit::dsn::{Notify, RecipientDsn};

use super::*;
use crate::QueueKeyParts;

fn said(text: &str) -> LastAttempt {
    LastAttempt { text: text.into(), code: Some(450), ..LastAttempt::default() }
}

fn delivery() -> DeliveryRecord {
    let recipient =
        |index, state| Recipient { state, ..Recipient::pending(index, format!("{index}@x.test")) };
    DeliveryRecord {
        key: QueueKeyParts { domain: "x.test".into(), pool: "bulk".into(), ..QueueKeyParts::default() }
            .into(),
        hold_reason: Some("later".into()),
        priority: 3,
        recipients: vec![
            recipient(0, RecipientState::Failed { reported: false }),
            Recipient { delay_report_at: Some(9), ..recipient(1, RecipientState::Pending) },
            recipient(3, RecipientState::Relayed),
            Recipient {
                dsn: RecipientDsn { notify: Some(Notify::SUCCESS), orcpt: None },
                ..recipient(2, RecipientState::Delivered)
            },
        ],
        due_at: 5,
        held: true,
        attempts: 1,
        last: Some(said("b")),
        reasons: vec![(0, said("a"))],
    }
}

/// A record whose content is this CBOR.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(content);
    let sum = checksum(b"k", &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn another_version_is_refused_by_number() {
    for other in [VERSION - 1, VERSION + 1] {
        let mut bytes = seal(b"k", &delivery()).expect("encodes");
        bytes[0] = other;
        let content = bytes.len() - 4;
        let sum = checksum(b"k", &bytes[..content]);
        bytes[content..].copy_from_slice(&sum.to_le_bytes());
        let refused = unseal::<DeliveryRecord>(b"k", &bytes);
        assert_eq!(refused, Err(format!("record version {other} is not known")));
    }
}

#[test]
fn a_record_is_read_under_its_key_only() {
    let bytes = seal(b"k", &delivery()).expect("encodes");
    assert_eq!(unseal(b"k", &bytes), Ok(delivery()));
    assert!(unseal::<DeliveryRecord>(b"l", &bytes).is_err());
    assert!(unseal::<DeliveryRecord>(b"k", &bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn those_that_failed_earlier_keep_what_was_learnt() {
    let mut record = delivery();
    record.learn(&said("c"), &[]);
    let learnt = [0, 1].map(|i| record.reason(i).map(|l| l.text.clone()));
    assert_eq!(learnt, [Some("a".to_owned()), Some("c".to_owned())]);
}

proptest! {
    /// A later version adds fields: this one reads what it knows of them.
    #[test]
    fn unknown_fields_are_skipped_and_missing_ones_default(
        unknown in proptest::collection::btree_map(30..1000_u32, proptest::collection::vec(any::<u8>(), 0..20), 0..5),
        priority in proptest::option::of(any::<i8>()),
        attempts in proptest::option::of(any::<u32>()),
    ) {
        let mut e = minicbor::Encoder::new(Vec::new());
        e.begin_map().unwrap();
        for (number, value) in &unknown {
            e.u32(*number).unwrap().bytes(value).unwrap();
        }
        e.u8(0).unwrap().encode(QueueKey::of_domain("x.test")).unwrap();
        e.u8(3).unwrap().encode(delivery().recipients).unwrap();
        e.u8(4).unwrap().i64(7).unwrap();
        if let Some(priority) = priority {
            e.u8(2).unwrap().i8(priority).unwrap();
        }
        if let Some(attempts) = attempts {
            e.u8(6).unwrap().u32(attempts).unwrap();
        }
        e.end().unwrap();
        let want = DeliveryRecord {
            priority: priority.unwrap_or(0),
            attempts: attempts.unwrap_or(0),
            ..DeliveryRecord::new(NewDelivery {
                key: QueueKey::of_domain("x.test"),
                recipients: delivery().recipients,
                due_at: 7,
                ..NewDelivery::default()
            })
        };
        prop_assert_eq!(unseal(b"k", &sealed(&e.into_writer())), Ok(want));
    }

    #[test]
    fn octets_of_any_kind_are_refused_without_a_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = sealed(&content);
        let _ = unseal::<DeliveryRecord>(b"k", &bytes);
        let _ = unseal::<ItemRecord>(b"k", &bytes);
        let _ = unseal::<EventRecord>(b"k", &bytes);
    }
}
