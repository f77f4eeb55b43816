"""Signed zones, and the configuration of the resolver that validates them."""

import re
import subprocess
import textwrap

SERVER, RESOLVER = "127.0.0.2", "127.0.0.1"
# Hands on signatures, and does not look at them.
FORWARDER = "127.0.0.3"
# What is changed in a zone after it was signed.
SPOILED = {
    "bogus": (r"(TLSA\s+3 1 1 \(\s*)[0-9A-F]{8}", r"\g<1>00000000"),
    "alias-bogus": (r"(\sCNAME\s+)record\.", r"\g<1>other."),
    "dname-bogus": (r"(\sDNAME\s+)new\.", r"\g<1>other."),
}
SIGNED = {"alg7": "NSEC3RSASHA1", "alg8": "RSASHA256"}


class Zones:
    """A root, `test` with NSEC3 and opt-out, a zone for each domain, and an unsigned one."""

    def __init__(self, folder, hosts, names, unsigned, more, ttl):
        self.folder, self.hosts, self.names, self.unsigned, self.more, self.ttl = folder / "zones", hosts, names, unsigned, more, ttl
        self.zones, self.serial, self.tlsa, self.rings, self.signers = {}, 0, {}, {}, {}
        self.folder.mkdir()

    def write(self):
        """Returns the DNSKEY of the root."""
        for name in self.names:
            self.domain(name)
        outside = {"outside": "mx", "alias-out": "out", "dname-out": "way", "tlsa-out": "record"}
        text = "".join(f"{owner} A {self.hosts.addresses[name]}\n" for name, owner in outside.items() if name in self.names)
        text += "".join(f"{outside[name]} TLSA {record}\n" for name in ("tlsa-out",) if name in self.names for record in self.hosts.tlsa(name))
        self.plain("unsigned.test", text)
        for name, text in self.unsigned.items():
            self.plain(f"{name}.test", text)
        self.parent()
        self.zone(".", f"test NS ns.test\nns.test A {SERVER}\n" + (self.folder / "dsset-test.").read_text(), "ECDSAP256SHA256")
        zones = "".join(f'zone "{zone}" {{ type primary; file "{path}"; }};\n' for zone, path in self.zones.items())
        (self.folder.parent / "named.conf").write_text(
            f'options {{ directory "{self.folder}"; listen-on {{ {SERVER}; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none; session-keyfile none; '
            f"dnssec-validation no; allow-transfer {{ none; }}; }};\ncontrols {{ }};\n{zones}")
        [key] = self.folder.glob("K.+*.key")
        return "".join(line for line in key.read_text().splitlines(keepends=True) if " IN DNSKEY " in line)

    def parent(self):
        """`test`: a delegation of each domain, with DS records where it is signed."""
        names = [*self.names, "unsigned", *self.unsigned]
        below = "".join(f"{name} NS ns.{name}\n" for name in names)
        glue = "".join(f"ns.{name} A {SERVER}\n" for name in names)
        self.zone("test", below + glue + "".join(self.signers.values()), "ECDSAP256SHA256", "-3", "aabb", "-A")

    def domain(self, name):
        """Writes its zone, with the TLSA records that it has now, and keeps its DS records for the parent."""
        address = self.hosts.addresses[name]
        target = {"outside": "mx.unsigned.test.", "alias": "here", "alias-out": "here", "dname-host": "mx.old",
                  "dname-bogus": "mx.old", "dname-out": "way.old"}.get(name, "mx")
        text = f"@ MX 0 {target}\n" + {
            "alias": f"here CNAME mx\nmx A {address}\n",
            "alias-out": "here CNAME out.unsigned.test.\n",
            "dname": f"old DNAME new\nshop.new MX 0 mx\nmx A {address}\n",
            "dname-host": f"old DNAME new\nmx.new A {address}\n",
            "dname-tlsa": f"_tcp.mx DNAME records\nmx A {address}\n",
            "tlsa-alias": f"_25._tcp.mx CNAME record\nmx A {address}\n",
            "wild-alias": f"*._tcp.mx CNAME record\nmx A {address}\n",
            "tlsa-out": f"_25._tcp.mx CNAME record.unsigned.test.\nmx A {address}\n",
            "alias-none": f"_25._tcp.mx CNAME record\nmx A {address}\nrecord A {address}\n",
            "dname-out": "old DNAME unsigned.test.\n",
            # Where what is changed afterwards leads, all is as whoever changed it wants it.
            "alias-bogus": f"_25._tcp.mx CNAME record\nmx A {address}\nrecord TLSA 3 1 1 {'ab' * 32}\n",
            "dname-bogus": f"old DNAME new\nmx.new A {address}\n_25._tcp.mx.new TLSA 3 1 1 {'ab' * 32}\nmx.other A {address}\n",
        }.get(name, f"mx A {address}\n")
        owner = {
            "alias-out": "_25._tcp.here",
            "dname-host": "_25._tcp.mx.new",
            "dname-tlsa": "_25.records",
            "tlsa-alias": "record",
            "wild-alias": "record",
            "tlsa-wild": "*._tcp.mx",
            "wild-nsec3": "*._tcp.mx",
            "tlsa-out": "elsewhere",
            "alias-bogus": "other",
            "dname-bogus": "_25._tcp.mx.other",
        }.get(name, "_25._tcp.mx")
        text += "".join(f"{owner} TLSA {record}\n" for record in self.tlsa.get(name) or self.hosts.tlsa(name))
        text += self.more.get(name, "")
        if name == "servfail":
            # Nobody is at that address.
            text += "_tcp.mx NS ns.nowhere\nns.nowhere A 127.0.0.99\n"
        zone = f"{name}.test"
        if name == "optout":
            return self.plain(zone, text)
        options = ["-3", "0123"] if name in ("nsec3", "wild-nsec3", "alg7") else []
        if name == "expired":
            options += ["-s", "20240101000000", "-e", "20240201000000"]
        if name == "keys":
            text += many(address, self.tlsa.get(name) or self.hosts.tlsa(name))
            return self.with_keys(zone, text, self.rings.get(name) or self.first_keys(name))
        self.zone(zone, text, SIGNED.get(name, "ECDSAP256SHA256"), *options)
        if name in SPOILED:
            self.spoil(zone, *SPOILED[name])
        self.signers[name] = (self.folder / f"dsset-{zone}.").read_text()

    def soa(self, zone):
        at = zone.rstrip(".")
        self.serial += 1
        return f"$ORIGIN {at}.\n$TTL {self.ttl}\n@ SOA ns hostmaster {self.serial} 3600 600 86400 60\n@ NS ns\nns A {SERVER}\n"

    def plain(self, zone, text):
        path = self.folder / f"{zone}.zone"
        path.write_text(self.soa(zone) + text)
        self.zones[zone] = path

    def zone(self, zone, text, algorithm, *options):
        path = self.folder / f"{zone.rstrip('.') or 'root'}.zone"
        if not list(self.folder.glob(f"K{zone.rstrip('.')}.+*")):
            self.key(zone, "-f", "KSK", algorithm=algorithm)
        path.write_text(self.soa(zone) + text)
        # One key signs everything.
        self.tool("dnssec-signzone", "-q", "-S", "-z", "-P", "-K", self.folder, "-d", self.folder, "-o", zone, *options, "-f", f"{path}.signed", path)
        self.zones[zone] = f"{path}.signed"

    def key(self, zone, *options, algorithm="ECDSAP256SHA256"):
        """A new key: the name of its files."""
        size = ["-b", "2048"] if "RSA" in algorithm else []
        return self.tool("dnssec-keygen", "-q", "-a", algorithm, *size, *options, "-K", self.folder, zone).strip()

    def with_keys(self, zone, text, ring):
        """`ring`: the keys that are published, and those of them that sign. The parent's DS records are the caller's."""
        path = self.folder / f"{zone}.zone"
        published = "".join((self.folder / f"{key}.key").read_text() for key in ring["published"])
        path.write_text(self.soa(zone) + text + published)
        self.tool("dnssec-signzone", "-q", "-x", "-P", "-K", self.folder, "-d", self.folder, "-o", zone, "-f", f"{path}.signed", path, *ring["signing"])
        self.zones[zone] = f"{path}.signed"

    def first_keys(self, name):
        ksk, zsk = self.key(f"{name}.test", "-f", "KSK"), self.key(f"{name}.test")
        self.signers[name] = self.delegation(ksk)
        self.rings[name] = {"published": [ksk, zsk], "signing": [ksk, zsk]}
        return self.rings[name]

    def delegation(self, *keys):
        """The DS records of keys."""
        return "".join(self.tool("dnssec-dsfromkey", "-2", "-K", self.folder, key) for key in keys)

    def spoil(self, zone, pattern, other):
        path = self.folder / f"{zone}.zone.signed"
        text = path.read_text()
        changed = re.sub(pattern, other, text)
        assert changed != text, f"{zone}: nothing to change in the signed zone"
        path.write_text(changed)

    def tool(self, *command):
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=self.folder, check=False)
        assert done.returncode == 0, f"{command[0]}: {done.stderr}"
        return done.stdout


def many(address, records):
    """A hundred domains, each with a host of its own: nothing that is known of one helps with another."""
    lines = [f"d{number} MX 0 mx{number}\nmx{number} A {address}\n" for number in range(100)]
    lines += [f"_25._tcp.mx{number} TLSA {record}\n" for number in range(100) for record in records]
    return "".join(lines)


def unbound(folder, address, modules):
    return textwrap.dedent(f"""\
        server:
          interface: {address}
          do-daemonize: no
          username: ""
          chroot: ""
          pidfile: ""
          directory: "{folder}"
          use-syslog: no
          do-not-query-localhost: no
          trust-anchor-file: "{folder}/anchor.key"
          local-zone: "test." nodefault
          module-config: "{modules}"
          do-ip6: no
          so-rcvbuf: 0
          so-sndbuf: 0
        remote-control:
          control-enable: no
        stub-zone:
          name: "."
          stub-addr: {SERVER}
        """)
