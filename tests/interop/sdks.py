"""Resend's official SDKs for Python and Node, unchanged, with the relay's address as their base URL."""

import http.server
import os
import subprocess
import threading
import time

import resend
import standardwebhooks

from relay import DOMAIN, Relay, Sink

ROWS = [f"resend for {language}: {what}" for language in ("Python", "Node")
        for what in ("send and read", "batch", "schedule, move, cancel", "templates", "suppressions", "mistakes")]
WEBHOOK = "Standard Webhooks' library verifies a delivery, and refuses an altered one"
NODE_WEBHOOKS = "resend for Node: webhooks"
ROWS += [WEBHOOK, NODE_WEBHOOKS]

SENDER = f"Shop <shop@{DOMAIN}>"


def run(table, binary, folder):
    sink = Sink()
    relay = Relay(binary, folder / "relay-sdks", sink.port, api=True)
    try:
        python(table, relay, sink)
        node(table, relay, sink)
        table.run(WEBHOOK, webhook)
    finally:
        relay.stop()
        sink.stop()


def until(what, ask, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = ask()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")


def python(table, relay, sink):
    resend.api_key, resend.api_url = relay.api_key, f"http://127.0.0.1:{relay.http}"
    rows = iter(ROWS[:6])

    def send():
        sent = resend.Emails.send({
            "from": SENDER, "to": ["ada@reader.test"], "cc": "bob@reader.test", "subject": "python-send",
            "html": "<p>Hello</p>", "reply_to": "answers@example.test", "headers": {"X-Order": "17"},
            "tags": [{"name": "kind", "value": "order"}],
            "attachments": [{"filename": "a.txt", "content": list(b"hello")}],
        }, {"idempotency_key": "python-17"})
        again = resend.Emails.send({"from": SENDER, "to": ["ada@reader.test"], "subject": "python-again", "text": "x"})
        assert sent["id"] != again["id"]
        sink.wait(b"Subject: python-send")
        read = until("delivered", lambda: (lambda e: e if e["last_event"] == "delivered" else None)(resend.Emails.get(sent["id"])))
        assert read["subject"] == "python-send" and read["to"] == ["ada@reader.test", "bob@reader.test"], read
        assert sent["id"] in [email["id"] for email in resend.Emails.list({"limit": 10})["data"]]

    def batch():
        params = [{"from": SENDER, "to": [f"b{n}@reader.test"], "subject": f"python-batch-{n}", "text": "x"} for n in range(3)]
        sent = resend.Batch.send(params)
        assert len(sent["data"]) == 3, sent
        for n in range(3):
            sink.wait(f"Subject: python-batch-{n}".encode())

    def schedule():
        sent = resend.Emails.send({"from": SENDER, "to": "ada@reader.test", "subject": "python-later", "text": "x",
                                   "scheduled_at": "in 1 hour"})
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7200))
        resend.Emails.update({"id": sent["id"], "scheduled_at": later})
        assert resend.Emails.get(sent["id"])["last_event"] == "scheduled"
        assert resend.Emails.cancel(sent["id"])["id"] == sent["id"]
        assert resend.Emails.get(sent["id"])["last_event"] == "canceled"

    def templates():
        made = resend.Templates.create({"name": "Order", "alias": "python-order", "subject": "python-template {{ n }}",
                                        "html": "<p>{{ n }}</p>", "variables": [{"key": "n", "type": "number", "fallback_value": 1}]})
        resend.Templates.update({"id": made["id"], "name": "Orders"})
        resend.Templates.publish(made["id"])
        assert resend.Templates.get("python-order")["name"] == "Orders"
        copy = resend.Templates.duplicate(made["id"])
        resend.Templates.remove(copy["id"])
        resend.Emails.send({"from": SENDER, "to": "ada@reader.test", "template": {"id": "python-order", "variables": {"n": 7}}})
        sink.wait(b"Subject: python-template 7")

    def suppressions():
        resend.Suppressions.add({"email": "gone-python@reader.test"})
        sent = resend.Emails.send({"from": SENDER, "to": "gone-python@reader.test", "subject": "x", "text": "x"})
        assert resend.Emails.get(sent["id"])["last_event"] == "suppressed"
        assert resend.Suppressions.get("gone-python@reader.test")["email"] == "gone-python@reader.test"
        resend.Suppressions.remove("gone-python@reader.test")

    def mistakes():
        try:
            resend.Emails.send({"from": "a@elsewhere.test", "to": "b@reader.test", "subject": "x", "text": "x"})
        except resend.exceptions.ResendError as error:
            assert error.code in (422, "422"), error.code
        else:
            raise AssertionError("a foreign domain was accepted")

    for check in (send, batch, schedule, templates, suppressions, mistakes):
        table.run(next(rows), check)


def webhook():
    told = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append((self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers.items())))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        made = resend.Webhooks.create({"endpoint": url, "events": ["email.sent", "email.delivered"]})
        resend.Emails.send({"from": SENDER, "to": "ada@reader.test", "subject": "told", "text": "x"})
        body, headers = until("a delivery", lambda: told and told[0])
        headers = {name.lower(): value for name, value in headers.items()}
        verifier = standardwebhooks.Webhook(made["signing_secret"])
        assert verifier.verify(body, headers)["type"].startswith("email.")
        try:
            verifier.verify(body.replace(b"email", b"e-mail"), headers)
        except standardwebhooks.WebhookVerificationError:
            pass
        else:
            raise AssertionError("an altered delivery was verified")
        assert resend.Webhooks.get(made["id"])["endpoint"] == url
        resend.Webhooks.remove(made["id"])
    finally:
        server.shutdown()


NODE = r"""
const { Resend } = require('resend');
const assert = require('assert');
const [what, from] = process.argv.slice(1);
const resend = new Resend(process.env.RESEND_API_KEY);
const ok = ({ data, error }) => { if (error) throw new Error(JSON.stringify(error)); return data; };
const until = async (ask) => { for (let n = 0; n < 600; n++) { if (await ask()) return; await new Promise(r => setTimeout(r, 100)); } throw new Error('too late'); };
const checks = {
  async send() {
    const sent = ok(await resend.emails.send({ from, to: 'ada@reader.test', replyTo: 'answers@example.test', subject: 'node-send', html: '<p>Hello</p>',
      attachments: [{ filename: 'a.txt', content: Buffer.from('hello') }], tags: [{ name: 'kind', value: 'order' }] }, { idempotencyKey: 'node-17' }));
    await until(async () => ok(await resend.emails.get(sent.id)).last_event === 'delivered');
    assert(ok(await resend.emails.list({ limit: 10 })).data.some(email => email.id === sent.id));
  },
  async batch() {
    const sent = ok(await resend.batch.send([0, 1, 2].map(n => ({ from, to: `b${n}@reader.test`, subject: `node-batch-${n}`, text: 'x' }))));
    assert.strictEqual(sent.data.length, 3);
    const mixed = await resend.batch.send([{ from, to: 'b@reader.test', subject: 'node-permissive', text: 'x' }, { from, to: 'b@', subject: 'x', text: 'x' }], { batchValidation: 'permissive' });
    assert.strictEqual(ok(mixed).errors.length, 1);
  },
  async schedule() {
    const sent = ok(await resend.emails.send({ from, to: 'ada@reader.test', subject: 'node-later', text: 'x', scheduledAt: 'in 1 hour' }));
    ok(await resend.emails.update({ id: sent.id, scheduledAt: new Date(Date.now() + 7200e3).toISOString() }));
    assert.strictEqual(ok(await resend.emails.get(sent.id)).last_event, 'scheduled');
    ok(await resend.emails.cancel(sent.id));
    assert.strictEqual(ok(await resend.emails.get(sent.id)).last_event, 'canceled');
  },
  async templates() {
    const made = ok(await resend.templates.create({ name: 'Order', alias: 'node-order', subject: 'node-template {{ n }}', html: '<p>{{ n }}</p>', variables: [{ key: 'n', type: 'number', fallbackValue: 1 }] }));
    ok(await resend.templates.publish(made.id));
    const copy = ok(await resend.templates.duplicate(made.id));
    ok(await resend.templates.remove(copy.id));
    ok(await resend.emails.send({ from, to: 'ada@reader.test', template: { id: 'node-order', variables: { n: 7 } } }));
  },
  async suppressions() {
    ok(await resend.suppressions.add({ email: 'gone-node@reader.test' }));
    const sent = ok(await resend.emails.send({ from, to: 'gone-node@reader.test', subject: 'x', text: 'x' }));
    assert.strictEqual(ok(await resend.emails.get(sent.id)).last_event, 'suppressed');
    ok(await resend.suppressions.remove('gone-node@reader.test'));
  },
  async webhooks() {
    const endpoint = 'https://hooks.example.com/node';
    const made = ok(await resend.webhooks.create({ endpoint, events: ['email.delivered'] }));
    assert.ok(made.signing_secret.startsWith('whsec_'));
    const shown = ok(await resend.webhooks.get(made.id));
    assert.strictEqual(shown.endpoint, endpoint);
    assert.ok(ok(await resend.webhooks.list()).data.some((webhook) => webhook.id === made.id));
    ok(await resend.webhooks.update(made.id, { endpoint: endpoint + '2' }));
    assert.strictEqual(ok(await resend.webhooks.get(made.id)).endpoint, endpoint + '2');
    ok(await resend.webhooks.remove(made.id));
    assert.strictEqual((await resend.webhooks.get(made.id)).error.statusCode, 404);
  },
  async mistakes() {
    const { data, error } = await resend.emails.send({ from: 'a@elsewhere.test', to: 'b@reader.test', subject: 'x', text: 'x' });
    assert.strictEqual(data, null);
    assert.strictEqual(error.statusCode, 422);
    assert.strictEqual(error.name, 'validation_error');
  },
};
checks[what]().catch(error => { console.error(error); process.exit(1); });
"""


def node(table, relay, sink):
    environment = {**os.environ, "RESEND_API_KEY": relay.api_key, "RESEND_BASE_URL": f"http://127.0.0.1:{relay.http}"}
    arrivals = {"send": [b"Subject: node-send"], "batch": [b"Subject: node-batch-2", b"Subject: node-permissive"],
                "templates": [b"Subject: node-template 7"]}
    checks = ("send", "batch", "schedule", "templates", "suppressions", "mistakes", "webhooks")
    for row, what in zip([*ROWS[6:12], NODE_WEBHOOKS], checks):

        def check(what=what):
            done = subprocess.run(["node", "-e", NODE, what, SENDER], env=environment, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode != 0:
                raise AssertionError(done.stderr[-2000:])
            for marker in arrivals.get(what, []):
                sink.wait(marker)

        table.run(row, check)
