"""DANE: the same domains before Postfix's posttls-finger and before `relevo tls show`.

A network namespace has its own Internet: a signed root and signed zones on named, unbound as the
validating resolver, and mail hosts with certificates. Each domain is good or wrong in one way. What
Postfix and Relevo would do with mail to it must be the same.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import time

ROW = "dane: the verdicts of Postfix over signed zones"
ROWS = [ROW]

HERE = pathlib.Path(__file__).parent
SERVER, RESOLVER = "127.0.0.2", "127.0.0.1"

# The domain, what is wrong with it, and the verdict that both must come to:
#   may       TLS if offered, nothing is checked     encrypt   TLS is needed, nothing is checked
#   verified  the certificate is the published one   failed    it is not: no mail
#   deferred  the policy cannot be known: no mail
CASES = {
    "good": "verified",  # DANE-EE (3 1 1)
    "full": "verified",  # DANE-EE of the whole certificate (3 0 2)
    "expired-cert": "verified",  # DANE-EE: dates and names do not count (RFC 7672 section 3.1.1)
    "anchor": "verified",  # DANE-TA (2 0 1), and the name is right
    "anchor-name": "failed",  # DANE-TA, and the certificate is for another name (section 3.1.2)
    "rollover": "verified",  # the old key and the new one
    "digest": "failed",  # of another certificate
    "pkix": "encrypt",  # PKIX-EE alone: unusable (section 3.1.3)
    "mixed": "verified",  # PKIX-EE beside DANE-EE
    "none": "may",  # proven: no TLSA
    "clear": "failed",  # TLSA, and the host offers no TLS
    "alg7": "verified",  # RSASHA1-NSEC3-SHA1
    "alg8": "verified",  # RSASHA256
    "nsec3": "verified",  # NSEC3 with a salt
    "optout": "may",  # an unsigned zone below opt-out: its TLSA does not count
    "outside": "may",  # the MX is secure, its host is in an unsigned zone
    "alias": "verified",  # the host is an alias within signed zones
    "alias-out": "verified",  # the alias is secure, its target is not: TLSA of the alias (section 2.2.2)
    "bogus": "deferred",  # the TLSA was changed after it was signed
    "expired": "deferred",  # the signatures of the zone have expired
    "servfail": "deferred",  # _tcp is another zone, whose server does not answer
}
SIGNED = {"alg7": "NSEC3RSASHA1", "alg8": "RSASHA256"}


def run(table, binary, folder, dns):
    """`dns`: the files of named and unbound."""
    table.run(ROW, lambda: check(binary, folder / "dane", pathlib.Path(dns) / "usr/sbin"))


def check(binary, folder, programs):
    folder.mkdir()
    internet = Internet(folder, programs)
    try:
        internet.start()
        config = relay_configuration(folder)
        wrong, lines = [], []
        for name, wanted in CASES.items():
            postfix, words = internet.postfix(name)
            relevo, answer = internet.relevo(binary, config, name)
            lines.append(f"  {name:13} {wanted:9} Postfix {postfix:9} Relevo {relevo:9}")
            if (postfix, relevo) != (wanted, wanted):
                wrong.append(name)
                lines.append(textwrap.indent(f"{words}\n{answer}", "      "))
        print("\n".join(lines))
        assert not wrong, f"other verdicts: {', '.join(wrong)}"
    finally:
        internet.stop()


def relay_configuration(folder, delivery="mta_sts = false", more=""):
    path = folder / "relevo.toml"
    path.write_text(textwrap.dedent(f"""\
        hostname = "mta.sender.test"
        postmaster = "postmaster@sender.test"
        data_dir = "{folder}/data"
        [dns]
        nameservers = ["{RESOLVER}:53"]
        dnssec_trust_anchor = "{folder}/anchor.key"
        [delivery]
        allow_networks = ["127.0.0.0/8"]
        {delivery}
        [smtp]
        relay = ["127.0.0.1:2525"]
        trusted_networks = ["127.0.0.0/8"]
        """) + more)
    return path


class Internet:
    """Names, addresses and mail hosts in a network namespace."""

    def __init__(self, folder, programs, unsigned=None, more=None):
        """`unsigned`: more zones below `test`, with their records. `more`: records for the domains of the table."""
        self.unsigned, self.more = unsigned or {}, more or {}
        self.folder, self.programs, self.name, self.processes = folder, programs, f"relevo-dane-{os.getpid()}", []

    def inside(self, *command, **options):
        return subprocess.run(["ip", "netns", "exec", self.name, *map(str, command)], capture_output=True, text=True, check=False, **options)

    def daemon(self, *command):
        log = open(self.folder / f"{pathlib.Path(command[0]).name}.log", "ab")
        self.processes.append(subprocess.Popen(["ip", "netns", "exec", self.name, *map(str, command)], stdout=log, stderr=log))

    def start(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        # named listens at addresses that an interface has.
        subprocess.run(["ip", "-n", self.name, "address", "add", f"{SERVER}/32", "dev", "lo"], check=True)
        resolv = pathlib.Path("/etc/netns") / self.name
        resolv.mkdir(parents=True)
        # Postfix believes the AD bit only where it is told to.
        (resolv / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions trust-ad edns0\n")
        self.hosts = hosts = Hosts(self.folder)
        anchor = Zones(self.folder, hosts, self.unsigned, self.more).write()
        (self.folder / "anchor.key").write_text(anchor)
        (self.folder / "unbound.conf").write_text(unbound(self.folder))
        self.daemon(self.programs / "named", "-g", "-c", self.folder / "named.conf", "-u", "root")
        self.daemon(self.programs / "unbound", "-d", "-c", self.folder / "unbound.conf")
        self.mail = self.folder / "mail"
        self.mail.mkdir()
        self.daemon(sys.executable, HERE / "dane_hosts.py", hosts.file, self.mail)
        self.wait([(RESOLVER, 53), (SERVER, 53), ("127.0.1.1", 25)])

    def wait(self, places, seconds=30):
        end = time.monotonic() + seconds
        look = f"import socket; [socket.create_connection(place, 1) for place in {places}]"
        while self.inside(sys.executable, "-c", look).returncode != 0:
            assert time.monotonic() < end, "name servers or mail hosts do not answer"
            time.sleep(0.2)

    def postfix(self, name):
        """What posttls-finger comes to at level `dane`, and its words."""
        done = self.inside("posttls-finger", "-c", "-l", "dane", "-L", "summary,verbose", "-t", "20", f"{name}.test", timeout=120)
        words = done.stdout + done.stderr
        return postfix_verdict(words), words

    def show(self, binary, config, domain):
        return self.inside(binary, "tls", "--json", "--config", config, "show", domain, timeout=120)

    def relevo(self, binary, config, name):
        done = self.show(binary, config, f"{name}.test")
        if not done.stdout.startswith("{"):
            words = done.stdout + done.stderr
            # The MX records themselves cannot be had.
            return "deferred" if "did not answer" in words else "error", words
        return relevo_verdict(json.loads(done.stdout)), done.stdout

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        subprocess.run(["ip", "netns", "delete", self.name], check=False)
        shutil.rmtree(pathlib.Path("/etc/netns") / self.name, ignore_errors=True)


def postfix_verdict(words):
    if re.search(r"lookup error|lookup failed", words):
        return "deferred"
    if "DNSSEC-signed TLSA record" in words:
        return "verified" if "Verified TLS connection established" in words else "failed"
    if "unsupported TLSA certificate usage" in words:
        return "encrypt"
    return "may" if "TLS connection established" in words else "unknown"


def relevo_verdict(answer):
    [host] = answer["hosts"]
    shake = host["handshake"] or ""
    if host["needs"] == "refused":
        return "deferred"
    if host["needs"] == "verified":
        return "verified" if "the certificate is valid" in shake else "failed"
    return {"required": "encrypt", "opportunistic": "may"}.get(host["needs"], host["needs"])


class Hosts:
    """The mail hosts: an address each, their certificates, and what the TLSA records say."""

    def __init__(self, folder):
        self.folder, self.listeners, self.addresses, self.certificates = folder / "certificates", [], {}, {}
        self.folder.mkdir()
        self.file = folder / "hosts.json"
        self.authority()
        for number, name in enumerate(CASES, 1):
            self.addresses[name] = f"127.0.1.{number}"
            self.certificates[name] = self.certificate(name)
            chain, key = self.certificates[name]
            tls = None if name == "clear" else [str(chain), str(key)]
            self.listeners.append({"address": self.addresses[name], "tls": tls})
        self.file.write_text(json.dumps(self.listeners))

    def openssl(self, *arguments, stdin=None):
        done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr.decode()}"
        return done.stdout

    def authority(self, name="ca"):
        """Makes it, and signs with it from now on."""
        self.ca, self.ca_key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=authority",
                     "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
                     "-keyout", self.ca_key, "-out", self.ca)

    def certificate(self, name, names=None):
        """Of the authority, with it in the chain."""
        key, request, leaf, chain = (self.folder / f"{name}.{ending}" for ending in ("key", "csr", "crt", "pem"))
        host = "mx.elsewhere.test" if name == "anchor-name" else f"mx.{name}.test"
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={host}", "-keyout", key, "-out", request)
        extensions = self.folder / f"{name}.ext"
        names = ",".join(f"DNS:{name}" for name in names or [host])
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        days = "-1" if name.endswith("expired-cert") else "20"
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", leaf)
        chain.write_bytes(leaf.read_bytes() + self.ca.read_bytes())
        return chain, key

    def digest(self, name, selector, kind):
        """Of the first certificate of a chain: as a TLSA record has it."""
        path = self.certificates[name][0] if name else self.ca
        if selector == 0:
            octets = self.openssl("x509", "-in", path, "-outform", "DER")
        else:
            octets = self.openssl("pkey", "-pubin", "-outform", "DER", stdin=self.openssl("x509", "-in", path, "-noout", "-pubkey"))
        return self.openssl("dgst", {1: "-sha256", 2: "-sha512"}[kind], "-binary", stdin=octets).hex()

    def tlsa(self, name):
        own = f"3 1 1 {self.digest(name, 1, 1)}"
        other = f"3 1 1 {'ab' * 32}"
        return {
            "full": [f"3 0 2 {self.digest(name, 0, 2)}"],
            "anchor": [f"2 0 1 {self.digest(None, 0, 1)}"],
            "anchor-name": [f"2 0 1 {self.digest(None, 0, 1)}"],
            "rollover": [other, own],
            "digest": [other],
            "pkix": [f"1 1 1 {self.digest(name, 1, 1)}"],
            "mixed": [f"1 1 1 {'ab' * 32}", own],
            "none": [],
            "outside": [],
            "servfail": [],
        }.get(name, [own])


class Zones:
    """A root, `test` with NSEC3 and opt-out, a zone for each domain, and an unsigned one."""

    def __init__(self, folder, hosts, unsigned, more):
        self.folder, self.hosts, self.zones, self.unsigned, self.more = folder / "zones", hosts, [], unsigned, more
        self.folder.mkdir()

    def write(self):
        """Returns the DNSKEY of the root."""
        signers = []
        for name in CASES:
            signers += self.domain(name)
        self.plain("unsigned.test", f"mx A {self.hosts.addresses['outside']}\nout A {self.hosts.addresses['alias-out']}\n")
        for name, text in self.unsigned.items():
            self.plain(f"{name}.test", text)
        names = [*CASES, "unsigned", *self.unsigned]
        below = "".join(f"{name} NS ns.{name}\n" for name in names)
        glue = "".join(f"ns.{name} A {SERVER}\n" for name in names)
        self.zone("test", below + glue + "".join(signers), "ECDSAP256SHA256", "-3", "aabb", "-A")
        self.zone(".", f"test NS ns.test\nns.test A {SERVER}\n" + (self.folder / "dsset-test.").read_text(), "ECDSAP256SHA256")
        zones = "".join(f'zone "{zone}" {{ type primary; file "{path}"; }};\n' for zone, path in self.zones)
        (self.folder.parent / "named.conf").write_text(
            f'options {{ directory "{self.folder}"; listen-on {{ {SERVER}; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none; session-keyfile none; '
            f"dnssec-validation no; allow-transfer {{ none; }}; }};\ncontrols {{ }};\n{zones}")
        [key] = self.folder.glob("K.+*.key")
        return "".join(line for line in key.read_text().splitlines(keepends=True) if " IN DNSKEY " in line)

    def domain(self, name):
        """Returns the DS records of the domain: none where it is not signed."""
        target = {"outside": "mx.unsigned.test.", "alias": "here", "alias-out": "here"}.get(name, "mx")
        text = f"@ MX 0 {target}\n"
        text += f"mx A {self.hosts.addresses[name]}\n"
        text += {"alias": "here CNAME mx\n", "alias-out": "here CNAME out.unsigned.test.\n"}.get(name, "")
        owner = "here" if name == "alias-out" else "mx"
        text += "".join(f"_25._tcp.{owner} TLSA {record}\n" for record in self.hosts.tlsa(name))
        text += self.more.get(name, "")
        if name == "servfail":
            # Nobody is at that address.
            text += "_tcp.mx NS ns.nowhere\nns.nowhere A 127.0.0.99\n"
        zone = f"{name}.test"
        if name == "optout":
            self.plain(zone, text)
            return []
        options = ["-3", "0123"] if name in ("nsec3", "alg7") else []
        if name == "expired":
            options += ["-s", "20240101000000", "-e", "20240201000000"]
        self.zone(zone, text, SIGNED.get(name, "ECDSAP256SHA256"), *options)
        if name == "bogus":
            self.spoil(zone)
        return [(self.folder / f"dsset-{zone}.").read_text()]

    def soa(self, zone):
        at = zone.rstrip(".")
        return f"$ORIGIN {at}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A {SERVER}\n"

    def plain(self, zone, text):
        path = self.folder / f"{zone}.zone"
        path.write_text(self.soa(zone) + text)
        self.zones.append((zone, path))

    def zone(self, zone, text, algorithm, *options):
        path = self.folder / f"{zone.rstrip('.') or 'root'}.zone"
        size = ["-b", "2048"] if "RSA" in algorithm else []
        self.tool("dnssec-keygen", "-q", "-a", algorithm, *size, "-f", "KSK", "-K", self.folder, zone)
        path.write_text(self.soa(zone) + text)
        # One key signs everything.
        self.tool("dnssec-signzone", "-q", "-S", "-z", "-P", "-K", self.folder, "-d", self.folder, "-o", zone, *options, "-f", f"{path}.signed", path)
        self.zones.append((zone, f"{path}.signed"))

    def spoil(self, zone):
        path = self.folder / f"{zone}.zone.signed"
        text = path.read_text()
        changed = re.sub(r"(TLSA\s+3 1 1 \(\s*)[0-9A-F]{8}", r"\g<1>00000000", text)
        assert changed != text, "no TLSA record in the signed zone"
        path.write_text(changed)

    def tool(self, *command):
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=self.folder, check=False)
        assert done.returncode == 0, f"{command[0]}: {done.stderr}"


def unbound(folder):
    return textwrap.dedent(f"""\
        server:
          interface: {RESOLVER}
          do-daemonize: no
          username: ""
          chroot: ""
          pidfile: ""
          directory: "{folder}"
          use-syslog: no
          do-not-query-localhost: no
          trust-anchor-file: "{folder}/anchor.key"
          local-zone: "test." nodefault
          module-config: "validator iterator"
          do-ip6: no
          so-rcvbuf: 0
          so-sndbuf: 0
        remote-control:
          control-enable: no
        stub-zone:
          name: "."
          stub-addr: {SERVER}
        """)
