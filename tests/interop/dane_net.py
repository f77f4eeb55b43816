"""A network namespace with an Internet of its own: signed zones, a validating resolver, mail hosts."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from dane_zones import FORWARDER, RESOLVER, SERVER, Zones, unbound

HERE = pathlib.Path(__file__).parent
# The recipient domain where it is not NAME.test.
ASKED = {"dname": "shop.old.dname.test"}


def asked(name):
    return ASKED.get(name, f"{name}.test")


class Internet:
    """Names, addresses and mail hosts in a network namespace."""

    def __init__(self, folder, programs, names, unsigned=None, more=None, ttl=300):
        """`names`: of the domains, with what is special in them. `unsigned`: more zones below `test`, with their records.
        `more`: more records of domains."""
        self.names, self.unsigned, self.more, self.ttl = names, unsigned or {}, more or {}, ttl
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
        self.mail = self.folder / "mail"
        self.mail.mkdir()
        resolv = pathlib.Path("/etc/netns") / self.name
        resolv.mkdir(parents=True)
        # Postfix believes the AD bit only where it is told to.
        (resolv / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions trust-ad edns0\n")
        self.hosts = Hosts(self.folder, self.names)
        self.zones = Zones(self.folder, self.hosts, self.names, self.unsigned, self.more, self.ttl)
        anchor = self.zones.write()
        (self.folder / "anchor.key").write_text(anchor)
        self.named = self.daemon(self.programs / "named", "-g", "-c", self.folder / "named.conf", "-u", "root")
        for address, modules in ((RESOLVER, "validator iterator"), (FORWARDER, "iterator")):
            config = self.folder / f"unbound-{address}.conf"
            config.write_text(unbound(self.folder, address, modules))
            self.daemon(self.programs / "unbound", "-d", "-c", config)
        self.wait([(RESOLVER, 53), (FORWARDER, 53), (SERVER, 53)])
        self.serve(self.hosts.file)

    def serve(self, file):
        """More mail hosts: `file` is a list as that of `dane_hosts.py`."""
        self.daemon(sys.executable, HERE / "dane_hosts.py", file, self.mail)
        self.wait([(host["address"], 25) for host in json.loads(file.read_text())])

    def wait(self, places, seconds=30):
        end = time.monotonic() + seconds
        look = f"import socket; [socket.create_connection(place, 1) for place in {places}]"
        while self.inside(sys.executable, "-c", look).returncode != 0:
            assert time.monotonic() < end, "name servers or mail hosts do not answer"
            time.sleep(0.2)

    def publish(self, name):
        """Writes the zone of a domain anew, and waits until it is served."""
        self.zones.domain(name)
        self.reload(f"{name}.test")

    def delegate(self, name, signers):
        """Gives the parent these DS records of a domain."""
        self.zones.signers[name] = signers
        self.zones.parent()
        self.reload("test")

    def reload(self, zone, seconds=30):
        self.named.send_signal(signal.SIGHUP)
        ask = f"import dns.message, dns.query; print(dns.query.udp(dns.message.make_query('{zone}', 'SOA'), '{SERVER}', 5).answer[0][0].serial)"
        end = time.monotonic() + seconds
        while self.inside(sys.executable, "-c", ask).stdout.strip() != str(self.zones.serial):
            assert time.monotonic() < end, f"named does not serve the new zone {zone}"
            time.sleep(0.2)

    def received(self):
        """What the mail hosts have taken: dicts with `address`, `tls`, `certificate`, `subject`, `recipients`, `file`."""
        return self.told("mail.jsonl")

    def sessions(self):
        """The address of each connection to the mail hosts that said EHLO."""
        return self.told("sessions.jsonl")

    def told(self, name):
        path = self.mail / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

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

    def next_certificate(self, name):
        """Another key and certificate for the host of a domain, not yet in use: the file, and the TLSA record."""
        self.certificates[f"next-{name}"] = self.certificate(f"next-{name}", [f"mx.{name}.test"])
        return self.certificates[f"next-{name}"][0], f"3 1 1 {self.digest(f'next-{name}', 1, 1)}"

    def use(self, name, chain):
        """From the next connection on."""
        os.replace(chain, self.certificates[name][0])

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
        days = "-1" if name.endswith("expired-cert") else "20"
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
            "alias-none": [],
            "dname-out": [],
            "outside": [],
            "servfail": [],
        }.get(name, [own])
