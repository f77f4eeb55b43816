"""A network namespace with an Internet of its own: signed zones, a validating resolver, mail hosts."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import time

HERE = pathlib.Path(__file__).parent
SERVER, RESOLVER = "127.0.0.2", "127.0.0.1"
SIGNED = {"alg7": "NSEC3RSASHA1", "alg8": "RSASHA256"}
# The recipient domain where it is not NAME.test.
ASKED = {"dname": "shop.old.dname.test"}


def asked(name):
    return ASKED.get(name, f"{name}.test")


class Internet:
    """Names, addresses and mail hosts in a network namespace."""

    def __init__(self, folder, programs, names, unsigned=None, ttl=300):
        """`names`: of the domains, with what is special in them. `unsigned`: more zones below `test`, with their records."""
        self.names, self.unsigned, self.ttl = names, unsigned or {}, ttl
        self.folder, self.programs, self.name, self.processes = folder, programs, f"relevo-dane-{os.getpid()}", []

    def inside(self, *command, **options):
        return subprocess.run(["ip", "netns", "exec", self.name, *map(str, command)], capture_output=True, text=True, check=False, **options)

    def daemon(self, *command):
        log = open(self.folder / f"{pathlib.Path(command[0]).name}.log", "ab")
        self.processes.append(subprocess.Popen(["ip", "netns", "exec", self.name, *map(str, command)], stdout=log, stderr=log))
        return self.processes[-1]

    def start(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        # named listens at addresses that an interface has.
        subprocess.run(["ip", "-n", self.name, "address", "add", f"{SERVER}/32", "dev", "lo"], check=True)
        self.mail = self.folder / "mail.jsonl"
        resolv = pathlib.Path("/etc/netns") / self.name
        resolv.mkdir(parents=True)
        # Postfix believes the AD bit only where it is told to.
        (resolv / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions trust-ad edns0\n")
        self.hosts = Hosts(self.folder, self.names)
        self.zones = Zones(self.folder, self.hosts, self.names, self.unsigned, self.ttl)
        anchor = self.zones.write()
        (self.folder / "anchor.key").write_text(anchor)
        (self.folder / "unbound.conf").write_text(unbound(self.folder))
        self.named = self.daemon(self.programs / "named", "-g", "-c", self.folder / "named.conf", "-u", "root")
        self.daemon(self.programs / "unbound", "-d", "-c", self.folder / "unbound.conf")
        self.daemon(sys.executable, HERE / "dane_hosts.py", self.hosts.file, self.mail)
        self.wait([(RESOLVER, 53), (SERVER, 53), ("127.0.1.1", 25)])

    def wait(self, places, seconds=30):
        end = time.monotonic() + seconds
        look = f"import socket; [socket.create_connection(place, 1) for place in {places}]"
        while self.inside(sys.executable, "-c", look).returncode != 0:
            assert time.monotonic() < end, "name servers or mail hosts do not answer"
            time.sleep(0.2)

    def received(self):
        """What the mail hosts have taken: dicts with `address`, `tls`, `certificate`, `subject`, `recipient`."""
        return [json.loads(line) for line in self.mail.read_text().splitlines()] if self.mail.exists() else []

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


class Hosts:
    """The mail hosts: an address each, their certificates, and what the TLSA records say."""

    def __init__(self, folder, names):
        self.folder, self.listeners, self.addresses, self.certificates = folder / "certificates", [], {}, {}
        self.folder.mkdir()
        self.file = folder / "hosts.json"
        self.authority()
        for number, name in enumerate(names, 1):
            self.addresses[name] = f"127.0.1.{number}"
            self.certificates[name] = self.certificate(name)
            chain = None if name == "clear" else str(self.certificates[name][0])
            self.listeners.append({"address": self.addresses[name], "chain": chain})
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
        """Of the authority, with it in the chain. The file of the chain has the key, too: one rename changes both."""
        key, request, leaf, chain = (self.folder / f"{name}.{ending}" for ending in ("key", "csr", "crt", "pem"))
        host = "mx.elsewhere.test" if name == "anchor-name" else f"mx.{name}.test"
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={host}", "-keyout", key, "-out", request)
        extensions = self.folder / f"{name}.ext"
        names = ",".join(f"DNS:{name}" for name in names or [host])
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        days = "-1" if name == "expired-cert" else "20"
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", leaf)
        chain.write_bytes(leaf.read_bytes() + self.ca.read_bytes() + key.read_bytes())
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

    def __init__(self, folder, hosts, names, unsigned, ttl):
        self.folder, self.hosts, self.names, self.unsigned, self.ttl = folder / "zones", hosts, names, unsigned, ttl
        self.zones = []
        self.folder.mkdir()

    def write(self):
        """Returns the DNSKEY of the root."""
        signers = []
        for name in self.names:
            signers += self.domain(name)
        outside = {"outside": "mx", "alias-out": "out"}
        self.plain("unsigned.test", "".join(f"{owner} A {self.hosts.addresses[name]}\n" for name, owner in outside.items() if name in self.names))
        for name, text in self.unsigned.items():
            self.plain(f"{name}.test", text)
        names = [*self.names, "unsigned", *self.unsigned]
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
        address = self.hosts.addresses[name]
        target = {"outside": "mx.unsigned.test.", "alias": "here", "alias-out": "here", "dname-host": "mx.old"}.get(name, "mx")
        text = f"@ MX 0 {target}\n" + {
            "alias": f"here CNAME mx\nmx A {address}\n",
            "alias-out": "here CNAME out.unsigned.test.\n",
            "dname": f"old DNAME new\nshop.new MX 0 mx\nmx A {address}\n",
            "dname-host": f"old DNAME new\nmx.new A {address}\n",
            "dname-tlsa": f"_tcp.mx DNAME records\nmx A {address}\n",
            "tlsa-alias": f"_25._tcp.mx CNAME record\nmx A {address}\n",
        }.get(name, f"mx A {address}\n")
        owner = {
            "alias-out": "_25._tcp.here",
            "dname-host": "_25._tcp.mx.new",
            "dname-tlsa": "_25.records",
            "tlsa-alias": "record",
        }.get(name, "_25._tcp.mx")
        text += "".join(f"{owner} TLSA {record}\n" for record in self.hosts.tlsa(name))
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
        return f"$ORIGIN {at}.\n$TTL {self.ttl}\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A {SERVER}\n"

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
