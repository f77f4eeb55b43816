"""The composed gateway on hosts that are not ours: `jco serve` always, `wasmtime serve` and `spin up` where they are on the PATH.
A real core takes what it hands off."""

import hashlib
import json
import re
import time
from email import message_from_bytes, policy
import urllib.error
import urllib.request

import resend

import edge_attacks
import edge_hosts
from relay import DOMAIN, Relay, Sink

SENDER = f"Shop <shop@{DOMAIN}>"
CALLER = "rv_caller-of-the-edge"
TRACKING_HOST = "t.edge.test"
TRACKING = f'tracking = {{ url = "http://{TRACKING_HOST}", opens = false, clicks = false }}'
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Edge:
    """A host that serves the gateway for a relay, and what it is asked."""

    def __init__(self, host, relay, folder):
        self.relay = relay
        self.door = edge_hosts.Door(relay.http)
        token = json.load(ask(f"http://127.0.0.1:{relay.http}/api-keys", relay.api_key,
                              {"name": folder.name, "scopes": ["relay"]}))["token"]
        variables = {
            "RELEVO_RELAY_URL": f"http://127.0.0.1:{self.door.port}",
            "RELEVO_RELAY_TOKEN": token,
            "RELEVO_API_KEYS": "sha256:" + hashlib.sha256(CALLER.encode()).hexdigest(),
            "RELEVO_TENANT": "interop",
            "RELEVO_TRACKING_KEYS": f"own:{(relay.folder / 'data' / 'tracking.key').read_text().strip()}",
        }
        self.host = host(edge_hosts.built(relay.binary) / "edge" / "gateway.wasm", variables, folder, calls=self.door.port)
        self.port = self.host.port
        self.url = f"http://127.0.0.1:{self.port}"

    def ask(self, path, body=None, fields=(), method=None, key=CALLER):
        """Status, fields of the answer, and its JSON."""
        try:
            with ask(self.url + path, key, body, dict(fields), method) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()
            is_json = (error.headers["content-type"] or "").startswith("application/json")
            return error.code, error.headers, json.loads(text) if is_json else text

    def stop(self):
        self.host.stop()
        self.door.stop()


def ask(url, key, body=None, fields=None, method=None):
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {}), **(fields or {})}
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    return urllib.request.urlopen(request, timeout=120)


def email(subject, **more):
    return {"from": SENDER, "to": "ada@reader.test", "subject": subject, "text": "Hello", **more}


def expect(what, found):
    if not found:
        raise AssertionError(what)


def sends(edge, sink):
    status, _, answer = edge.ask("/healthz", key=None)
    expect((status, answer), (status, answer) == (200, {"status": "ok"}))
    personal = [{"email": f"{name}@reader.test", "variables": {"name": name}} for name in ("ana", "luis")]
    body = {"from": SENDER, "subject": "edge-send {{ name }}", "html": "<p>Dear {{ name }}</p>", "recipients": personal,
            "tags": [{"name": "kind", "value": "order"}],
            "attachments": [{"filename": "a.txt", "content": "aGVsbG8="}]}
    status, _, answer = edge.ask("/emails", body)
    expect((status, answer), status == 202 and len(answer["recipients"]) == 2)
    for name in ("ana", "luis"):
        sender, recipients, raw = sink.wait(f"Subject: edge-send {name}".encode())
        expect(recipients, recipients == [f"{name}@reader.test"])
        expect(raw, raw.count(b"DKIM-Signature:") == 2 and b"Dear " + name.encode() in raw and b"multipart/mixed" in raw)
    with ask(f"http://127.0.0.1:{edge.relay.http}/emails/{answer['id']}", edge.relay.api_key) as known:
        expect("its tag is not at the core", json.load(known)["tags"] == [{"name": "kind", "value": "order"}])


def batches(edge, sink):
    status, _, answer = edge.ask("/emails/batch", [email(f"edge-batch-{n}") for n in range(3)])
    expect((status, answer), status == 202 and len({each["id"] for each in answer["data"]}) == 3)
    for n in range(3):
        sink.wait(f"Subject: edge-batch-{n}\r\n".encode())
    mixed = [email("x", to="b@"), email("edge-permissive")]
    status, _, answer = edge.ask("/emails/batch", mixed, {"x-batch-validation": "permissive"})
    expect((status, answer), status == 202 and [error["index"] for error in answer["errors"]] == [0])
    sink.wait(b"Subject: edge-permissive\r\n")


def renders(edge, sink):
    """As the core does, and from a template that the core has."""
    core = f"http://127.0.0.1:{edge.relay.http}"
    body = {"subject": "Hello {{ name }}", "html": "<p>{{ name }} &amp; {{ n }}</p>", "variables": {"name": "Ada", "n": 7}}
    status, _, answer = edge.ask("/render", body)
    with ask(f"{core}/render", edge.relay.api_key, body) as native:
        expect((status, answer), (status, answer) == (200, json.load(native)))
    status, _, answer = edge.ask("/render", {**body, "variables": {}})
    expect((status, answer), status == 422)
    alias = f"edge-{edge.port}"
    template = {"name": alias, "alias": alias, "subject": "edge-template {{ n }}", "html": "<p>{{ n }}</p>"}
    with ask(f"{core}/templates", edge.relay.api_key, template) as made:
        made = json.load(made)["id"]
    ask(f"{core}/templates/{made}/publish", edge.relay.api_key, {}).close()
    status, _, answer = edge.ask("/emails", {"from": SENDER, "to": "ada@reader.test", "template": {"id": alias, "variables": {"n": 7}}})
    expect((status, answer), status == 202)
    sink.wait(b"Subject: edge-template 7\r\n")


class Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is looked at, not followed."""

    def redirect_request(self, *_):
        return None


def read(edge, path, host=TRACKING_HOST, data=None):
    """What a reader's browser gets at a tracking host: status, fields and octets."""
    request = urllib.request.Request(edge.url + path, data=data, headers={"Host": host, "User-Agent": BROWSER})
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def readers(edge, sink):
    """Links of a message that the core tracked are answered here, and counted there."""
    status, _, answer = edge.ask("/emails", {
        "from": SENDER, "to": "reader@reader.test", "subject": "edge-readers", "stream": "marketing",
        "html": '<p><a href="https://example.com/news?a=1">News</a></p>', "tracking": {"opens": True, "clicks": True}})
    expect((status, answer), status == 202)
    message = message_from_bytes(sink.wait(b"Subject: edge-readers\r\n")[2], policy=policy.default)
    html = message.get_body(("html",)).get_content()
    paths = {kind: re.search(rf"http://{TRACKING_HOST}(/{kind}/[\w-]+)", text)[1]
             for kind, text in (("c", html), ("o", html), ("u", message["list-unsubscribe"]))}
    status, fields, _ = read(edge, paths["c"])
    expect((status, fields), (status, fields["location"]) == (302, "https://example.com/news?a=1"))
    status, fields, pixel = read(edge, paths["o"])
    expect((status, fields), (status, fields["content-type"], pixel[:3]) == (200, "image/gif", b"GIF"))
    status, _, page = read(edge, paths["u"])
    expect((status, page), status == 200 and b"<form" in page)
    altered = paths["c"][:-1] + ("A" if paths["c"][-1] != "A" else "B")
    for path, host in ((altered, TRACKING_HOST), (paths["c"], "elsewhere.test"), (paths["o"].replace("/o/", "/c/"), TRACKING_HOST)):
        status, fields, _ = read(edge, path, host)
        expect((path, host, status), status == 404 and fields["location"] is None)
    status, _, said = read(edge, paths["u"], data=b"List-Unsubscribe=One-Click")
    expect((status, said), (status, said) == (200, b"unsubscribed\n"))
    wanted, end = {"email.clicked", "email.opened", "email.unsubscribed"}, time.monotonic() + 30
    while not wanted <= (told := events(edge, answer["id"])):
        expect(told, time.monotonic() < end)
        time.sleep(0.2)


def events(edge, message):
    with ask(f"http://127.0.0.1:{edge.relay.http}/events?message={message}", edge.relay.api_key) as answer:
        return set(re.findall(r'"type":\s*"([a-z.]+)"', answer.read().decode()))


def mistakes(edge, sink):
    for body, status, param in (
        (email("x", to="b@"), 422, "to[0]"),
        (email("x", **{"from": "a@elsewhere.test"}), 422, "from"),
        (email("{{ unknown }}", recipients=[{"email": "b@reader.test", "variables": {}}], to=None), 422, None),
        (email("x", unknown=1), 422, None),
        ([], 422, None),
    ):
        told, _, answer = edge.ask("/emails", body)
        expect((body, told, answer), told in (400, status) and answer["statusCode"] == told and answer["message"])
        expect((body, answer), param is None or answer["param"] == param)
    for key, status in ((None, 401), ("rv_other", 403), ("", 403), (CALLER + "x", 403)):
        told, _, answer = edge.ask("/emails", email("edge-stranger"), key=key)
        expect((key, told, answer), told in (401, 403) and answer["statusCode"] == told)
        expect((key, told), told == status or key == "")
    expect("a stranger's message was sent", not any(b"edge-stranger" in raw for _, _, raw in sink.messages))


def core_away(edge, sink):
    """Refused, stopped, and an answer that is lost after the core took the message: each is sent once in the end."""
    def once(subject):
        status, fields, answer = edge.ask("/emails", email(subject), {"Idempotency-Key": subject})
        if status == 503:
            expect(f"Retry-After: {fields['retry-after']}", 0 < int(fields["retry-after"]) <= 3600)
            expect(answer, answer["name"] == "unavailable")
        return status, answer

    edge.relay.stop()
    try:
        expect("503 while the core is away", once("edge-away")[0] == 503)
        expect("503 while the core is away", once("edge-away")[0] == 503)
    finally:
        edge.relay.start()
    edge.door.swallow_answers = True
    try:
        expect("503 when the answer is lost", once("edge-lost")[0] == 503)
    finally:
        edge.door.swallow_answers = False
    for subject in ("edge-away", "edge-lost"):
        first, second = once(subject), once(subject)
        expect((first, second), first[0] == 202 and first == second)
        sink.wait(f"Subject: {subject}\r\n".encode())
    # What would come twice came before this.
    status, _, _ = edge.ask("/emails", email("edge-after"))
    sink.wait(b"Subject: edge-after\r\n")
    for subject in ("edge-away", "edge-lost"):
        came = sum(f"Subject: {subject}\r\n".encode() in raw for _, _, raw in sink.messages)
        expect(f"{subject} came {came} times", came == 1)


def sdk(edge, sink):
    resend.api_key, resend.api_url = CALLER, edge.url
    sent = resend.Emails.send({
        "from": SENDER, "to": ["ada@reader.test"], "cc": "bob@reader.test", "subject": "edge-resend", "html": "<p>Hello</p>",
        "reply_to": "answers@example.test", "headers": {"X-Order": "17"}, "tags": [{"name": "kind", "value": "order"}],
        "attachments": [{"filename": "a.txt", "content": list(b"hello")}],
    }, {"idempotency_key": "edge-resend"})
    expect(sent, sent["id"])
    expect("no X-Order", b"X-Order: 17\r\n" in sink.wait(b"Subject: edge-resend\r\n")[2])
    sent = resend.Batch.send([email(f"edge-resend-{n}", to=["ada@reader.test"]) for n in range(2)])
    expect(sent, len(sent["data"]) == 2)
    for n in range(2):
        sink.wait(f"Subject: edge-resend-{n}\r\n".encode())
    try:
        resend.Emails.send({"from": "a@elsewhere.test", "to": "b@reader.test", "subject": "x", "text": "x"})
    except resend.exceptions.ResendError as error:
        expect(error.code, error.code in (422, "422"))
    else:
        raise AssertionError("a foreign domain was accepted")


CHECKS = {
    "sends, personalised and with an attachment": sends,
    "batches": batches,
    "renders, and sends by a template of the core": renders,
    "clicks, opens and unsubscribing": readers,
    "mistakes and strangers": mistakes,
    "core away: 503, then sent once": core_away,
    "resend for Python": sdk,
    **edge_attacks.CHECKS,
}
ROWS = [f"edge, {name}: {what}" for name, host in edge_hosts.ALL.items() for what in CHECKS if what in (host.checks or CHECKS)]


def run(table, binary, folder):
    for name, host in edge_hosts.ALL.items():
        rows = {f"edge, {name}: {what}": check for what, check in CHECKS.items()}
        rows = {row: check for row, check in rows.items() if row in table.rows}
        if not rows:
            continue
        if (reason := host.missing()) is not None:
            for row in rows:
                table.leave_out(row, reason)
            continue
        sink = Sink()
        here = folder / f"edge-{name.replace(' ', '-')}"
        relay = Relay(binary, here, sink.port, api=True, tracking=TRACKING)
        edge = None
        try:
            edge = Edge(host, relay, here)
            for row, check in rows.items():
                table.run(row, lambda check=check: check(edge, sink))
        finally:
            if edge is not None:
                edge.stop()
            relay.stop()
            sink.stop()
