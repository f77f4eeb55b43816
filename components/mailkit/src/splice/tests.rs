use super::*;
use crate::transfer::{decode_base64, decode_quoted_printable};
use proptest::prelude::*;

struct Urls;

impl TrackingUrls for Urls {
    fn click(&self, link: u32) -> String {
        format!("https://t.example/c/{link}")
    }

    fn open(&self) -> String {
        "https://t.example/o/0".to_owned()
    }

    fn unsubscribe(&self) -> String {
        "https://t.example/u/0".to_owned()
    }
}

fn edit(offset: u64, length: u64, encoding: Encoding, segments: Vec<Segment>) -> Edit {
    Edit { at: Span { offset, length }, encoding, segments, part: None }
}

fn splice(message: &[u8], edits: Vec<Edit>) -> Splice {
    Splice::new(Vec::new(), Arc::new(message.to_vec()), edits, &Urls).unwrap()
}

fn read_all(source: &dyn Source, chunk: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut buf = vec![0; chunk];
    loop {
        let n = source.read_at(out.len() as u64, &mut buf).unwrap();
        if n == 0 {
            return out;
        }
        out.extend_from_slice(&buf[..n]);
    }
}

fn text(message: &[u8], edits: Vec<Edit>) -> String {
    let s = splice(message, edits);
    let out = read_all(&s, 7);
    assert_eq!(out.len() as u64, s.size());
    String::from_utf8(out).unwrap()
}

fn lit(s: &str) -> Segment {
    Segment::Literal(s.into())
}

#[test]
fn without_edits_only_the_prefix_is_added() {
    let s = Splice::new(b"A: b\r\n".to_vec(), Arc::new(b"C: d\r\n".to_vec()), vec![], &NoLinks).unwrap();
    assert_eq!(read_all(&s, 4), b"A: b\r\nC: d\r\n");
    assert_eq!(s.read_at(12, &mut [0; 4]).unwrap(), 0);
    assert_eq!(s.read_at(u64::MAX, &mut [0; 4]).unwrap(), 0);
}

#[test]
fn an_empty_message_reads_as_nothing() {
    assert_eq!(text(b"", vec![]), "");
}

#[test]
fn identity_replaces_inserts_and_removes() {
    let edits = vec![
        edit(0, 1, Encoding::Identity, vec![]),
        edit(2, 0, Encoding::Identity, vec![lit("<"), Segment::Click(3), Segment::Open, lit(">")]),
        edit(3, 1, Encoding::Identity, vec![Segment::Source(Span { offset: 0, length: 2 })]),
    ];
    assert_eq!(text(b"abcde", edits), "b<https://t.example/c/3https://t.example/o/0>cabe");
}

#[test]
fn quoted_printable_within_a_line_is_fenced_by_soft_breaks() {
    let edits = vec![edit(2, 1, Encoding::QuotedPrintable, vec![lit("=")])];
    assert_eq!(text(b"abXcd\r\n", edits), "ab=\r\n=3D=\r\ncd\r\n");
}

#[test]
fn quoted_printable_of_whole_lines_needs_no_soft_break() {
    let edits = vec![edit(4, 3, Encoding::QuotedPrintable, vec![lit("x "), lit("\r\ny ")])];
    assert_eq!(text(b"ab\r\nold\r\n", edits), "ab\r\nx=20\r\ny=20\r\n");
    assert_eq!(text(b"old", vec![edit(0, 3, Encoding::QuotedPrintable, vec![lit("new ")])]), "new=20");
}

#[test]
fn deleting_within_a_quoted_printable_line_leaves_one_soft_break() {
    assert_eq!(text(b"abXcd", vec![edit(2, 1, Encoding::QuotedPrintable, vec![])]), "ab=\r\ncd");
}

#[test]
fn a_line_break_split_over_pieces_is_a_line_break() {
    let edits = vec![edit(0, 1, Encoding::QuotedPrintable, vec![lit("a\r"), lit("\nb")])];
    assert_eq!(text(b"X", edits), "a\r\nb");
}

#[test]
fn base64_within_a_line_starts_a_new_one() {
    let edits = vec![edit(4, 4, Encoding::Base64, vec![lit("bar")])];
    assert_eq!(text(b"Zm9vXXXX", edits), "Zm9v\r\nYmFy\r\n");
    assert_eq!(text(b"XXXX", vec![edit(0, 4, Encoding::Base64, vec![])]), "");
}

#[test]
fn edits_that_do_not_fit_are_refused() {
    let id = |o, l| edit(o, l, Encoding::Identity, vec![]);
    assert_eq!(Splice::validate(&[id(0, 1), id(1, 4)], 5), Ok(()));
    assert_eq!(Splice::validate(&[id(1, 4), id(0, 1)], 5), Err(SpliceError::Unsorted));
    assert_eq!(Splice::validate(&[id(0, 2), id(1, 1)], 5), Err(SpliceError::Unsorted));
    assert_eq!(Splice::validate(&[id(1, 0), id(1, 1)], 5), Err(SpliceError::Unsorted));
    assert_eq!(Splice::validate(&[id(1, 5)], 5), Err(SpliceError::EditOutOfRange));
    assert_eq!(Splice::validate(&[id(2, u64::MAX)], 5), Err(SpliceError::EditOutOfRange));
    let far = edit(0, 1, Encoding::Base64, vec![Segment::Source(Span { offset: 1, length: u64::MAX })]);
    assert_eq!(Splice::validate(std::slice::from_ref(&far), 5), Err(SpliceError::SegmentOutOfRange));
    assert!(Splice::new(vec![], Arc::new(vec![0; 5]), vec![far], &NoLinks).is_err());
}

#[test]
fn merging_lets_the_later_stage_have_a_part() {
    let of = |offset, part| Edit { part, ..edit(offset, 1, Encoding::Identity, vec![]) };
    let base = [of(9, Some(2)), of(5, Some(1)), of(0, None)];
    assert_eq!(merge(&base, &[of(6, Some(1))]), [of(0, None), of(6, Some(1)), of(9, Some(2))]);
}

#[test]
fn a_line_of_the_greatest_length_has_no_room_for_a_soft_break() {
    let insert = |line: &str| {
        let message = format!("{line}\r\nnext\r\n");
        let at = line.len() as u64;
        text(message.as_bytes(), vec![edit(at, 0, Encoding::QuotedPrintable, vec![lit("new")])])
    };
    let x = |n: usize| "x".repeat(n);
    assert_eq!(insert(&x(997)), format!("{}=\r\nnew\r\nnext\r\n", x(997)));
    assert_eq!(insert(&x(998)), format!("{}=\r\nx=\r\nnew\r\nnext\r\n", x(997)));
    assert_eq!(insert(&(x(995) + "=41")), format!("{}=\r\n=41=\r\nnew\r\nnext\r\n", x(995)));
    // The line goes on where an edit before it ended.
    let message = x(1) + &x(998) + "\r\n";
    let edits = [1, 999].map(|at| edit(at, 0, Encoding::QuotedPrintable, vec![lit("new")]));
    let out = text(message.as_bytes(), edits.to_vec());
    assert!(out.split("\r\n").all(|l| l.len() <= MAX_LINE), "{out}");
}

/// Repeats a pattern; never holds what it promises.
struct Endless(u64);

impl Source for Endless {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let n = usize::try_from(self.0.saturating_sub(offset)).unwrap().min(buf.len()).min(5000);
        for (i, b) in buf[..n].iter_mut().enumerate() {
            *b = b"caf\xe9 = 1\r\nlonger line without anything special in it, word after word"
                [usize::try_from((offset + i as u64) % 67).unwrap()];
        }
        Ok(n)
    }
}

#[test]
fn a_large_part_is_read_in_any_place_as_in_order() {
    const SIZE: u64 = 3_000_000;
    for encoding in [Encoding::QuotedPrintable, Encoding::Base64] {
        let segments = vec![lit("top "), Segment::Source(Span { offset: 7, length: SIZE - 7 }), lit(" end ")];
        let edits = vec![edit(7, SIZE - 7, encoding, segments)];
        let s = Splice::new(b"P: q\r\n".to_vec(), Arc::new(Endless(SIZE)), edits, &NoLinks).unwrap();
        let whole = read_all(&s, 64 * 1024);
        assert_eq!(whole.len() as u64, s.size());
        let mut buf = [0; 501];
        for at in (0..whole.len()).step_by(39_119).chain([0, 5, 12, 13, 14, 15, 16, whole.len() - 1]) {
            let n = s.read_at(at as u64, &mut buf).unwrap();
            assert_eq!(n, buf.len().min(whole.len() - at));
            assert_eq!(buf[..n], whole[at..at + n]);
        }
    }
}

fn segments(size: u64) -> impl Strategy<Value = Vec<Segment>> {
    let segment = prop_oneof![
        prop_oneof!["[a-z =]{0,90}", "\r\n|\r|\n| "].prop_map(|s| Segment::Literal(s.into_bytes())),
        any::<Vec<u8>>().prop_map(Segment::Literal),
        (0..=size)
            .prop_flat_map(move |offset| (Just(offset), 0..=size - offset))
            .prop_map(|(offset, length)| { Segment::Source(Span { offset, length }) }),
        any::<u32>().prop_map(Segment::Click),
        Just(Segment::Open),
    ];
    proptest::collection::vec(segment, 0..6)
}

fn joined(message: &[u8], segments: &[Segment]) -> Vec<u8> {
    let mut out = Vec::new();
    for p in segments {
        match p {
            Segment::Literal(l) => out.extend_from_slice(l),
            Segment::Source(s) => out.extend_from_slice(
                &message[usize::try_from(s.offset).unwrap()..usize::try_from(s.end()).unwrap()],
            ),
            Segment::Click(i) => out.extend_from_slice(Urls.click(*i).as_bytes()),
            Segment::Open => out.extend_from_slice(Urls.open().as_bytes()),
            Segment::Unsubscribe => out.extend_from_slice(Urls.unsubscribe().as_bytes()),
        }
    }
    out
}

proptest! {
    #[test]
    fn quoted_printable_decodes_to_what_was_meant(
        lines in "([a-z]{1,70}\r\n){1,5}", from in 0..350usize, length in 0..100usize, p in segments(1), chunk in 1..200usize,
    ) {
        let message = lines.as_bytes();
        // An edit covers part of one line.
        let from = from.min(message.len() - 2);
        let from = from - message[..from].iter().rev().take_while(|c| **c == b'\r').count();
        let rest = message[from..].iter().take_while(|c| **c != b'\r').count();
        let length = if message[from] == b'\n' { 0 } else { length.min(rest) };
        prop_assume!(message[from] != b'\n');
        let meant = [&message[..from], &joined(message, &p), &message[from + length..]].concat();
        let s = splice(message, vec![edit(from as u64, length as u64, Encoding::QuotedPrintable, p)]);
        let out = read_all(&s, chunk);
        prop_assert_eq!(out.len() as u64, s.size());
        prop_assert!(out.split(|c| *c == b'\n').all(|l| l.len() <= 77));
        prop_assert_eq!(decode_quoted_printable(&out), meant);
    }

    #[test]
    fn base64_decodes_to_what_was_meant(message: Vec<u8>, at in 0..60usize, p in segments(0), chunk in 1..200usize) {
        let coded = crate::transfer::encode_base64(&message);
        let full = coded.len().saturating_sub(6) / 4 * 4;
        // A multiple of four characters within the first line; the edit reaches to the end.
        let at = (at / 4 * 4).min(full).min(72);
        let mut meant = decode_base64(&coded[..at]);
        meant.extend(joined(&[], &p));
        let s = splice(&coded, vec![edit(at as u64, (coded.len() - at) as u64, Encoding::Base64, p)]);
        let out = read_all(&s, chunk);
        prop_assert_eq!(out.len() as u64, s.size());
        prop_assert!(out.split(|c| *c == b'\n').all(|l| l.len() <= 77));
        prop_assert_eq!(decode_base64(&out), meant);
    }

    #[test]
    fn identity_reads_the_same_from_everywhere(
        message in proptest::collection::vec(any::<u8>(), 10), p in segments(10), q in segments(10), at in 0..3000u64,
    ) {
        let meant = [b"p", &message[..2], &joined(&message, &p), &message[4..8], &joined(&message, &q), &message[8..]].concat();
        let edits = vec![edit(2, 2, Encoding::Identity, p), edit(8, 0, Encoding::Identity, q)];
        let s = Splice::new(b"p".to_vec(), Arc::new(message), edits, &Urls).unwrap();
        prop_assert_eq!(read_all(&s, 13), &meant[..]);
        let mut buf = [0; 50];
        let n = s.read_at(at, &mut buf).unwrap();
        let start = usize::try_from(at).unwrap().min(meant.len());
        prop_assert_eq!(&buf[..n], &meant[start..(start + 50).min(meant.len())]);
    }

    #[test]
    fn any_edits_are_applied_or_refused(
        offsets in proptest::collection::vec((0..40u64, 0..40u64), 0..5), p in segments(40),
    ) {
        let edits: Vec<Edit> =
            offsets.into_iter().map(|(o, l)| edit(o, l, Encoding::Identity, p.clone())).collect();
        let ok = Splice::validate(&edits, 30).is_ok();
        let s = Splice::new(vec![], Arc::new(vec![b'x'; 30]), edits, &Urls);
        prop_assert_eq!(ok, s.is_ok());
        if let Ok(s) = s {
            prop_assert_eq!(read_all(&s, 64).len() as u64, s.size());
        }
    }
}

/// Quoted-printable lines about as long as may be, and places between their characters.
fn long_lines() -> impl Strategy<Value = (String, Vec<u64>)> {
    let line = (988..=MAX_LINE, any::<[bool; 3]>()).prop_map(|(length, escapes)| {
        let end: String = escapes.iter().map(|e| if *e { "=C3" } else { "ab " }).collect();
        "y".repeat(length - end.len()) + &end
    });
    prop::collection::vec((line, prop::collection::btree_set(0..=14_usize, 0..3)), 1..4).prop_map(|lines| {
        let (mut message, mut places) = (String::new(), Vec::new());
        for (line, back) in lines {
            let end = message.len() + line.len();
            // Escapes stand in the last nine octets: whole triplets, counted from the end.
            places.extend(back.iter().rev().map(|b| (end - if *b <= 3 { b * 3 } else { 5 + b }) as u64));
            message += &line;
            message += "\r\n";
        }
        places.dedup();
        (message, places)
    })
}

proptest! {
    #[test]
    fn no_line_becomes_longer_than_may_be((message, places) in long_lines(), new in "[a-z=é ]{0,90}") {
        let mut expected = Vec::new();
        let mut at = 0;
        for place in &places {
            let place = usize::try_from(*place).unwrap();
            expected.extend(decode_quoted_printable(&message.as_bytes()[at..place]));
            // White space that a soft break follows is not at the end of a line.
            let cut = message[at..place].len() - message[at..place].trim_end_matches(' ').len();
            expected.extend(std::iter::repeat_n(b' ', cut));
            expected.extend_from_slice(new.as_bytes());
            at = place;
        }
        expected.extend(decode_quoted_printable(&message.as_bytes()[at..]));
        let insert = |at: &u64| edit(*at, 0, Encoding::QuotedPrintable, vec![lit(&new)]);
        let out = text(message.as_bytes(), places.iter().map(insert).collect());
        for line in out.split("\r\n") {
            prop_assert!(line.len() <= MAX_LINE, "{}", line.len());
        }
        prop_assert_eq!(decode_quoted_printable(out.as_bytes()), expected);
    }
}
