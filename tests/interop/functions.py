"""HTTP functions of a tenant's own, in the languages that they are written in, on hosts that are not ours."""

import base64
import json
import pathlib
import re
import urllib.error
import urllib.request

import edge
import edge_hosts
import verify
from relay import DOMAIN, Relay, Sink

LANGUAGES = {"Rust": "receipt-rust", "JavaScript": "receipt-js", "Python": "receipt-py"}
HOSTS = {**edge_hosts.ALL, "jco serve": edge_hosts.JcoInstances}
del HOSTS["jco serve, workers"]
SELECTOR = "edge"
KEY = "let-me-in"


def row(host, language):
    return f"edge, {host}: {language} function"


ROWS = [row(host, language) for host in HOSTS for language in LANGUAGES]


def run(table, binary, folder):
    for name, host in HOSTS.items():
        for language, function in LANGUAGES.items():
            if row(name, language) not in table.rows:
                continue
            if (reason := host.missing()) is not None:
                table.leave_out(row(name, language), reason)
                continue
            here = folder / f"{function}-{name.replace(' ', '-')}"
            table.run(row(name, language), lambda host=host, function=function, here=here: check(binary, here, host, function))


def check(binary, folder, host, function):
    sink = Sink()
    try:
        relay = Relay(binary, folder, sink.port, api=True)
        try:
            served = host(edge_hosts.built(binary) / "edge" / f"{function}.wasm", variables(relay, folder), folder, calls=relay.http)
            try:
                receipts(served, sink, relay)
            finally:
                served.stop()
        finally:
            relay.stop()
    finally:
        sink.stop()


def variables(relay, folder):
    """With a key that only the function's signer has. Its record is added to those that verifiers look up."""
    pem = folder / "function.pem"
    said = relay.run("key", "generate", "--domain", DOMAIN, "--selector", SELECTOR, "--algorithm", "ed25519-sha256", "--out", str(pem))
    record = next(line for line in said.splitlines() if " IN TXT " in line)
    relay.records[f"{SELECTOR}._domainkey.{DOMAIN}"] = "".join(record.split('"')[1::2])
    key = "".join(re.findall(r"^[A-Za-z0-9+/=]+$", pathlib.Path(pem).read_text(), re.M))
    base64.b64decode(key, validate=True)
    with edge.ask(f"http://127.0.0.1:{relay.http}/api-keys", relay.api_key, {"name": "function", "scopes": ["relay"]}) as made:
        token = json.load(made)["token"]
    return {
        "RELEVO_RELAY_URL": f"http://127.0.0.1:{relay.http}", "RELEVO_RELAY_TOKEN": token,
        "RELEVO_DKIM_KEYS": f"{DOMAIN}:{SELECTOR}:ed25519-sha256:{key}",
        "RECEIPT_FROM": f"shop@{DOMAIN}", "RECEIPT_SELECTOR": SELECTOR, "RECEIPT_KEY": KEY,
    }


def receipts(served, sink, relay):
    def ask(order, key=KEY, **more):
        body = {"order": order, "email": "ada@reader.test", "name": "Ada & Söhne", "total": "12.50", **more}
        url = f"http://127.0.0.1:{served.port}/receipt"
        try:
            with edge.ask(url, key, body) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    first, again = ask("A-17"), ask("A-17")
    edge.expect(first, first[0] == 202)
    edge.expect((first, again), first == again)
    edge.expect("another order by the same number", ask("A-17", email="eve@reader.test")[0] == 409)
    for key in (None, "guess", ""):
        edge.expect("a stranger's order", ask("A-18", key=key)[0] == 403)
    edge.expect("no name", ask("A-19", name=None)[0] == 400)
    edge.expect("the next order", ask("A-20")[0] == 202)
    sink.wait(b"Subject: Receipt A-20\r\n")
    arrived = [raw for _, _, raw in sink.messages if b"Subject: Receipt A-17\r\n" in raw]
    edge.expect(f"it came {len(arrived)} times", len(arrived) == 1)
    edge.expect("A-18 or A-19 was sent", not any(b"Receipt A-18" in raw or b"Receipt A-19" in raw for _, _, raw in sink.messages))
    # The function's own signature, and those of the core.
    verdicts = verify.dkimpy(arrived[0], relay.records)
    edge.expect(verdicts, verdicts == {"rsa": True, "ed": True, SELECTOR: True})
