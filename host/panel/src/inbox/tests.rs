use super::*;
use crate::visitor::UserRole;

const EVIL: &str = "<script>alert(1)</script>\u{202e}\u{7}\"' onload=x ]]>-->";

fn reader(tag: &str) -> (Language, Visitor) {
    let visitor = Visitor {
        name: EVIL.into(),
        email: EVIL.into(),
        tenant: Some(EVIL.into()),
        role: UserRole::Operator,
        language: None,
        csrf: "proof".into(),
        is_open: true,
    };
    (Language::tagged(tag), visitor)
}

fn row() -> MessageRow {
    MessageRow {
        n: 7,
        from: EVIL.into(),
        to: EVIL.into(),
        subject: EVIL.into(),
        marks: vec![(EVIL.into(), true), (EVIL.into(), false)],
        size: 12_345,
        received: EVIL.into(),
    }
}

fn parts() -> MessageParts {
    MessageParts {
        row: row(),
        id: EVIL.into(),
        signatures: vec![SignatureRow { pass: false, detail: EVIL.into(), tags: EVIL.into() }],
        stages: vec![StageRow { name: EVIL.into(), micros: 0, summary: EVIL.into() }],
        preview: Some(PreviewOptions { phone: true, dark: false, images: true }),
        text: Some(EVIL.into()),
        checks: Some(vec![CheckRow {
            check: EVIL.into(),
            severity: CheckSeverity::Warning,
            message: EVIL.into(),
            location: Some(EVIL.into()),
        }]),
        links: vec![LinkRow { url: format!("javascript:{EVIL}"), destination: Some(EVIL.into()) }],
        attachments: vec![AttachmentRow { index: 0, name: EVIL.into(), media_type: EVIL.into(), size: 1 }],
        fields: vec![HeaderField { name: EVIL.into(), value: EVIL.into() }],
        raw: EVIL.into(),
        release: Some(ReleaseForm {
            server: EVIL.into(),
            to: "a\"<b>".into(),
            outcome: Some(Err(EVIL.into())),
        }),
    }
}

#[test]
fn nothing_of_a_message_becomes_markup() {
    for reader in ["en", "es"].map(reader) {
        let pages = [
            list(reader.clone(), EVIL, &[row()], (Some(3), false)).expect("a page"),
            list(reader.clone(), EVIL, &[], (None, true)).expect("a page"),
            message(reader.clone(), &parts()).expect("a page"),
        ];
        for page in pages {
            assert!(!page.contains("<script>") && !page.contains("\" onload"), "{page}");
            assert!(!page.contains(['\u{7}', '\u{202e}']), "{page}");
            assert!(!page.contains("href=\"javascript"), "{page}");
            // The policy allows neither.
            assert!(!page.contains("style=") && !page.contains("<style"), "{page}");
        }
    }
}

#[test]
fn a_preview_is_chosen_by_links() {
    let page = message(reader("en"), &parts()).expect("a page");
    assert!(page.contains("<iframe class=\"phone\""), "{page}");
    assert!(page.contains("src=\"/panel/inbox/7/html?images=1\""), "{page}");
    assert!(page.contains("href=\"?width=phone&amp;scheme=dark&amp;images=1#preview\""), "{page}");
    assert!(page.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""), "{page}");
}

#[test]
fn a_page_of_the_list_is_small() {
    let rows: Vec<_> = (0..ROWS as u64).map(|n| MessageRow { n, ..row() }).collect();
    let page = list(reader("en"), "", &rows, (Some(3), true)).expect("a page");
    assert!(page.len() < 100_000, "{}", page.len());
}
