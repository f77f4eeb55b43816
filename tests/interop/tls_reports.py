"""TLS reports (RFC 8460): sessions of a day with good and wrong domains, and the reports about them.

The namespace is that of `dane_net.py`, with domains of MTA-STS beside it. The relay runs with libfaketime: first
on a day, then on the next one, faster. Reports come by mail and by POST; parsedmarc reads them, dkimpy verifies them.
"""

import gzip
import http.server
import json
import os
import pathlib
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from unittest import mock

import dkim

import dane
from dane_net import Internet
from relay import LIBFAKETIME

ROW = "tls reports: sessions of a day, by mail and by HTTPS"
ROWS = [ROW]
SENDER, FROM = "sender.test", "tls-reports@sender.test"
POLICIES, UNTRUSTED = "127.0.3.1", "127.0.3.2"
BY_MAIL, BY_POST = "mailto:tlsrpt@collect.rpt.test", "https://collect.rpt.test/v1"
DAY = 86_400

# Of each domain. How many sessions they take is seen at its host.
MESSAGES = 3
# Domain: where its reports go, type of policy, result type of sessions that do not go well.
CASES = {
    "good.test": ([BY_MAIL, BY_POST], "tlsa", None),
    # To the domain whose TLSA record is wrong: the report arrives all the same (section 5.3).
    "digest.test": (["mailto:tlsrpt@digest.test"], "tlsa", "tlsa-invalid"),
    "anchor-name.test": ([BY_MAIL], "tlsa", "certificate-host-mismatch"),
    "clear.test": ([BY_MAIL], "tlsa", "starttls-not-supported"),
    "bogus.test": ([BY_MAIL], "tlsa", "dnssec-invalid"),
    "none.test": ([BY_MAIL], "no-policy-found", None),
    "ok.rpt.test": ([BY_POST], "sts", None),
    "name.rpt.test": ([BY_POST], "sts", "certificate-host-mismatch"),
    "plain.rpt.test": ([BY_MAIL], "sts", "starttls-not-supported"),
    "expired-cert.rpt.test": ([BY_MAIL], "sts", "certificate-expired"),
    "testing.rpt.test": ([BY_MAIL], "sts", "certificate-not-trusted"),
    "other-mx.rpt.test": ([BY_MAIL], "sts", "validation-failure"),
    "invalid.rpt.test": ([BY_MAIL], "sts", "sts-policy-invalid"),
    "missing.rpt.test": ([BY_MAIL], "sts", "sts-policy-fetch-error"),
    "webpki.rpt.test": ([BY_MAIL], "sts", "sts-webpki-invalid"),
}
# Domains that get no report, with the records that they have. Nobody is told that `refused` was.
SILENT = {
    "no-record.rpt.test": [],
    "two-records.rpt.test": [BY_MAIL, BY_POST],
    "refused.rpt.test": ["mailto:tlsrpt@refused.rpt.test"],
}
HOSTS = [name.removesuffix(".rpt.test") for name in (*CASES, *SILENT, "collect.rpt.test") if name.endswith(".rpt.test")]


def run(table, binary, folder, dns, parsedmarc):
    table.run(ROW, lambda: check(binary, folder / "tls-reports", pathlib.Path(dns) / "usr/sbin", parsedmarc))


def check(binary, folder, programs, parsedmarc):
    folder.mkdir()
    records = {}
    for domain, places in {**{name: case[0] for name, case in CASES.items()}, **SILENT}.items():
        several = [[place] for place in places] if domain in SILENT else [places]
        records[domain] = [f'_smtp._tls TXT "v=TLSRPTv1; rua={",".join(each)}"\n' for each in several]
    more = {name.removesuffix(".test"): "".join(texts) for name, texts in records.items() if not name.endswith(".rpt.test")}
    names = [name.removesuffix(".test") for name in CASES if not name.endswith(".rpt.test")]
    internet = Internet(folder, programs, names, {"rpt": zone(records)}, more)
    try:
        internet.start()
        trusted = internet.hosts.ca
        serve_all(internet)
        config, keys = configuration(binary, folder, trusted)
        # Not over midnight: then the sessions would be those of two days.
        offset = 900 if time.time() % DAY > DAY - 600 else 0
        first_day(internet, binary, config, f"+{offset}")
        day = int((time.time() + offset) // DAY)
        totals = {domain: count for domain, count in sessions(internet).items() if domain in CASES}
        mails, posts = second_day(internet, binary, config, f"+{offset + DAY} x10")
        judge(mails, posts, keys, day, totals, parsedmarc, folder)
        left = tallies(folder)
        assert not left, f"what carried reports was counted, or reports are not done with: {left}"
    finally:
        internet.stop()


def zone(records):
    text = "collect A 127.0.3.1\n"
    for number, name in enumerate(HOSTS, 1):
        text += f"{name} MX 0 mx.{name}\nmx.{name} A 127.0.2.{number}\n"
        for record in records.get(f"{name}.rpt.test", []):
            text += record.replace("_smtp._tls", f"_smtp._tls.{name}")
        if name not in ("collect", *(silent.removesuffix(".rpt.test") for silent in SILENT)):
            address = UNTRUSTED if name == "webpki" else POLICIES
            text += f'mta-sts.{name} A {address}\n_mta-sts.{name} TXT "v=STSv1; id=1"\n'
    return text


def serve_all(internet):
    """Mail hosts of the domains of MTA-STS, and the servers of policies and reports."""
    hosts, listeners = internet.hosts, []
    names = [f"mta-sts.{name}.rpt.test" for name in HOSTS] + ["collect.rpt.test"]
    servers = [[POLICIES, *map(str, hosts.certificate("policies", names))]]
    for number, name in enumerate(HOSTS, 1):
        if name == "testing":
            continue
        host = "elsewhere.test" if name == "name" else f"mx.{name}.rpt.test"
        chain, _ = hosts.certificate(f"rpt-{name}", [host])
        listeners.append({"address": f"127.0.2.{number}", "chain": None if name == "plain" else str(chain), "refuses": name == "refused"})
    hosts.authority("other")
    servers.append([UNTRUSTED, *map(str, hosts.certificate("untrusted", names))])
    chain, _ = hosts.certificate("rpt-testing", ["mx.testing.rpt.test"])
    listeners.append({"address": f"127.0.2.{HOSTS.index('testing') + 1}", "chain": str(chain)})
    file = internet.folder / "rpt.json"
    file.write_text(json.dumps(listeners))
    internet.serve(file)
    internet.daemon(sys.executable, __file__, json.dumps(servers), internet.mail)
    internet.wait([(POLICIES, 443), (UNTRUSTED, 443)])


def configuration(binary, folder, trusted):
    keys, dkims = {}, []
    for selector, algorithm in (("rsa", "rsa-sha256"), ("ed", "ed25519-sha256")):
        key = folder / f"{selector}.pem"
        said = subprocess.run([binary, "key", "generate", "--domain", SENDER, "--selector", selector, "--algorithm", algorithm, "--out", key],
                              capture_output=True, text=True, check=True).stdout
        line = next(line for line in said.splitlines() if " IN TXT " in line)
        keys[f"{selector}._domainkey.{SENDER}"] = "".join(line.split('"')[1::2])
        dkims.append(f'{{ selector = "{selector}", algorithm = "{algorithm}", key = "{key}" }}')
    return dane.relay_configuration(folder, f'ca_file = "{trusted}"\nretry = ["3d"]', more=f"""
[tls_report]
from = "{FROM}"
organization = "Sender"
[[tenant]]
id = "interop"
[[tenant.domain]]
name = "{SENDER}"
dkim = [{", ".join(dkims)}]
"""), keys


class Faked:
    """The relay in the namespace, at another time."""

    def __init__(self, internet, binary, config, shift):
        self.log = open(internet.folder / "relevo.log", "ab")
        # `ip netns exec` becomes what it runs.
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", internet.name, "env", f"LD_PRELOAD={LIBFAKETIME}", f"FAKETIME={shift}", binary, "serve", "--config", config],
            stderr=self.log)
        try:
            internet.wait([("127.0.0.1", 2525)], 120)
        except AssertionError:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.log.close()


def first_day(internet, binary, config, shift):
    """Messages to each domain. The day is over when all sessions are stored."""
    recipients = [f"ada@{name}" for name in [*CASES] * MESSAGES + [*SILENT]]
    send = (f"import smtplib\nfor to in {recipients}:\n with smtplib.SMTP('127.0.0.1', 2525) as smtp:\n"
            f"  smtp.sendmail('shop@{SENDER}', [to], f'From: <shop@{SENDER}>\\r\\nTo: <{{to}}>\\r\\nSubject: day\\r\\n\\r\\nHello.\\r\\n')\n")
    with Faked(internet, binary, config, shift):
        done = internet.inside(sys.executable, "-c", send, timeout=60)
        assert done.returncode == 0, done.stderr
        end = time.monotonic() + 100
        while True:
            stored, seen = counts(internet.folder), sessions(internet)
            if set(stored) == {*CASES, *SILENT} and {domain: stored[domain] for domain in seen} == seen:
                break
            assert time.monotonic() < end, f"{stored} are stored, {seen} came about"
            time.sleep(1)


def sessions(internet):
    """At the hosts of domains: how many connections said EHLO."""
    addresses = {address: f"{name}.test" for name, address in internet.hosts.addresses.items()}
    addresses.update({f"127.0.2.{number}": f"{name}.rpt.test" for number, name in enumerate(HOSTS, 1)})
    met = [addresses[address] for address in internet.sessions()]
    return {domain: met.count(domain) for domain in met}


def counts(folder):
    """Sessions of each domain, as the relay stores them."""
    return {domain: sum(count["successes"] + count["failures"] for _, count in json.loads(body)["policies"])
            for domain, body in tallies(folder).items()}


def second_day(internet, binary, config, shift):
    """Ten minutes in a minute. Returns the reports by mail, each with the address of its host, and those by POST."""
    wanted = sum(len(places) for places, *_ in CASES.values())
    before = set(internet.mail.iterdir())
    with Faked(internet, binary, config, shift):
        end = time.monotonic() + 100
        while True:
            # More than a minute of the relay's: what it should not send would come, and be counted.
            time.sleep(7)
            mails = [path for path in internet.mail.glob("*.eml") if path not in before]
            posts = list(internet.mail.glob("*.post"))
            if len(mails) + len(posts) >= wanted and not tallies(internet.folder):
                break
            assert time.monotonic() < end, f"{len(mails)} mails and {len(posts)} posts, {wanted} wanted; not done with {tallies(internet.folder)}"
        time.sleep(3)
        mails = [path for path in internet.mail.glob("*.eml") if path not in before]
        return mails, list(internet.mail.glob("*.post"))


def tallies(folder):
    """What is counted of each domain, as the relay stores it."""
    with sqlite3.connect(f"file:{folder}/data/control.sqlite?mode=ro", uri=True, timeout=30) as store:
        return dict(store.execute("SELECT domain, body FROM tls_tally"))


def judge(mails, posts, keys, day, totals, parsedmarc, folder):
    by_mail, by_post = {}, {}
    for path in mails:
        domain, report = judge_mail(path.read_bytes(), keys, day)
        assert by_mail.setdefault(domain, report) is report, f"two mails about {domain}"
    for path in posts:
        kind, _, octets = path.read_bytes().partition(b"\n")
        assert kind == b"application/tlsrpt+gzip /v1", kind
        report = json.loads(gzip.decompress(octets))
        domain = report["policies"][0]["policy"]["policy-domain"]
        assert by_post.setdefault(domain, report) is report, f"two posts about {domain}"
    for scheme, reports in (("mailto:", by_mail), ("https:", by_post)):
        wanted = {name for name, (places, *_) in CASES.items() if any(place.startswith(scheme) for place in places)}
        assert set(reports) == wanted, f"{scheme} about {set(reports)}"
    assert by_mail["good.test"] == by_post["good.test"], "not the same report in both places"
    for reports in (by_mail, by_post):
        for domain, report in reports.items():
            judge_report(domain, report, day)
    read = list(parsed(parsedmarc, [*mails, *posts], folder))
    assert len(read) == len(mails) + len(posts), f"parsedmarc reads {len(read)} of {len(mails) + len(posts)} reports"
    for domain, kind, successes, failures in read:
        _, *wanted = CASES[domain]
        print(f"  {domain:22} {kind:15} {successes} {failures}")
        total = successes + sum(failures.values())
        found = [kind, None if successes == total else "".join(failures)]
        assert found == wanted and bool(successes) != bool(failures), f"parsedmarc reads of {domain}: {kind}, {successes}, {failures}"
        assert total == totals.get(domain, total) and 1 <= total <= MESSAGES, f"{total} sessions with {domain}, {totals.get(domain)} at its host"


def judge_mail(raw, keys, day):
    """Fields, signatures and attachment. Returns the domain and the report."""
    mail = message_from_bytes(raw)
    domain = mail["TLS-Report-Domain"]
    assert (mail["TLS-Report-Submitter"], mail["From"]) == (SENDER, f"<{FROM}>"), mail["From"]
    assert (mail.get_content_type(), mail.get_param("report-type")) == ("multipart/report", "tlsrpt"), mail["Content-Type"]
    words, attached = mail.get_payload()
    assert (words.get_content_type(), attached.get_content_type()) == ("text/plain", "application/tlsrpt+gzip")
    name = re.fullmatch(rf"{SENDER}!{re.escape(domain)}!{day * DAY}!{day * DAY + DAY - 1}!([\w.-]+)\.json\.gz", attached.get_filename())
    assert name, attached.get_filename()
    report = json.loads(gzip.decompress(attached.get_payload(decode=True)))
    subject = " ".join(mail["Subject"].split())
    assert subject == f"Report Domain: {domain} Submitter: {SENDER} Report-ID: <{report['report-id']}@{SENDER}>", subject
    written = parsedate_to_datetime(mail["Date"]).timestamp()
    assert written >= (day + 1) * DAY, mail["Date"]
    # A key that is published for reports alone, and one that is published as the relay prints it.
    for service, strictness in (("s=tlsrpt; ", "strict"), ("", True)):
        for number in range(2):
            look = lambda name, timeout=5: re.sub("^v=DKIM1; ", f"v=DKIM1; {service}", keys[name.decode().rstrip(".")]).encode()
            # It was signed on the next day.
            with mock.patch("time.time", return_value=written):
                assert dkim.DKIM(raw, tlsrpt=strictness).verify(idx=number, dnsfunc=look), f"signature {number} of {domain}"
    return domain, report


def judge_report(domain, report, day):
    """What parsedmarc does not look at."""
    start = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(day * DAY))
    assert report["date-range"] == {"start-datetime": start, "end-datetime": start.replace("00:00:00", "23:59:59")}, report["date-range"]
    assert (report["organization-name"], report["contact-info"]) == ("Sender", FROM), report
    [policy] = report["policies"]
    kind, text = policy["policy"]["policy-type"], policy["policy"].get("policy-string", [])
    if kind == "sts" and domain not in ("invalid.rpt.test", "missing.rpt.test", "webpki.rpt.test"):
        assert "version: STSv1" in text and policy["policy"]["mx-host"], policy
    if kind == "tlsa" and domain != "bogus.test":
        assert all(re.fullmatch(r"[23] [01] [012] [0-9a-f]{64}", line) for line in text) and text, policy
    for detail in policy.get("failure-details", []):
        assert detail["receiving-mx-hostname"].endswith(domain), detail
        assert detail["result-type"] in ("dnssec-invalid", "validation-failure") or detail["receiving-ip"].startswith("127.0."), detail


def parsed(program, paths, folder):
    files = []
    for path in paths:
        files.append(folder / f"{path.stem}.json.gz" if path.suffix == ".post" else path)
        if path.suffix == ".post":
            files[-1].write_bytes(path.read_bytes().partition(b"\n")[2])
    out = folder / "parsed"
    done = subprocess.run([program, "--offline", "--silent", "--output", out, *files], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for report in json.loads((out / "smtp_tls.json").read_text()):
        [policy] = report["policies"]
        failures = {detail["result_type"]: detail["failed_session_count"] for detail in policy.get("failure_details", [])}
        assert policy["failed_session_count"] == sum(failures.values()), policy
        yield policy["policy_domain"], policy["policy_type"], policy["successful_session_count"], failures


class Server(http.server.BaseHTTPRequestHandler):
    """Policies, and reports that are posted."""

    def do_GET(self):
        name = self.headers["Host"].split(".")[1]
        mode, mx = ("testing" if name == "testing" else "enforce"), f"mx.{'nowhere' if name == 'other-mx' else name}.rpt.test"
        body = "nothing\r\n" if name == "invalid" else f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 604800\r\n"
        self.send_response(404 if name == "missing" else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        kind = f"{self.headers['Content-Type']} {self.path}\n".encode()
        part = pathlib.Path(sys.argv[2]) / f"{os.urandom(8).hex()}.part"
        part.write_bytes(kind + octets)
        part.rename(part.with_suffix(".post"))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(address, chain, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server = http.server.ThreadingHTTPServer((address, 443), Server)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    import threading

    for server in json.loads(sys.argv[1]):
        threading.Thread(target=serve, args=server).start()
