use super::*;
use crate::model::{Algorithm, SigningInput, Span};
use proptest::prelude::*;

#[test]
fn well_formed_fields() {
    for block in [
        &b""[..],
        b"A: b\r\n",
        b"A:\r\n",
        b"A: b\r\n c\r\nB:\td\r\n",
        b"A:\r\n b\r\n",
        b"Subject: \xc3\xa9\r\n",
    ] {
        assert_eq!(header_fields(block), Ok(()), "{}", block.escape_ascii());
    }
}

#[test]
fn malformed_fields() {
    let long = [&b"A: "[..], &[b'x'; 996], b"\r\n"].concat();
    for (block, word) in [
        (&b"A: b"[..], "end with CRLF"),
        (b"A: b\n", "end with CRLF"),
        (b"A: b\nB: c\r\n", "bare"),
        (b"A: b\rB: c\r\n", "bare"),
        (b"A: b\r\r\n", "bare"),
        (b"\r\n", "colon"),
        (b"A: b\r\n\r\nbody\r\n", "colon"),
        (b" A: b\r\n", "begins with a folded"),
        (b"A: b\r\n \r\n", "nothing but white space"),
        (b"A: b\r\n\t \r\nB: c\r\n", "nothing but white space"),
        (b"A b\r\n", "colon"),
        (b": b\r\n", "no name"),
        (b"A : b\r\n", "name"),
        (b"\xc3\xa9: b\r\n", "name"),
        (b"A: \0\r\n", "control"),
        (b"A: \x1b[2J\r\n", "control"),
        (&long, "998"),
    ] {
        let error = header_fields(block).unwrap_err();
        assert!(error.contains(word), "{}: {error}", block.escape_ascii());
    }
    assert_eq!(header_fields(&[&b"A: "[..], &[b'x'; 995], b"\r\n"].concat()), Ok(()));
}

fn edit(offset: u64, length: u64, encoding: Encoding, segment: Segment) -> Edit {
    Edit { at: Span { offset, length }, encoding, segments: vec![segment], part: None }
}

#[test]
fn edits_smuggle_nothing() {
    let literal = |text: &[u8]| Segment::Literal(text.to_vec());
    let check = |e: Edit| edits(&[e], 10, 2);
    assert_eq!(check(edit(0, 1, Encoding::Identity, literal(b"a\r\nb"))), Ok(()));
    for bare in [&b"a\nb"[..], b"a\rb", b"a\r", b"\n", b"\r\n.\n", b"a\0"] {
        assert!(check(edit(0, 1, Encoding::Identity, literal(bare))).is_err(), "{}", bare.escape_ascii());
        // Encoded they are harmless.
        assert_eq!(check(edit(0, 1, Encoding::QuotedPrintable, literal(bare))), Ok(()));
        assert_eq!(check(edit(0, 1, Encoding::Base64, literal(bare))), Ok(()));
    }
    assert_eq!(check(edit(0, 1, Encoding::Identity, Segment::Click(1))), Ok(()));
    assert!(check(edit(0, 1, Encoding::Identity, Segment::Click(2))).is_err());
    assert!(check(edit(5, 6, Encoding::Identity, Segment::Open)).is_err());
    assert!(check(edit(0, 1, Encoding::Identity, Segment::Source(Span { offset: 9, length: 2 }))).is_err());
}

#[test]
fn only_crlf_ends_lines() {
    let check = |chunks: &[&[u8]]| {
        let mut lines = LineEnds::default();
        chunks.iter().try_for_each(|c| lines.push(c)).and_then(|()| lines.finish())
    };
    assert_eq!(check(&[b"a\r\nb\r", b"\nc\x01\xff"]), Ok(()));
    assert_eq!(check(&[b"a\r", b"b"]), Err(LineEndError::BareCr));
    assert_eq!(check(&[b"a\r\r\n"]), Err(LineEndError::BareCr));
    assert_eq!(check(&[b"a\r"]), Err(LineEndError::BareCr));
    assert_eq!(check(&[b"a\r\n", b"\n.\n"]), Err(LineEndError::BareLf));
    assert_eq!(check(&[b"a\r", b"\0"]), Err(LineEndError::BareCr));
    assert_eq!(check(&[b"a\0"]), Err(LineEndError::Nul));
    let mut lines = LineEnds::default();
    assert!(lines.ends_with_line());
    lines.push(b"a\r").unwrap();
    assert!(!lines.ends_with_line());
    lines.push(b"\n").unwrap();
    assert!(lines.ends_with_line());
}

const TAGS: &str = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=s1; t=100; x=200; h=From:To:From; \
                    bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=";
const FIELDS: &str = "from:Joe <joe@example.com>\r\nto:a@example.net\r\n";
const FROM: &[u8] = b"From: Joe  <joe@example.com> ";

/// Relaxed: the field folded where the canonical form has a space.
fn relaxed(fields: &str, tags: &str) -> SigningInput {
    SigningInput {
        to_sign: format!("{fields}dkim-signature:{tags}").into_bytes(),
        field: format!("DKIM-Signature: {}", tags.replace("; ", ";\r\n\t")).into_bytes(),
    }
}

fn check(unsigned: &SigningInput) -> Result<(), &'static str> {
    signing_input(unsigned, "example.com", "s1", Algorithm::RsaSha256, FROM)
}

#[test]
fn what_was_granted_passes() {
    assert_eq!(check(&relaxed(FIELDS, TAGS)), Ok(()));
    for tags in [
        TAGS.replace("x=200; ", ""),
        TAGS.replace("t=100; x=200; ", ""),
        TAGS.replace("s=s1;", "s=s1; q=dns/txt; i=@example.com;"),
        TAGS.replace("relaxed/relaxed", "relaxed/simple"),
    ] {
        assert_eq!(check(&relaxed(FIELDS, &tags)), Ok(()), "{tags}");
    }
    // A relaxed field may be longer than a line.
    let many = format!("from:Joe <joe@example.com>\r\nto:{}\r\n", "a@example.net, ".repeat(100).trim_end());
    assert_eq!(check(&relaxed(&many, TAGS)), Ok(()));
}

/// A signer that sees no message has all rules but those about it.
#[test]
fn what_needs_no_message_is_checked_without_one() {
    let check = |octets: &[u8]| to_sign(octets, "example.com", "s1", Algorithm::RsaSha256);
    let good = relaxed(FIELDS, TAGS).to_sign;
    assert_eq!(check(&good), Ok(()));
    let anybody = relaxed("from:Eve <eve@example.net>\r\nto:x\r\n", TAGS).to_sign;
    assert_eq!(check(&anybody), Ok(()), "whose From it is, the signer cannot know");
    let text = String::from_utf8(good.clone()).unwrap();
    for (from, to) in [
        ("d=example.com", "d=example.org"),
        ("s=s1", "s=s2"),
        ("a=rsa-sha256", "a=ed25519-sha256"),
        ("t=100;", "t=100; l=0;"),
        ("; b=", "; b=AAAA"),
        ("h=From:To:From", "h=To"),
        ("from:Joe <joe@example.com>\r\n", ""),
        ("v=1; a=", "v=1;  a="),
        ("to:", "to: "),
    ] {
        let bad = text.replacen(from, to, 1);
        assert_ne!(bad, text, "{from}");
        assert!(check(bad.as_bytes()).is_err(), "{bad}");
    }
    for bad in [&b""[..], b"\r\n", b"digest", &[good.as_slice(), b"\r\n"].concat()] {
        assert!(check(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn simple_canonicalisation_keeps_fields_as_they_are() {
    let tags = TAGS.replace("relaxed/relaxed", "simple/simple").replace("; s=", ";\r\n s=");
    let field = format!("DKIM-Signature: {tags}").into_bytes();
    let fields = "From: Joe\r\n <joe@example.com>\r\nTo: a@example.net\r\n";
    let to_sign = [fields.as_bytes(), &field].concat();
    assert_eq!(check(&SigningInput { to_sign: to_sign.clone(), field: field.clone() }), Ok(()));
    let refolded = field.escape_ascii().to_string().replace("\\r\\n s", " s").into_bytes();
    assert!(check(&SigningInput { to_sign, field: refolded }).is_err());
}

#[test]
fn tags_that_were_not_granted_are_refused() {
    for (from, to) in [
        ("d=example.com", "d=example.org"),
        ("d=example.com", "d=sub.example.com"),
        ("s=s1", "s=s2"),
        ("a=rsa-sha256", "a=ed25519-sha256"),
        ("a=rsa-sha256", "a=rsa-sha1"),
        ("v=1", "v=2"),
        ("v=1; ", ""),
        ("d=example.com; ", ""),
        ("d=example.com; ", "d=example.com; d=example.com; "),
        ("d=example.com; ", "d=example.com; D=example.org; "),
        ("t=100;", "t=100; l=0;"),
        ("t=100;", "t=100; z=From:x;"),
        ("t=100;", "t=100; i=@example.org;"),
        ("t=100;", "t=100; i=joe@example.com;"),
        ("t=100;", "t=100; q=dns;"),
        ("t=100;", "t=-1;"),
        ("t=100;", "t=100;;"),
        ("t=100;", "t=300;"),
        ("t=100; ", ""),
        ("x=200;", "x=99999999999999999999;"),
        ("c=relaxed/relaxed", "c=relaxed/other"),
        ("c=relaxed/relaxed", "c=simple/relaxed"),
        ("c=relaxed/relaxed; ", ""),
        ("h=From:To:From", "h=To:From"),
        ("h=From:To:From", "h=From"),
        ("h=From:To:From", "h=From:To:DKIM-Signature"),
        ("h=From:To:From", "h=From::To"),
        ("bh=2jUS", "bh=!jUS"),
        ("bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=", "bh=AAAA"),
        (" b=", " b=AAAA"),
        ("; b=", ""),
        (" b=", " b=; t2=1"),
    ] {
        let tags = TAGS.replace(from, to);
        assert_ne!(tags, TAGS, "{from}");
        assert!(check(&relaxed(FIELDS, &tags)).is_err(), "{tags}");
    }
}

#[test]
fn fields_that_are_not_this_messages_are_refused() {
    let tags = TAGS;
    for fields in [
        "",
        "to:a@example.net\r\n",
        "to:a@example.net\r\nfrom:Joe <joe@example.com>\r\n",
        "from:Eve <eve@example.com>\r\nto:a@example.net\r\n",
        "from:Joe <joe@example.com>\r\nto:a@example.net\r\nfrom:Eve <eve@example.com>\r\n",
        "from:Joe <joe@example.com>\r\nto:a@example.net\r\nx-other:y\r\n",
        "from:Joe <joe@example.com>\r\nto:a@example.net\r\ndkim-signature:v=1\r\n",
        "From:Joe <joe@example.com>\r\nto:a@example.net\r\n",
        "from: Joe <joe@example.com>\r\nto:a@example.net\r\n",
        "from:Joe <joe@example.com>\r\nto:a@example.net \r\n",
        "from:Joe\r\n <joe@example.com>\r\n",
        "from:Joe <joe@example.com>\r\nto:a\nb\r\n",
        "from:Joe <joe@example.com>\r\nto:a\rb\r\n",
        "from:Joe <joe@example.com>\r\nto:a\0b\r\n",
        "from:Joe <joe@example.com>\r\nto\r\n",
        "\r\nfrom:Joe <joe@example.com>\r\n",
        "from:Joe <joe@example.com>\r\n\r\n",
    ] {
        assert!(check(&relaxed(fields, tags)).is_err(), "{fields:?}");
    }
    let good = relaxed(FIELDS, TAGS);
    assert!(
        signing_input(&good, "example.com", "s1", Algorithm::RsaSha256, b"To: Joe <joe@example.com>")
            .is_err()
    );
    assert!(signing_input(&good, "example.com", "s1", Algorithm::RsaSha256, b"").is_err());
}

#[test]
fn the_field_must_be_the_one_that_is_signed() {
    let good = relaxed(FIELDS, TAGS);
    for field in [
        "DKIM-Signature: v=1; b=".to_owned(),
        String::from_utf8(relaxed(FIELDS, &TAGS.replace("t=100", "t=101")).field).unwrap(),
        format!("X: y\r\nDKIM-Signature: {TAGS}"),
        format!("DKIM-Signature: {TAGS}\r\nX: y"),
        format!("DKIM-Signature: {TAGS}\r\n\r\nbody"),
        format!("DKIM-Signature: {TAGS}\r\n"),
        format!("DKIM-Signature:\n {TAGS}"),
        String::new(),
    ] {
        let bad = SigningInput { field: field.clone().into_bytes(), ..good.clone() };
        assert!(check(&bad).is_err(), "{field:?}");
    }
    for tail in ["\r\n", "\r\nx:y", "\r", "\n"] {
        let to_sign = [&good.to_sign, tail.as_bytes()].concat();
        assert!(check(&SigningInput { to_sign, ..good.clone() }).is_err(), "{tail:?}");
    }
    assert!(check(&SigningInput { to_sign: Vec::new(), field: Vec::new() }).is_err());
    let huge = format!("from:Joe <joe@example.com>\r\nto:{}\r\n", "x".repeat(crate::signing::MAX_TO_SIGN));
    assert!(check(&relaxed(&huge, TAGS)).is_err());
}

proptest! {
    #[test]
    fn a_block_that_passes_cannot_end_the_header(block in "([A-Z]{1,3}:? ?|[ \ta\r\n\0é]|\r\n){0,12}") {
        if header_fields(block.as_bytes()).is_ok() {
            prop_assert!(!block.contains("\r\n\r\n") && !block.starts_with("\r\n"));
            prop_assert!(block.is_empty() || block.ends_with("\r\n"));
            prop_assert!(!block.replace("\r\n", "").contains(['\r', '\n', '\0']));
            for line in block.split_terminator("\r\n") {
                prop_assert!(!line.trim().is_empty());
                prop_assert!(line.starts_with([' ', '\t']) || line.contains(':'));
            }
        }
    }

    #[test]
    fn line_ends_do_not_depend_on_chunks(text in "[a\r\n\0]{0,12}|(a|\r\n){0,12}", cut in 0..12usize) {
        let run = |chunks: [&[u8]; 2]| {
            let mut lines = LineEnds::default();
            chunks.iter().try_for_each(|c| lines.push(c)).and_then(|()| lines.finish())
        };
        let (text, cut) = (text.as_bytes(), cut.min(text.len()));
        let whole = run([text, b""]);
        prop_assert_eq!(run([&text[..cut], &text[cut..]]), whole);
        let rest = String::from_utf8_lossy(text).replace("\r\n", "");
        prop_assert_eq!(whole.is_ok(), !rest.contains(['\r', '\n', '\0']));
    }

    #[test]
    fn noise_is_never_signed(to_sign: Vec<u8>, field: Vec<u8>) {
        let noise = SigningInput { to_sign, field };
        prop_assert!(check(&noise).is_err());
    }

    #[test]
    fn one_changed_octet_is_noticed_or_harmless(at in 0..400usize, octet: u8) {
        let good = relaxed(FIELDS, TAGS);
        let mut bad = good.clone();
        let at = at % bad.to_sign.len();
        bad.to_sign[at] = octet;
        // To is free; everything else is bound by the grant, by From or by the field.
        let to = FIELDS.find("to:").unwrap()..FIELDS.len() - 2;
        if bad != good && !to.contains(&at) {
            prop_assert!(check(&bad).is_err(), "{}", bad.to_sign.escape_ascii());
        }
    }
}
