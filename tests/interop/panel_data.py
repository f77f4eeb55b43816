"""What the panel is filled with: data in bad faith, and friendly data for pictures."""

import base64
import http.server
import json
import re
import smtplib
import sqlite3
import threading
import time
import urllib.error
import urllib.request

BIDI = "\u202Etxt.exe\u202C \u2066a\u2067b\u2069 \u200F\u061C"
SCRIPT = "<script>top.__pwned=parent.__pwned=window.__pwned=1;alert(1)</script>"
MARKUP = f"\"'><!--</title></textarea>{SCRIPT}<img src=x onerror=__pwned=1><svg/onload=__pwned=1> {{{{ 7*7 }}}} &lt;&#60; "
# Octets of a name are few.
NAME = f"<svg/onload=__pwned=1>\"&{BIDI}"


class Trap:
    """Another host. Images may be asked for where the visitor wants them; whatever else comes here leaked."""

    GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")

    def __init__(self):
        paths = self.paths = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                paths.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "image/gif")
                self.end_headers()
                self.wfile.write(Trap.GIF)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                paths.append(self.path)
                self.send_response(500 if "broken" in self.path else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port = self.server.server_address[1]
        # For a browser, a host that is not that of the panel.
        self.url = f"http://localhost:{port}"
        self.hook = f"http://127.0.0.1:{port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def leaked(self):
        return sorted({path for path in self.paths if not path.startswith(("/image/", "/hook/"))})

    def stop(self):
        self.server.shutdown()


class Api:
    def __init__(self, origin, key):
        self.origin, self.key = origin, key

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.origin + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def post(self, path, body):
        return self.call("POST", path, body)

    def get(self, path):
        return self.call("GET", path)

    def raw(self, path):
        with urllib.request.urlopen(self.origin + path, timeout=60) as response:
            return response.read()


def wait_until_ready(origin, seconds=30):
    """A relay listens before it takes requests."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{origin}/readyz", timeout=10):
                return
        except urllib.error.HTTPError as error:
            if time.monotonic() > end:
                raise AssertionError(f"/readyz: {error.code}") from None
        time.sleep(0.05)


def html(trap):
    """A body that tries what a body can try."""
    return f"""<!doctype html><html lang="xx" onload="top.__pwned=1"><head>
<base href="{trap}/leak/base/" target="_top"><meta http-equiv="refresh" content="0;url={trap}/leak/refresh">
<meta http-equiv="Content-Security-Policy" content="script-src *">
<link rel="stylesheet" href="{trap}/leak/sheet.css"><link rel="preconnect" href="{trap}"><link rel="prefetch" href="{trap}/image/prefetch">
<link rel="icon" href="{trap}/image/icon"><script src="{trap}/leak/script.js"></script>
<style>@import "{trap}/leak/import.css"; @font-face {{ font-family: f; src: url({trap}/leak/font) }}
body {{ font-family: f; position: fixed; inset: 0; background: red url({trap}/image/background) }} * {{ cursor: url({trap}/image/cursor), auto }}</style></head>
<body onload="top.__pwned=1">{MARKUP}{BIDI}
<img src="{trap}/image/pixel.gif" srcset="{trap}/image/large.gif 2x" onload="top.__pwned=1"><img src="//127.0.0.1:9/image/x">
<a href="javascript:top.__pwned=1">now</a> <a href="data:text/html,{SCRIPT}">data</a> <a href="https://shop.example/?a=1&amp;b=2">shop</a>
<a href="https://shop.example/{'x' * 900}">long</a> <a href="http://192.0.2.1/login" target="_top">bank</a>
<form action="{trap}/leak/form" method="post"><input name="password" type="password" autofocus onfocus="top.__pwned=1"><button>Sign in</button></form>
<iframe src="{trap}/leak/frame"></iframe><iframe srcdoc="{SCRIPT.replace('"', '&quot;')}"></iframe>
<object data="{trap}/leak/object"></object><embed src="{trap}/leak/embed"><video src="{trap}/leak/video" poster="{trap}/image/poster" autoplay></video>
<audio src="{trap}/leak/audio" autoplay></audio><svg><image href="{trap}/image/svg"/><script>top.__pwned=1</script></svg>
<math><mi xlink:href="javascript:top.__pwned=1">m</mi></math><dialog open>top</dialog>{'<div>' * 200}deep</body></html>"""


def mail(trap):
    """Raw messages whose every part is in bad faith."""
    encoded = base64.b64encode((MARKUP + BIDI).encode()).decode()
    words = "\r\n ".join(f"=?utf-8?b?{base64.b64encode(part.encode()).decode()}?=" for part in (MARKUP[:60], MARKUP[60:120], BIDI))
    name = "=?utf-8?b?" + base64.b64encode("<b>Bank</b> \u202Emoc.knab".encode()).decode() + "?="
    body = base64.b64encode(html(trap).encode()).decode()
    lines = "\r\n".join(body[at:at + 76] for at in range(0, len(body), 76))
    head = f"From: {name} <shop@example.test>\r\nTo: {name} <ada@reader.test>\r\n"
    many = "".join(f"X-Field-{n}: {MARKUP[:80]}\r\n" for n in range(60))
    yield (f"{head}Subject: {words}\r\nX-<img/src=x/onerror=__pwned=1>: {MARKUP[:200]}\r\n{many}MIME-Version: 1.0\r\n"
           f'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n'
           f"Content-Transfer-Encoding: base64\r\n\r\n{lines}\r\n--b\r\n"
           f"Content-Type: text/html; name=\"=?utf-8?b?{encoded[:60]}?=\"\r\n"
           "Content-Disposition: attachment; filename=\"../../<svg onload=__pwned=1>\u202Egpj.html\"\r\n\r\n"
           f"{SCRIPT}\r\n--b\r\nContent-Type: image/svg+xml\r\nContent-Disposition: attachment; filename=\"a\\\"b.svg\"\r\n\r\n"
           f"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>top.__pwned=1</script></svg>\r\n--b--\r\n")
    yield f"{head}Subject: {'W' * 900}\r\nMessage-ID: <{'m' * 300}@example.test>\r\n\r\n{MARKUP}\r\n{'unbroken' * 110}\r\n"
    yield f"{head}\r\nNo subject at all. {BIDI}\r\n"
    yield f"{head}Subject: plain {MARKUP[:60]}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + f"{MARKUP}{BIDI}\r\n" * 400
    yield f"{head}Subject: HTML alone\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<p>\u00e9 &lt; {SCRIPT}\r\n"


def submit(dev, raw, recipient="ada@reader.test"):
    with smtplib.SMTP("127.0.0.1", dev.smtp, timeout=60) as session:
        session.login("dev", "dev")
        session.sendmail("shop@example.test", [recipient], raw.encode(), mail_options=("SMTPUTF8", "BODY=8BITMIME"))


def with_images(dev, trap):
    """A message with images of another host is the newest of the inbox: few of a shape are looked at."""
    # The inbox forgets the oldest, so its length says nothing.
    newest = lambda: max((message["n"] for message in dev.inbox()), default=0)
    before = newest()
    submit(dev, next(mail(trap.url)))
    end = time.monotonic() + 60
    while newest() == before:
        assert time.monotonic() < end, "no message came"
        time.sleep(0.1)


def hostile(dev, trap):
    """Fills `relevo dev` over SMTP and HTTP."""
    api = dev.api
    text = MARKUP + BIDI
    template = api.post("/templates", {"name": NAME, "alias": "hostile", "from": "shop@example.test",
                                       "subject": "{{ name }} " + BIDI, "html": html(trap.url).replace("{{ 7*7 }}", "{{ name }}"),
                                       "variables": [{"key": "name", "type": "string", "fallback_value": MARKUP}]})["id"]
    api.post(f"/templates/{template}/publish", {})
    api.call("PATCH", f"/templates/{template}", {"subject": "Second {{ name }}"})
    for n in range(9):
        api.post("/templates", {"name": f"Draft {n} {MARKUP[:60]}", "alias": f"draft-{n}", "subject": "x", "text": MARKUP.replace("{{", "{ ")})
    api.post("/topics", {"name": "hostile", "description": text, "default_subscription": "opt_in", "visibility": "public"})
    for n in range(60):
        api.post("/suppressions", {"email": f"gone-{n}@reader.test", "note": text[:300]})
    api.post("/suppressions", {"email": "\"<svg/onload=__pwned=1>\"@reader.test"})
    for path in ("good", "broken"):
        api.post("/webhooks", {"endpoint": f"{trap.hook}/{path}?<script>", "events": ["email.delivered", "email.queued"], "description": text,
                               "headers": {"X-Token": MARKUP[:60].replace("{{", "")}})
    api.post("/api-keys", {"name": NAME[:50]})
    api.post("/domains", {"name": "xn--bcher-kva.example"})
    every = {"from": "<b>Shop</b> <shop@example.test>", "subject": text, "html": html(trap.url), "text": text,
             "tags": [{"name": "kind", "value": "hostile"}], "metadata": {"<script>__pwned=1</script>": text}}
    sent = api.post("/emails", {**every, "to": ["ada@reader.test", "gone-1@reader.test"]})["id"]
    api.post("/emails", {**every, "to": "later@reader.test", "scheduled_at": "in 2 hours"})
    canceled = api.post("/emails", {**every, "to": "never@reader.test", "scheduled_at": "in 2 hours"})["id"]
    api.post(f"/emails/{canceled}/cancel", {})
    api.post("/emails", {"from": "shop@example.test", "to": "ada@reader.test", "stream": "marketing", "topic": "hostile",
                         "template": {"id": "hostile", "variables": {"name": text}}})
    api.post("/emails", {"from": "shop@example.test", "subject": "many " + BIDI, "text": "x",
                         "to": [f"{'local' * 10}{n}@{'long-name.' * 15}test" for n in range(100)]})
    for n in range(60):
        api.post("/emails", {"from": "shop@example.test", "to": f"r{n}@reader.test", "subject": f"{n} {MARKUP}", "text": "x"})
    for raw in mail(trap.url):
        submit(dev, raw)
    settle(dev, sent)
    visit_links(dev)


def refused(dev, trap):
    """Mail that leaves, and of which the content is kept. Mailboxes that begin with `gone` do not exist."""
    every = {"from": "<b>Shop</b> <shop@example.test>", "subject": MARKUP + BIDI, "html": html(trap.url), "text": MARKUP,
             "attachments": [{"filename": f"{NAME}.html", "content": base64.b64encode(SCRIPT.encode()).decode()}]}
    sent = dev.api.post("/emails", {**every, "to": ["gone-once@reader.test", "ada@reader.test"]})["id"]
    for raw in mail(trap.url):
        submit(dev, raw)
    settle(dev, sent)


def settle(dev, email, seconds=120):
    """Until nothing is on its way any more."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        newest = dev.api.get("/emails?limit=100")["data"]
        if dev.api.get(f"/emails/{email}")["last_event"] != "queued" and not any(e["last_event"] == "queued" for e in newest):
            return
        time.sleep(0.2)
    raise AssertionError(f"messages are queued after {seconds} s")


def visit_links(dev, at_most=40):
    """Opens messages and follows their links, as readers do."""
    for item in dev.inbox()[:at_most]:
        raw = re.sub(rb"=\r\n", b"", dev.api.raw(f"/inbox/messages/{item['n']}")).replace(b"=3D", b"=")
        for path in dict.fromkeys(re.findall(rb"http://127\.0\.0\.1:%d(/[co]/[\w-]+)" % dev.http, raw)):
            request = urllib.request.Request(f"{dev.api.origin}{path.decode()}", headers={"User-Agent": "Mozilla/5.0 <script>__pwned=1</script>"})
            try:
                urllib.request.build_opener(Stay).open(request, timeout=30).close()
            except urllib.error.HTTPError as error:
                error.close()


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def friendly(dev):
    """What a shop has after a while."""
    api = dev.api
    page = ("<h1>Your order is on its way</h1><p>Hello {{ name }},</p><p>parcel {{ parcel }} left our house today. "
            "<a href=\"https://shop.example/orders\">See your order</a></p>")
    for name, alias, subject in (("Order shipped", "order-shipped", "Your order is on its way"), ("Welcome", "welcome", "Welcome to the shop"),
                                 ("Password reset", "password-reset", "Choose a new password"), ("Autumn news", "autumn-news", "What is new this autumn")):
        made = api.post("/templates", {"name": name, "alias": alias, "from": "Shop <orders@example.test>", "subject": subject, "html": page,
                                       "variables": [{"key": "name", "type": "string", "fallback_value": "Ana"},
                                                     {"key": "parcel", "type": "string", "fallback_value": "RV-2041"}]})["id"]
        api.post(f"/templates/{made}/publish", {})
    api.post("/topics", {"name": "news", "description": "Four times a year", "default_subscription": "opt_in", "visibility": "public"})
    api.post("/suppressions", {"email": "tom@moved.test", "note": "wrote to us on Monday"})
    names = ("Ana", "Ben", "Chloé", "Dmitri", "Elena", "Farid", "Grace", "Hana")
    shop = {"from": "Shop <orders@example.test>"}
    for n in range(120):
        name = names[n % len(names)]
        to = f"{name.lower().replace('é', 'e')}{n}@reader.test" if n % 17 else "tom@moved.test"
        alias, tag = (("order-shipped", "order"), ("welcome", "account"), ("password-reset", "account"))[n % 3]
        api.post("/emails", {**shop, "to": f"{name} <{to}>", "template": {"id": alias, "variables": {"name": name, "parcel": f"RV-{2041 + n}"}},
                             "tags": [{"name": "kind", "value": tag}]})
    api.post("/emails", {**shop, "to": "ana@reader.test", "subject": "Autumn news", "text": "Soon.", "stream": "marketing", "scheduled_at": "in 20 hours"})
    sent = api.post("/emails", {**shop, "to": "Ana <ana@reader.test>", "tags": [{"name": "kind", "value": "order"}],
                                "template": {"id": "order-shipped", "variables": {"name": "Ana", "parcel": "RV-2200"}}})["id"]
    settle(dev, sent)
    visit_links(dev)


# Recipients of a shop in the hours of a day, and what a day of the week has of that.
HOURS = (3, 2, 2, 1, 2, 4, 9, 18, 30, 36, 34, 31, 28, 30, 33, 32, 29, 27, 25, 24, 20, 14, 9, 5)
DAYS = (1.0, 1.1, 1.05, 1.0, 0.9, 0.5, 0.45)
# Value of a dimension, and its share.
SHARES = (("total", "", 1.0), ("domain", "example.test", 1.0), ("tag", "kind:order", 0.6), ("tag", "kind:account", 0.4),
          ("provider", "google", 0.45), ("provider", "microsoft", 0.3), ("provider", "yahoo", 0.25))


def history(data, days=35):
    """Counts of the weeks before, in the store of a relay that has stopped. Only pictures need them."""
    now = int(time.time()) // 3600
    with sqlite3.connect(data / "control.sqlite") as store:
        names = [row[1] for row in store.execute("PRAGMA table_info(statistics)")][5:]
        for hour in range(now - 24 * days, now + 1):
            for dimension, value, share in SHARES:
                counts = dict.fromkeys(names, 0) | of_hour(hour, share)
                row = ("dev", dimension, hour, "transactional", value, *counts.values())
                store.execute(f"INSERT INTO statistics VALUES ({', '.join('?' * len(row))}) ON CONFLICT DO NOTHING", row)
    store.close()


def of_hour(hour, share):
    day = hour // 24
    # The first day of 1970 was a Thursday. The weeks grow slowly.
    accepted = share * HOURS[hour % 24] * DAYS[(day + 3) % 7] * (1 + (day % 50) / 100) * (0.92 + 0.04 * (hour * 7 % 5))
    parts = {"accepted": 1, "sent": 1, "delivered": 0.978, "deferred": 0.03, "bounced_hard": 0.012, "bounced_soft": 0.006,
             "opened": 0.62, "opened_human": 0.5, "opened_unique": 0.52, "opened_unique_human": 0.43,
             "clicked": 0.16, "clicked_human": 0.14, "clicked_unique": 0.13, "clicked_unique_human": 0.11}
    return {name: round(accepted * part) for name, part in parts.items()}
