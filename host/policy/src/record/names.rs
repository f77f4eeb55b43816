//! The names of one message, and how they are found in a text of any shape.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use relevo_mailkit::policy::Message;

use super::pseudonyms::{LABELS, Pseudonyms, normal, suffixes};
use super::words::{Piece, is_domain, of_a_word, pieces, quoted_local};

/// Octets of a name that is looked for inside of a word, and places in it where one may end: looking on would take the square of the
/// time.
const MAX_NAME: usize = 320;
const MAX_ENDS: usize = 24;
/// Octets of the longest IPv6 address in text (RFC 4291 section 2.2), with an IPv4 address at its end.
const MAX_IP6: usize = 45;
/// Groups of an IPv6 address that are its network.
const NETWORK: usize = 4;
/// `@` in a URL (RFC 3986 section 2.1).
const ENCODED_AT: &str = "%40";

/// What is known to name somebody in one message, in lower case, and what stands for it.
pub(super) struct Names<'p> {
    pub(super) pseudonyms: &'p Pseudonyms,
    words: HashMap<String, String>,
    /// Those with spaces, quotes or colons in them.
    phrases: HashMap<String, String>,
    /// How phrases begin, and octets of the longest that begins so: they are looked for only where one may be.
    openings: HashMap<Vec<u8>, usize>,
    /// Domain names and those above them. Top-level domains count in keys only: elsewhere `de` is a language.
    domains: HashMap<String, String>,
    peer6: Option<Ipv6Addr>,
}

/// A name at the start of a text: its octets, and what stands for it.
type Found = Option<(usize, String)>;

impl<'p> Names<'p> {
    pub(super) fn of(pseudonyms: &'p Pseudonyms, message: &Message) -> Self {
        let mut names = Self {
            pseudonyms,
            words: HashMap::new(),
            phrases: HashMap::new(),
            openings: HashMap::new(),
            domains: HashMap::new(),
            peer6: None,
        };
        names.address(&message.envelope.sender);
        for recipient in &message.envelope.recipients {
            names.address(&recipient.address);
            names.domain(&recipient.domain);
        }
        if let Some(identity) = &message.identity {
            names.insert(identity, pseudonyms.word(identity));
        }
        for fact in &message.facts {
            match fact.name.as_str() {
                "author" => names.address(&fact.value),
                "helo" => names.domain(&fact.value),
                "peer" => names.peer(&fact.value),
                _ => {}
            }
        }
        names
    }

    /// Who has a name first keeps it.
    fn insert(&mut self, name: &str, pseudonym: String) {
        let name = name.to_lowercase();
        if name.is_empty() {
            return;
        }
        if name.bytes().all(of_a_word) {
            self.words.entry(name).or_insert(pseudonym);
            return;
        }
        let longest = self.openings.entry(opening(name.as_bytes()).to_vec()).or_default();
        *longest = name.len().max(*longest);
        self.phrases.entry(name).or_insert(pseudonym);
    }

    fn address(&mut self, address: &str) {
        let Some((local, domain)) = address.rsplit_once('@') else { return };
        self.domain(domain);
        self.insert(address, self.pseudonyms.address(address));
        let local = local.to_lowercase();
        let pseudonym = self.pseudonyms.local(&local, &normal(domain));
        if let Some(bare) = unquoted(&local) {
            self.insert(&bare, pseudonym.clone());
            self.insert(&format!("{bare}@{domain}"), self.pseudonyms.address(address));
        }
        self.insert(&local, pseudonym);
    }

    fn domain(&mut self, domain: &str) {
        let domain = normal(domain);
        if domain.starts_with('[') {
            return self.insert(&domain, self.pseudonyms.domain(&domain));
        }
        let all: Vec<&str> = suffixes(&domain).filter(|suffix| !suffix.is_empty()).collect();
        if all.len() == 1 {
            // Not a top-level domain but a host that says no more of itself.
            self.insert(&domain, self.pseudonyms.domain(&domain));
        }
        // Those between the name and the last ones are found as any domain name is.
        let above = all.len().saturating_sub(LABELS).max(1).min(all.len());
        for suffix in all.iter().take(1).chain(&all[above..]) {
            if self.domains.contains_key(*suffix) {
                // And so are all above it.
                break;
            }
            self.domains.insert((*suffix).to_owned(), self.pseudonyms.domain(suffix));
        }
    }

    #[cfg(test)]
    pub(super) fn known_domains(&self) -> usize {
        self.domains.len()
    }

    /// Of an IPv4 address its /24 too, as plugins write it that count by network.
    fn peer(&mut self, peer: &str) {
        match peer.parse() {
            Ok(IpAddr::V6(ip)) => self.peer6 = Some(ip),
            Ok(IpAddr::V4(ip)) => {
                let [a, b, c, _] = ip.octets();
                let network = format!("{a}.{b}.{c}");
                self.insert(&network, self.pseudonyms.word(&network));
            }
            Err(_) => {}
        }
    }

    /// A text in which everything that names somebody is replaced, and everything else is as it was.
    pub(super) fn text(&self, text: &[u8]) -> Vec<u8> {
        self.replace(text, false)
    }

    pub(super) fn key(&self, key: &str) -> String {
        String::from_utf8_lossy(&self.replace(key.as_bytes(), true)).into_owned()
    }

    /// All addresses in a text, and nothing else.
    pub(super) fn addresses(&self, text: &[u8]) -> String {
        let found = pieces(text).into_iter().filter_map(|piece| match piece {
            Piece::Address(address) => Some(self.named(&String::from_utf8_lossy(address))),
            _ => None,
        });
        found.collect::<Vec<_>>().join(", ")
    }

    /// First the names with something in them that parts words, then the words between.
    fn replace(&self, text: &[u8], tops: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let (mut at, mut done) = (0, 0);
        while at < text.len() {
            let found = if is_boundary(text, at) {
                self.phrase(&text[at..]).or_else(|| self.ip6(&text[at..]))
            } else {
                None
            };
            match found {
                Some((length, pseudonym)) => {
                    self.pieces(&text[done..at], tops, &mut out);
                    out.extend_from_slice(pseudonym.as_bytes());
                    at += length;
                    done = at;
                }
                None => at += 1,
            }
        }
        self.pieces(&text[done..], tops, &mut out);
        out
    }

    fn pieces(&self, text: &[u8], tops: bool, out: &mut Vec<u8>) {
        for piece in pieces(text) {
            match piece {
                Piece::Other(octets) => out.extend_from_slice(octets),
                Piece::Address(octets) => self.in_address(&String::from_utf8_lossy(octets), tops, out),
                Piece::Word(octets) => self.in_word(octets, tops, out),
            }
        }
    }

    fn phrase(&self, text: &[u8]) -> Found {
        let longest = *self.openings.get(lower(opening(text)).as_bytes())?;
        // The lower case of a letter may be longer or shorter than the letter.
        let near = &text[..text.len().min(longest.saturating_mul(2))];
        let ends = (1..=near.len()).rev().filter(|end| is_boundary(text, *end));
        ends.into_iter().find_map(|end| Some((end, self.phrases.get(&lower(&text[..end]))?.clone())))
    }

    /// An IPv6 address, or at least the four groups of a network.
    fn ip6(&self, text: &[u8]) -> Found {
        let of_it = |octet: &&u8| octet.is_ascii_hexdigit() || b":.".contains(octet);
        let run = text.iter().take(MAX_IP6).take_while(of_it).count();
        if !text[..run].contains(&b':') {
            return None;
        }
        let written = std::str::from_utf8(&text[..run]).ok()?;
        let ends = || (2..=run).rev().filter(|end| is_boundary(text, *end));
        let parsed = |end: usize| written[..end].parse::<Ipv6Addr>().ok();
        // `2001:db8::1:25` may be the peer and a number.
        let peer = ends().find(|end| self.peer6.is_some() && parsed(*end) == self.peer6);
        let some = |end: &usize| parsed(*end).is_some() && written[..*end].bytes().any(|octet| octet != b':');
        if let Some(end) = peer.or_else(|| ends().find(some)) {
            let behind = self.behind_a_word(&written[..end]);
            return Some((end, behind.or_else(|| Some(self.ip(parsed(end)?.into())))?));
        }
        let group = |group: &str| (1..=4).contains(&group.len()) && !group.contains('.');
        let network = |end: &usize| {
            written[..*end].split(':').count() >= NETWORK && written[..*end].split(':').all(group)
        };
        let end = ends().find(network)?;
        Some((end, self.pseudonyms.word(&written[..end].to_lowercase())))
    }

    /// `face:2001:db8::1` is an address; and the peer, behind a word that could be a part of one.
    fn behind_a_word(&self, written: &str) -> Option<String> {
        let peer = self.peer6?;
        let mut starts = written.match_indices(':').map(|(at, _)| at + 1);
        let at = starts.find(|at| written[*at..].parse() == Ok(peer))?;
        Some(format!("{}{}", &written[..at], self.ip(peer.into())))
    }

    fn ip(&self, ip: IpAddr) -> String {
        self.pseudonyms.ip(ip).to_string()
    }

    fn named(&self, address: &str) -> String {
        let lower = address.to_lowercase();
        let known = self.words.get(&lower).or_else(|| self.phrases.get(&lower));
        known.cloned().unwrap_or_else(|| self.pseudonyms.address(address))
    }

    /// A run with an `@` in it: an address, and what stands before and behind it, as in `to=ada@reader.test&n=1`.
    fn in_address(&self, run: &str, tops: bool, out: &mut Vec<u8>) {
        let mut rest = run;
        while let Some(at) = quoted_local(rest.as_bytes()).map(|end| end - 1).or_else(|| rest.find('@')) {
            let domain = rest[at + 1..].find(|c: char| c.is_ascii() && !of_a_unit(c as u8));
            let (address, behind) = rest.split_at(domain.map_or(rest.len(), |end| at + 1 + end));
            // A plugin that makes such a key makes it of the pseudonym in a replay.
            let cuts = address[..at].match_indices(['=', '/', '?', '&']).map(|(cut, _)| cut + 1);
            let known = std::iter::once(0)
                .chain(cuts)
                .find_map(|cut| Some((cut, self.words.get(&address[cut..].to_lowercase())?)));
            match known {
                Some((cut, pseudonym)) => {
                    self.in_word(&address.as_bytes()[..cut], tops, out);
                    out.extend_from_slice(pseudonym.as_bytes());
                }
                None => out.extend_from_slice(self.named(address).as_bytes()),
            }
            rest = behind;
        }
        self.in_word(rest.as_bytes(), tops, out);
    }

    /// A run without one. Names in it may be parted by anything that is neither letter nor digit.
    fn in_word(&self, word: &[u8], tops: bool, out: &mut Vec<u8>) {
        if let Some(known) = self.words.get(&lower(word)) {
            return out.extend_from_slice(known.as_bytes());
        }
        let (mut at, mut done) = (0, 0);
        while at < word.len() {
            match if is_boundary(word, at) { self.name(&word[at..], tops) } else { None } {
                Some((length, pseudonym)) => {
                    out.extend_from_slice(&word[done..at]);
                    out.extend_from_slice(pseudonym.as_bytes());
                    at += length;
                    done = at;
                }
                None => at += 1,
            }
        }
        out.extend_from_slice(&word[done..]);
    }

    /// The longest name that a text begins with: one that is known, a domain or an IP address.
    fn name(&self, text: &[u8], tops: bool) -> Found {
        let text = &text[..text.len().min(MAX_NAME)];
        if let Some(address) = self.encoded(text) {
            return Some(address);
        }
        let ends: Vec<usize> =
            (1..=text.len()).filter(|end| is_boundary(text, *end)).take(MAX_ENDS).collect();
        let known =
            ends.iter().rev().find_map(|end| Some((*end, self.words.get(&lower(&text[..*end]))?.clone())));
        let unit = text.iter().position(|octet| !of_a_unit(*octet)).unwrap_or(text.len());
        let unit = unit - text[..unit].iter().rev().take_while(|octet| !of_an_atom(**octet)).count();
        let whole = self.network(&text[..unit], tops).map(|pseudonym| (unit, pseudonym));
        let longest = [known, whole].into_iter().flatten().max_by_key(|(length, _)| *length);
        longest.or_else(|| {
            let mut parts = ends.iter().rev().filter(|end| **end < unit);
            parts.find_map(|end| Some((*end, self.network(&text[..*end], false)?)))
        })
    }

    /// A domain name or an IPv4 address.
    fn network(&self, word: &[u8], tops: bool) -> Option<String> {
        if !word.first().is_some_and(|octet| of_an_atom(*octet)) {
            return None;
        }
        let word = lower(word);
        let known = self.domains.get(&word).filter(|_| tops || word.contains('.'));
        if let Some(known) = known {
            return Some(known.clone());
        }
        match word.parse() {
            Ok(ip) => Some(self.ip(ip)),
            Err(_) => is_domain(&word).then(|| self.pseudonyms.domain(&normal(&word))),
        }
    }

    /// An address as it stands in a URL.
    fn encoded(&self, text: &[u8]) -> Found {
        let in_it = |octet: &u8| of_a_unit(*octet) || *octet == b'%' || *octet == b'+';
        let end = text.iter().position(|octet| !in_it(octet)).unwrap_or(text.len());
        let end = end - text[..end].iter().rev().take_while(|octet| !of_an_atom(**octet)).count();
        let written = std::str::from_utf8(&text[..end]).ok()?;
        let at = written.find(ENCODED_AT).filter(|at| *at > 0)?;
        let (local, domain) = (decoded(&written[..at]), decoded(&written[at + ENCODED_AT.len()..]));
        Some((end, self.named(&format!("{local}@{domain}")).replace('@', ENCODED_AT)))
    }
}

/// Whether neither a letter nor a digit is cut apart at `at`.
fn is_boundary(text: &[u8], at: usize) -> bool {
    at == 0 || at >= text.len() || !of_an_atom(text[at - 1]) || !of_an_atom(text[at])
}

/// Letters, digits, and what is beyond ASCII.
fn of_an_atom(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || !octet.is_ascii()
}

/// What may stand in a domain name or an IPv4 address.
fn of_a_unit(octet: u8) -> bool {
    of_an_atom(octet) || b".-_".contains(&octet)
}

/// The first atom, or the octet in place of one.
fn opening(text: &[u8]) -> &[u8] {
    let atom = text.iter().take_while(|octet| of_an_atom(**octet)).count();
    &text[..atom.max(1).min(text.len())]
}

fn lower(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_lowercase()
}

/// What a quoted string means (RFC 5321 section 4.1.2).
fn unquoted(local: &str) -> Option<String> {
    let mut octets = local.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut bare = String::new();
    while let Some(c) = octets.next() {
        bare.push(if c == '\\' { octets.next()? } else { c });
    }
    Some(bare)
}

fn decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = more.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(octet) => {
                octets.push(octet);
                rest = &more[2..];
            }
            None => {
                octets.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}
