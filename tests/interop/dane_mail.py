"""DANE with mail that is really sent, by Relevo and by Postfix, while certificates and keys are rolled over."""

import collections
import json
import pathlib
import subprocess
import sys
import time

import dane
import peers
from dane_net import HERE, Internet
from relay import free_port

DELIVERED = "dane: what Relevo and Postfix deliver, and what waits"
CERTIFICATE = "dane: mail flows while a certificate is rolled over"
TOO_EARLY = "dane: mail waits for the TLSA of a new certificate"
KEYS = "dane: mail flows while the keys of a zone are rolled over"
ROWS = [DELIVERED, CERTIFICATE, TOO_EARLY, KEYS]

# Whether mail arrives, with TLS. What does not arrive waits.
CASES = {"good": True, "pkix": True, "none": True, "dname": True, "digest": False, "bogus": False, "clear": False}
TTL = 2
# Between two steps of a roll-over: two lifetimes of what was published before (RFC 7671 section 8.1).
STEP = 2 * TTL + 1
SENDERS = ("Relevo", "Postfix")
NEVER = 3600


def run(table, binary, folder, dns):
    """`dns`: the files of named and unbound."""
    folder = folder / "dane-mail"
    folder.mkdir()
    internet = Internet(folder, pathlib.Path(dns) / "usr/sbin", [*CASES, "rolled", "early", "keys"], ttl=TTL)
    try:
        internet.start()
        for row, check, retry in ((DELIVERED, delivered, NEVER), (CERTIFICATE, certificate, NEVER), (TOO_EARLY, too_early, 3), (KEYS, keys, NEVER)):
            table.run(row, lambda check=check, retry=retry: sent(internet, binary, retry, check))
    finally:
        internet.stop()


def sent(internet, binary, retry, check):
    """What cannot be delivered at once is tried again after `retry` seconds."""
    senders = Senders(internet, binary, retry)
    try:
        check(internet, senders)
    finally:
        senders.stop()


class Senders:
    """A relay and a Postfix that deliver by MX with DANE."""

    def __init__(self, internet, binary, retry):
        self.internet, self.binary, self.flows = internet, binary, []
        folder = internet.folder / f"senders-{len(list(internet.folder.glob('senders-*')))}"
        folder.mkdir()
        (folder / "anchor.key").write_bytes((internet.folder / "anchor.key").read_bytes())
        # A connection for each message: one that is open already is not asked for its certificate again.
        self.config = dane.relay_configuration(folder, f'mta_sts = false\nretry = ["{retry}s"]\nmessages_per_connection = 1')
        with open(self.config, "a") as config:
            config.write('[[tenant]]\nid = "interop"\n[[tenant.domain]]\nname = "sender.test"\n')
        self.relay = internet.daemon(binary, "serve", "--config", self.config)
        try:
            self.postfix = peers.Postfix(folder / "postfix", namespace=internet.name, delivery=(
                "smtp_dns_support_level = dnssec\nsmtp_tls_security_level = dane\nsmtp_host_lookup = dns\nsmtp_tls_loglevel = 1\n"
                f"minimal_backoff_time = {retry}s\nmaximal_backoff_time = {retry}s\nqueue_run_delay = {min(retry, 300)}s\n"))
        except BaseException:
            self.relay.terminate()
            raise
        self.ports = {"Relevo": 2525, "Postfix": self.postfix.port}
        internet.wait([("127.0.0.1", port) for port in self.ports.values()], 120)

    def send(self, marker, count, interval, *domains):
        """Begins to send, by both. Subjects are SENDER-MARKER-NUMBER."""
        for sender, port in self.ports.items():
            self.flows.append(self.internet.daemon(sys.executable, HERE / "dane_send.py", port, f"{sender}-{marker}", count, interval, *domains))

    def finish(self, seconds=60):
        """Until all is handed to the senders."""
        for flow in self.flows:
            assert flow.wait(seconds) == 0, f"a message was not taken: {self.internet.folder}/{pathlib.Path(sys.executable).name}.log"
        self.flows = []

    def waiting(self):
        """How many messages wait, by sender."""
        queue = self.internet.inside(self.binary, "queue", "--json", "--config", self.config, "list")
        postfix = subprocess.run(["postqueue", "-c", str(self.postfix.config), "-j"], capture_output=True, text=True, check=True)
        return {"Relevo": len(json.loads(queue.stdout)), "Postfix": len(postfix.stdout.splitlines())}

    def stop(self):
        for process in (*self.flows, self.relay):
            process.terminate()
            process.wait(30)
        self.postfix.stop()


def arrived(internet, marker):
    """The messages of a flow, by sender; none may have come in clear, or twice."""
    by_sender = {sender: [] for sender in SENDERS}
    for message in internet.received():
        sender, *rest = message["subject"].split("-")
        if rest[:1] == [marker]:
            assert message["tls"], f"in clear: {message}"
            by_sender[sender].append(message)
    for sender, messages in by_sender.items():
        twice = [subject for subject, times in collections.Counter(m["subject"] for m in messages).items() if times > 1]
        assert not twice, f"{sender} sent more than once: {twice}"
    return by_sender


def wait_for_all(internet, marker, count, seconds):
    end = time.monotonic() + seconds
    while True:
        by_sender = arrived(internet, marker)
        counts = {sender: len(messages) for sender, messages in by_sender.items()}
        if min(counts.values()) >= count:
            return by_sender
        assert time.monotonic() < end, f"of {count} messages arrived within {seconds} s: {counts}"
        time.sleep(0.5)


def delivered(internet, senders):
    domains = [dane.asked(name) for name in CASES]
    senders.send("case", len(domains), 0, *domains)
    senders.finish()
    wanted = {dane.asked(name) for name, arrives in CASES.items() if arrives}
    wait_for_all(internet, "case", len(wanted), 60)
    # Long enough for all that must not arrive, too.
    time.sleep(10)
    for sender, messages in arrived(internet, "case").items():
        there = {recipient.split("@")[1] for message in messages for recipient in message["recipients"]}
        assert there == wanted, f"{sender} delivered to {sorted(there)}"
    waiting = senders.waiting()
    assert set(waiting.values()) == {len(CASES) - len(wanted)}, f"in the queues: {waiting}"


def certificate(internet, senders):
    hosts, zones = internet.hosts, internet.zones
    [old] = hosts.tlsa("rolled")
    following, new = hosts.next_certificate("rolled")
    count = 4 * STEP * 2
    senders.send("rolled", count, 0.5, "rolled.test")
    time.sleep(STEP)
    zones.tlsa["rolled"] = [old, new]
    internet.publish("rolled")
    time.sleep(STEP)
    hosts.use("rolled", following)
    time.sleep(STEP)
    zones.tlsa["rolled"] = [new]
    internet.publish("rolled")
    senders.finish()
    for sender, messages in wait_for_all(internet, "rolled", count, 20).items():
        used = collections.Counter(message["certificate"] for message in messages)
        print(f"    {sender}: {dict(used)}")
        assert len(used) == 2, f"{sender} met only one certificate"


def too_early(internet, senders):
    hosts, zones = internet.hosts, internet.zones
    following, new = hosts.next_certificate("early")
    senders.send("before", 1, 0, "early.test")
    wait_for_all(internet, "before", 1, 20)
    hosts.use("early", following)
    senders.send("early", 3, 1, "early.test")
    senders.finish()
    time.sleep(8)
    assert not any(arrived(internet, "early").values()), "delivered to a host with another certificate than the published one"
    zones.tlsa["early"] = [new]
    internet.publish("early")
    wait_for_all(internet, "early", 3, 60)


def keys(internet, senders):
    """ZSK: published before it signs (RFC 6781 section 4.1.1.1). KSK: two sign while the DS changes (section 4.1.2)."""
    zones, zone = internet.zones, "keys.test"
    ksk, zsk = zones.rings["keys"]["published"]
    next_ksk, next_zsk = zones.key(zone, "-f", "KSK"), zones.key(zone)
    steps = [
        ("the next ZSK is published", [ksk, zsk, next_zsk], [ksk, zsk]),
        ("it signs", [ksk, zsk, next_zsk], [ksk, next_zsk]),
        ("the old one is gone", [ksk, next_zsk], [ksk, next_zsk]),
        ("two KSKs sign", [ksk, next_ksk, next_zsk], [ksk, next_ksk, next_zsk]),
        ("the DS is of the next KSK", None, None),
        ("the old one is gone", [next_ksk, next_zsk], [next_ksk, next_zsk]),
    ]
    count = 2 * STEP * (len(steps) + 1)
    # A domain for each message: nothing is known of it before.
    senders.send("keys", count, 0.5, *[f"d{number}.keys.test" for number in range(count)])
    for step, published, signing in steps:
        time.sleep(STEP)
        if published:
            zones.rings["keys"] = {"published": published, "signing": signing}
            internet.publish("keys")
        else:
            internet.delegate("keys", zones.delegation(next_ksk))
        verdicts = dane.with_postfix(internet, "keys")[0], dane.with_relevo(internet, senders.binary, senders.config, "keys")[0]
        print(f"    {step}: {verdicts}")
        assert set(verdicts) == {"verified"}, f"{step}: {verdicts}"
    senders.finish()
    wait_for_all(internet, "keys", count, 20)
