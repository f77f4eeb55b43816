//! A name server on loopback, in the process, with zones that are signed: for tests of what DNSSEC
//! proves. It answers like a resolver that hands on what authoritative servers say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, NSEC, NSEC3, RRSIG, SigInput};
use hickory_proto::dnssec::{DigestType, Nsec3HashAlgorithm, SigningKey, TBS};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, SOA, TLSA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use hickory_proto::serialize::binary::{BinDecodable as _, BinEncodable as _};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use self::keys::signing_key;
use super::{bind, fqdn, plain, serve};

mod keys;

const TTL: u32 = 300;
const DAY: u32 = 86_400;
/// Octets of an answer over UDP; what is longer comes over TCP.
const MAX_UDP: usize = 1232;

/// How a zone denies names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialBy {
    /// NSEC.
    Nsec,
    /// NSEC3.
    Nsec3,
    /// NSEC3 that leaves out delegations that are not signed.
    OptOut,
}

/// What is wrong with answers for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// SERVFAIL.
    ServFail,
    /// REFUSED.
    Refused,
    /// No answer at all.
    Silence,
    /// The signatures have expired.
    Expired,
    /// The signatures are wrong.
    Forged,
    /// The signatures are left out.
    Unsigned,
    /// Records that nobody asked for are left in the authorities: an NSEC record of the name that the
    /// name is an alias of.
    LeftOver,
    /// A wildcard makes the answer, and the proof is missing that the name itself is not there.
    Undenied,
    /// It says that there is nothing, with the SOA record of a zone elsewhere that is not signed.
    ForeignDenial,
}

/// Answers on UDP and TCP until it is dropped.
pub struct SignedDns {
    addr: SocketAddr,
    world: Arc<Mutex<World>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct World {
    /// By apex, in lower case without a final dot.
    zones: BTreeMap<String, Zone>,
    flaws: HashMap<(String, RecordType), Flaw>,
    queries: Vec<String>,
    is_stripped: bool,
}

struct Zone {
    apex: String,
    key: Option<Box<dyn SigningKey>>,
    denial: DenialBy,
    records: BTreeMap<String, Vec<RData>>,
}

impl SignedDns {
    /// With a root that is signed with algorithm 13.
    ///
    /// # Errors
    /// There is no port, or no key can be made.
    pub async fn start() -> io::Result<Self> {
        let (tcp, udp) = bind().await?;
        let addr = udp.local_addr()?;
        let world = Arc::new(Mutex::new(World::default()));
        let mut tasks = JoinSet::new();
        let asked = Arc::clone(&world);
        serve(&mut tasks, tcp, udp, Arc::new(move |query, udp| answer(&asked, query, udp)));
        let dns = Self { addr, world, _tasks: tasks };
        dns.zone("", Some(13), DenialBy::Nsec)?;
        Ok(dns)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The key of the root, as a file of trust anchors has it.
    #[must_use]
    pub fn trust_anchor(&self) -> String {
        let world = self.world.lock();
        let key = world.zones.get("").and_then(Zone::dnskey);
        key.map(|key| format!(". 3600 IN DNSKEY {key}\n")).unwrap_or_default()
    }

    /// Adds a zone, signed with algorithm 7, 8 or 13 or not at all, and its delegation.
    ///
    /// # Errors
    /// No key can be made.
    pub fn zone(&self, apex: &str, algorithm: Option<u8>, denial: DenialBy) -> io::Result<&Self> {
        let key = algorithm.map(signing_key).transpose()?;
        let zone = Zone { apex: plain(apex), key, denial, records: BTreeMap::new() };
        self.world.lock().zones.insert(plain(apex), zone);
        Ok(self)
    }

    /// Adds MX records.
    pub fn mx(&self, domain: &str, hosts: &[&str]) -> &Self {
        self.add(domain, hosts.iter().map(|host| RData::MX(MX::new(10, fqdn(host)))))
    }

    /// Adds A and AAAA records.
    pub fn address(&self, host: &str, addresses: &[IpAddr]) -> &Self {
        self.add(
            host,
            addresses.iter().map(|ip| match ip {
                IpAddr::V4(v4) => RData::A(A(*v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
            }),
        )
    }

    /// Adds a CNAME record.
    pub fn cname(&self, alias: &str, target: &str) -> &Self {
        self.add(alias, [RData::CNAME(CNAME(fqdn(target)))])
    }

    /// Adds a DNAME record: names below `owner` are aliases of those below `target`.
    pub fn dname(&self, owner: &str, target: &str) -> &Self {
        let data = fqdn(target).to_bytes().unwrap_or_default();
        self.add(owner, [RData::Unknown { code: RecordType::DNAME, rdata: NULL::with(data) }])
    }

    /// Adds a TLSA record.
    pub fn tlsa(&self, name: &str, usage: u8, selector: u8, matching: u8, data: &[u8]) -> &Self {
        let tlsa = TLSA::new(usage.into(), selector.into(), matching.into(), data.to_vec());
        self.add(name, [RData::TLSA(tlsa)])
    }

    /// From now on answers for this name and type (`"A"`, `"TLSA"`, ...) are wrong.
    pub fn flaw(&self, name: &str, kind: &str, flaw: Flaw) -> &Self {
        if let Ok(kind) = kind.parse() {
            self.world.lock().flaws.insert((plain(name), kind), flaw);
        }
        self
    }

    /// From now on answers come without signatures, as from a server that knows no DNSSEC.
    pub fn strip(&self) -> &Self {
        self.world.lock().is_stripped = true;
        self
    }

    /// What was asked so far, such as `MX example.com`.
    #[must_use]
    pub fn queries(&self) -> Vec<String> {
        self.world.lock().queries.clone()
    }

    fn add(&self, name: &str, records: impl IntoIterator<Item = RData>) -> &Self {
        let mut world = self.world.lock();
        let apex = world.zone_of(&plain(name)).map(|zone| zone.apex.clone()).unwrap_or_default();
        if let Some(zone) = world.zones.get_mut(&apex) {
            zone.records.entry(plain(name)).or_default().extend(records);
        }
        drop(world);
        self
    }
}

fn is_below(name: &str, apex: &str) -> bool {
    apex.is_empty() || name == apex || name.strip_suffix(apex).is_some_and(|rest| rest.ends_with('.'))
}

fn parent(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, parent)| parent)
}

impl World {
    /// The zone that has the name.
    fn zone_of(&self, name: &str) -> Option<&Zone> {
        self.zones.values().filter(|zone| is_below(name, &zone.apex)).max_by_key(|zone| zone.apex.len())
    }

    /// The zones that this one delegates.
    fn children<'a>(&'a self, zone: &'a Zone) -> impl Iterator<Item = &'a Zone> {
        self.zones.values().filter(move |child| {
            let is_own = self.zone_of(parent(&child.apex)).is_some_and(|owner| owner.apex == zone.apex);
            child.apex != zone.apex && is_own
        })
    }

    /// All names of a zone, each with its record sets.
    fn names(&self, zone: &Zone) -> BTreeMap<String, Vec<RData>> {
        let mut names = zone.records.clone();
        let apex = names.entry(zone.apex.clone()).or_default();
        apex.push(RData::SOA(zone.soa()));
        apex.push(RData::NS(NS(fqdn("ns.test"))));
        apex.extend(zone.dnskey().map(|key| RData::DNSSEC(DNSSECRData::DNSKEY(key))));
        for child in self.children(zone) {
            let delegation = names.entry(child.apex.clone()).or_default();
            delegation.push(RData::NS(NS(fqdn("ns.test"))));
            delegation.extend(child.ds().map(|ds| RData::DNSSEC(DNSSECRData::DS(ds))));
        }
        names
    }

    fn fill(&self, name: &str, kind: RecordType, reply: &mut Message) {
        let asked = self.flaws.get(&(name.to_owned(), kind)).copied();
        let mut name = name.to_owned();
        for _ in 0..8 {
            let above = if kind == RecordType::DS { parent(&name) } else { &name };
            let Some(zone) = self.zone_of(above) else { return };
            let names = self.names(zone);
            let records = names.get(&name).cloned().unwrap_or_default();
            let of = |kind| records.iter().filter(move |data| data.record_type() == kind).cloned();
            let answers: Vec<_> = of(kind).collect();
            if !answers.is_empty() {
                let flaw = self.flaws.get(&(name.clone(), kind)).copied();
                reply.add_answers(zone.sign(&name, answers, flaw));
                if asked == Some(Flaw::LeftOver) {
                    for (owner, data) in nsec(&names, &name, true) {
                        reply.add_authorities(zone.sign(&owner, vec![data], None));
                    }
                }
                return;
            }
            if let Some((owner, dname)) = dname_above(&names, &name) {
                let target = plain(&Name::from_bytes(&dname.anything).unwrap_or_default().to_ascii());
                let made = format!("{}{target}", name.strip_suffix(owner).unwrap_or_default());
                let dname = RData::Unknown { code: RecordType::DNAME, rdata: dname.clone() };
                reply.add_answers(zone.sign(owner, vec![dname], None));
                let cname = RData::CNAME(CNAME(fqdn(&made)));
                reply.add_answer(Record::from_rdata(fqdn(&name), TTL, cname));
                name = made;
                continue;
            }
            if let Some((wildcard, records)) = wildcard_of(&names, &name) {
                let answers: Vec<_> =
                    records.iter().filter(|data| data.record_type() == kind).cloned().collect();
                if !answers.is_empty() {
                    reply.add_answers(zone.expand(&name, wildcard, answers));
                    if asked != Some(Flaw::Undenied) {
                        self.deny_name(zone, &names, &name, reply);
                    }
                    return;
                }
            }
            let Some(RData::CNAME(target)) = of(RecordType::CNAME).next() else {
                self.deny(zone, &names, &name, reply);
                return;
            };
            let alias = vec![RData::CNAME(target.clone())];
            let flaw = self.flaws.get(&(name.clone(), RecordType::CNAME)).copied();
            reply.add_answers(zone.sign(&name, alias, flaw));
            name = plain(&target.0.to_ascii());
        }
    }

    /// That there is no such name, of which a wildcard made the answer.
    fn deny_name(&self, zone: &Zone, names: &BTreeMap<String, Vec<RData>>, name: &str, reply: &mut Message) {
        let proofs = match zone.denial {
            DenialBy::Nsec => nsec(names, name, true),
            denial => {
                let proofs = nsec3(zone, names, name, denial == DenialBy::OptOut, &BTreeSet::new());
                // That of the next closer name alone (RFC 5155 section 7.2.6).
                proofs.into_iter().skip(1).take(1).collect()
            }
        };
        for (owner, data) in proofs {
            reply.add_authorities(zone.sign(&owner, vec![data], None));
        }
    }

    /// That there is no such record, or no such name.
    fn deny(&self, zone: &Zone, names: &BTreeMap<String, Vec<RData>>, name: &str, reply: &mut Message) {
        let exists = names.keys().any(|other| is_below(other, name));
        if !exists {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        let mut proofs = vec![(zone.apex.clone(), RData::SOA(zone.soa()))];
        if zone.key.is_some() {
            match zone.denial {
                DenialBy::Nsec => proofs.extend(nsec(names, name, exists)),
                denial => {
                    let unsigned: BTreeSet<_> =
                        self.children(zone).filter(|c| c.key.is_none()).map(|c| c.apex.clone()).collect();
                    proofs.extend(nsec3(zone, names, name, denial == DenialBy::OptOut, &unsigned));
                }
            }
        }
        proofs.sort_by(|a, b| a.0.cmp(&b.0));
        proofs.dedup();
        for (owner, data) in proofs {
            reply.add_authorities(zone.sign(&owner, vec![data], None));
        }
    }
}

/// The wildcard that stands for a name that is not there, and its records.
fn wildcard_of<'a>(names: &'a BTreeMap<String, Vec<RData>>, name: &str) -> Option<(&'a str, &'a [RData])> {
    if names.keys().any(|other| is_below(other, name)) {
        return None;
    }
    let wildcard = joined("*", &encloser(names, name));
    names.get_key_value(&wildcard).map(|(owner, records)| (owner.as_str(), records.as_slice()))
}

/// The DNAME record that makes an alias of a name.
fn dname_above<'a>(names: &'a BTreeMap<String, Vec<RData>>, name: &str) -> Option<(&'a str, &'a NULL)> {
    let mut all = names.iter().filter(|(owner, _)| *owner != name && is_below(name, owner));
    all.find_map(|(owner, records)| {
        let dname = records.iter().find_map(|data| match data {
            RData::Unknown { code: RecordType::DNAME, rdata } => Some(rdata),
            _ => None,
        });
        dname.map(|dname| (owner.as_str(), dname))
    })
}

fn types(records: &[RData]) -> BTreeSet<RecordType> {
    let mut types: BTreeSet<_> = records.iter().map(RData::record_type).collect();
    types.insert(RecordType::RRSIG);
    types
}

/// The longest name above that exists.
fn encloser(names: &BTreeMap<String, Vec<RData>>, name: &str) -> String {
    let mut above = parent(name);
    while !above.is_empty() && !names.keys().any(|other| is_below(other, above)) {
        above = parent(above);
    }
    above.to_owned()
}

fn joined(label: &str, name: &str) -> String {
    if name.is_empty() { label.to_owned() } else { format!("{label}.{name}") }
}

fn nsec(names: &BTreeMap<String, Vec<RData>>, name: &str, exists: bool) -> Vec<(String, RData)> {
    let mut chain: Vec<(Name, &String)> = names.keys().map(|name| (fqdn(name), name)).collect();
    chain.sort();
    let at = |name: &str| {
        let wanted = fqdn(name);
        let position = chain.iter().rposition(|(other, _)| *other <= wanted).unwrap_or(chain.len() - 1);
        let (_, owner) = &chain[position];
        let next = chain[(position + 1) % chain.len()].0.clone();
        let types = types(&names[*owner]).into_iter().chain([RecordType::NSEC]);
        ((*owner).clone(), RData::DNSSEC(DNSSECRData::NSEC(NSEC::new(next, types))))
    };
    match exists {
        true => vec![at(name)],
        false => vec![at(name), at(&joined("*", &encloser(names, name)))],
    }
}

fn hash(name: &str) -> Vec<u8> {
    let digest = Nsec3HashAlgorithm::SHA1.hash(b"", &fqdn(name), 0);
    digest.map(|digest| digest.as_ref().to_vec()).unwrap_or_default()
}

fn nsec3(
    zone: &Zone,
    names: &BTreeMap<String, Vec<RData>>,
    name: &str,
    opt_out: bool,
    unsigned: &BTreeSet<String>,
) -> Vec<(String, RData)> {
    let mut chain: BTreeMap<Vec<u8>, BTreeSet<RecordType>> = BTreeMap::new();
    for (owner, records) in names {
        if opt_out && unsigned.contains(owner) {
            continue;
        }
        let is_bare = unsigned.contains(owner);
        let types = if is_bare { BTreeSet::from([RecordType::NS]) } else { types(records) };
        chain.insert(hash(owner), types);
        let mut above = parent(owner);
        while above.len() > zone.apex.len() && is_below(above, &zone.apex) {
            chain.entry(hash(above)).or_default();
            above = parent(above);
        }
    }
    let hashes: Vec<_> = chain.keys().cloned().collect();
    let at = |name: &str| {
        let wanted = hash(name);
        let position = hashes.iter().rposition(|other| *other <= wanted).unwrap_or(hashes.len() - 1);
        let next = hashes[(position + 1) % hashes.len()].clone();
        let label = data_encoding::BASE32_DNSSEC.encode(&hashes[position]);
        let types = chain[&hashes[position]].iter().copied();
        let data = NSEC3::new(Nsec3HashAlgorithm::SHA1, opt_out, 0, Vec::new(), next, types);
        (joined(&label, &zone.apex), RData::DNSSEC(DNSSECRData::NSEC3(data)))
    };
    if chain.contains_key(&hash(name)) {
        return vec![at(name)];
    }
    // The closest encloser, the next closer name, the wildcard (RFC 5155 section 7.2).
    let mut next_closer = name;
    while !chain.contains_key(&hash(parent(next_closer))) && parent(next_closer).len() > zone.apex.len() {
        next_closer = parent(next_closer);
    }
    let encloser = parent(next_closer);
    vec![at(encloser), at(next_closer), at(&joined("*", encloser))]
}

impl Zone {
    fn soa(&self) -> SOA {
        SOA::new(fqdn("ns.test"), fqdn("admin.test"), 1, 60, 60, 60, TTL)
    }

    fn dnskey(&self) -> Option<DNSKEY> {
        self.key.as_ref().and_then(|key| key.to_public_key().ok()).map(|key| DNSKEY::from_key(&key))
    }

    fn ds(&self) -> Option<DS> {
        let key = self.key.as_ref()?.to_public_key().ok()?;
        DS::from_key(&key, &fqdn(&self.apex), DigestType::SHA256).ok()
    }

    /// The records of one set with their signature. Delegations have none.
    fn sign(&self, owner: &str, data: Vec<RData>, flaw: Option<Flaw>) -> Vec<Record> {
        let owner_name = fqdn(owner);
        let mut records: Vec<_> =
            data.into_iter().map(|data| Record::from_rdata(owner_name.clone(), TTL, data)).collect();
        let kind = records.first().map_or(RecordType::NULL, Record::record_type);
        let is_delegation = kind == RecordType::NS && owner != self.apex;
        if let Some(key) = &self.key
            && flaw != Some(Flaw::Unsigned)
            && !is_delegation
            && let Some(signature) = self.signature(&**key, &owner_name, &records, flaw)
        {
            records.push(signature);
        }
        records
    }

    /// The records of a wildcard under the name that it stands for.
    fn expand(&self, name: &str, wildcard: &str, data: Vec<RData>) -> Vec<Record> {
        let mut records = self.sign(wildcard, data, None);
        for record in &mut records {
            record.name = fqdn(name);
        }
        records
    }

    fn signature(
        &self,
        key: &dyn SigningKey,
        owner: &Name,
        records: &[Record],
        flaw: Option<Flaw>,
    ) -> Option<Record> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
        let now = u32::try_from(now.as_secs()).ok()?;
        let age = if flaw == Some(Flaw::Expired) { 30 * DAY } else { DAY };
        let input = SigInput {
            type_covered: records.first()?.record_type(),
            algorithm: key.algorithm(),
            num_labels: owner.num_labels(),
            original_ttl: TTL,
            sig_expiration: SerialNumber::new(now - age + 7 * DAY),
            sig_inception: SerialNumber::new(now - age),
            key_tag: self.dnskey()?.calculate_key_tag().ok()?,
            signer_name: fqdn(&self.apex),
        };
        let octets = TBS::from_input(owner, DNSClass::IN, &input, records.iter()).ok()?;
        let mut signature = key.sign(&octets).ok()?;
        if flaw == Some(Flaw::Forged) {
            signature[8] ^= 1;
        }
        let data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature)));
        Some(Record::from_rdata(owner.clone(), TTL, data))
    }
}

fn answer(world: &Mutex<World>, query: &[u8], udp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let (name, kind) = (plain(&question.name().to_ascii()), question.query_type());
    let mut world = world.lock();
    world.queries.push(format!("{kind} {name}"));
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.add_query(question);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    match world.flaws.get(&(name.clone(), kind)) {
        Some(Flaw::Silence) => return None,
        Some(Flaw::ServFail) => reply.metadata.response_code = ResponseCode::ServFail,
        Some(Flaw::Refused) => reply.metadata.response_code = ResponseCode::Refused,
        Some(Flaw::ForeignDenial) => {
            if let Some(zone) = world.zones.values().find(|zone| zone.key.is_none()) {
                let soa = RData::SOA(zone.soa());
                reply.add_authority(Record::from_rdata(fqdn(&zone.apex), TTL, soa));
            }
        }
        _ => world.fill(&name, kind, &mut reply),
    }
    if world.is_stripped {
        let is_plain = |record: &Record| !record.record_type().is_dnssec();
        reply.answers.retain(is_plain);
        reply.authorities.retain(is_plain);
    }
    let octets = reply.to_vec().ok()?;
    if udp && octets.len() > MAX_UDP {
        reply.answers.clear();
        reply.authorities.clear();
        reply.metadata.truncation = true;
        return reply.to_vec().ok();
    }
    Some(octets)
}
