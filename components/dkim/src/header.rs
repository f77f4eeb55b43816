//! The header block of a message as it streams past, and the choice of the fields that a signature
//! covers.

/// Octets of a header block. A longer one cannot be signed or verified; nothing beyond it is held
/// in memory.
pub const MAX_HEADER: usize = relevo_mailkit::signing::MAX_COPY_HEADER;

/// Divides a message into its header block, which is kept, and its body, which is passed on.
#[derive(Default)]
pub(crate) struct Divider {
    header: Vec<u8>,
    in_body: bool,
    too_long: bool,
}

impl Divider {
    /// Takes the next octets of the message and returns those of them that belong to the body.
    pub(crate) fn push<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        if self.in_body {
            return chunk;
        }
        if self.too_long {
            return &[];
        }
        // The empty line may be split over chunks, and a message may begin with it.
        let known = self.header.len();
        if known == 0 && self.header.capacity() == 0 {
            self.header.reserve(chunk.len().min(4096));
        }
        let tail = &self.header[known.saturating_sub(3)..];
        let mut seam = [0u8; 6];
        let head = &chunk[..chunk.len().min(3)];
        seam[..tail.len()].copy_from_slice(tail);
        seam[tail.len()..tail.len() + head.len()].copy_from_slice(head);
        let seam = &seam[..tail.len() + head.len()];
        let end = if known < 2 && starts_empty(known, seam) {
            Some(2 - known)
        } else if let Some(at) = memchr::memmem::find(seam, EMPTY_LINE) {
            Some(at + EMPTY_LINE.len() - tail.len())
        } else {
            memchr::memmem::find(chunk, EMPTY_LINE).map(|at| at + EMPTY_LINE.len())
        };
        let (mine, body) = chunk.split_at(end.unwrap_or(chunk.len()));
        self.in_body = end.is_some();
        if known + mine.len() > MAX_HEADER {
            self.too_long = true;
            self.in_body = false;
            self.header = Vec::new();
            return &[];
        }
        self.header.extend_from_slice(mine);
        body
    }

    /// The empty line was seen.
    pub(crate) fn in_body(&self) -> bool {
        self.in_body
    }

    /// The block is longer than [`MAX_HEADER`].
    pub(crate) fn too_long(&self) -> bool {
        self.too_long
    }

    /// The block so far, with the empty line that ends it.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }
}

const EMPTY_LINE: &[u8] = b"\r\n\r\n";

/// Whether the message begins with its empty line; `seam` is then all that is known of it.
fn starts_empty(known: usize, seam: &[u8]) -> bool {
    debug_assert!(known < 2);
    seam.starts_with(b"\r\n")
}

/// One header field.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    /// Without the colon.
    pub(crate) name: &'a [u8],
    /// All after the colon, with its CRLF.
    pub(crate) value: &'a [u8],
}

impl Field<'_> {
    /// Field names match whatever their case (RFC 5322 section 1.2.2).
    pub(crate) fn is(&self, name: &[u8]) -> bool {
        self.name.trim_ascii_end().eq_ignore_ascii_case(name)
    }
}

/// The fields of a header block from top to bottom. A line without a colon is no field and is
/// passed over.
pub(crate) fn fields(header: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::with_capacity(16);
    let mut rest = header;
    while !rest.is_empty() && !rest.starts_with(b"\r\n") {
        let (field, tail) = rest.split_at(field_end(rest));
        if let Some(colon) = memchr::memchr(b':', field) {
            fields.push(Field { name: &field[..colon], value: &field[colon + 1..] });
        }
        rest = tail;
    }
    fields
}

/// The end of the first field: after the first CRLF that no whitespace follows.
fn field_end(block: &[u8]) -> usize {
    memchr::memmem::find_iter(block, b"\r\n")
        .map(|at| at + 2)
        .find(|next| !matches!(block.get(*next), Some(b' ' | b'\t')))
        .unwrap_or(block.len())
}

/// The fields that `h=` names, in its order: each further mention of a name takes the next instance
/// above (RFC 6376 section 5.4.2); a mention for which there is none contributes nothing (section
/// 3.5, oversigning).
pub(crate) fn select<'a, 'f>(
    fields: &'f [Field<'a>],
    names: impl IntoIterator<Item = &'f [u8]>,
) -> impl Iterator<Item = Field<'a>> {
    // Per distinct name: how many fields, from the top, are still to be looked at.
    let mut unseen: Vec<(&[u8], usize)> = Vec::new();
    names.into_iter().filter_map(move |name| {
        let slot = match unseen.iter().position(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some(slot) => slot,
            None => {
                unseen.push((name, fields.len()));
                unseen.len() - 1
            }
        };
        let (_, left) = unseen.get_mut(slot)?;
        let found = fields[..*left].iter().rposition(|field| field.is(name));
        *left = found.unwrap_or(0);
        found.map(|at| fields[at])
    })
}
