"""The panel of `relevo dev` in Chromium: every page that links lead to, and every form.

Behind the pages is data in bad faith. `panel.mjs` and the modules in `panel/` do what a visitor does.
"""

import collections
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import urllib.request

import panel_data
import panel_fill
from relay import free_port, wait_for_port

# Every scheme, size and language, and a browser without scripts. `each`: pages of a shape.
VARIANTS = {
    "panel: every page and form": {"scheme": "light", "phone": False, "language": "en", "each": 4, "mode": "forms"},
    "panel: every page, dark, phone, Spanish": {"scheme": "dark", "phone": True, "language": "es", "each": 2, "mode": "walk"},
    "panel: every page and form without scripts": {"scripts": False, "each": 2, "mode": "forms"},
}
ROLES = "panel: every role sees and does what it may"
ROWS = [*VARIANTS, ROLES]
PICTURES = "panel: pictures for the README"

HERE = pathlib.Path(__file__).parent
# Slower answers of the relay are reported.
SLOW_MS = 300
# Of one run of Chromium, in seconds.
PATIENCE = 900


class Dev:
    """`relevo dev` on free ports."""

    def __init__(self, binary, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.smtp, self.http = free_port(), free_port()
        self.call_it("127.0.0.1")
        self.binary, self.data = binary, self.folder / "data"
        self.start()

    def call_it(self, host):
        self.origin = f"http://{host}:{self.http}"
        self.api = panel_data.Api(self.origin, "rv_dev")

    def start(self, *command):
        """Also after `stop`: the same ports and data."""
        self.log = open(self.folder / "dev.log", "ab")
        dev = ("dev", "--smtp", f"127.0.0.1:{self.smtp}", "--http", f"127.0.0.1:{self.http}", "--data", self.data)
        self.process = subprocess.Popen([self.binary, *(command or dev)], stdout=self.log, stderr=self.log)
        for port in (self.smtp, self.http):
            wait_for_port(port, self.process)
        panel_data.wait_until_ready(self.origin)

    def inbox(self):
        return json.loads(self.api.raw("/inbox/messages"))

    def stop(self):
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError("relevo dev did not stop within 30 s of SIGTERM") from None
        finally:
            self.log.close()


def run(table, binary, folder, rows):
    """The rows that are asked for, each in a relay that only one other row writes to."""
    if not rows:
        return
    trap = panel_data.Trap()
    dev = Dev(binary, folder / "panel")
    try:
        panel_data.hostile(dev, trap)
        for row, variant in VARIANTS.items():
            if row in rows:
                table.run(row, lambda: walk(dev, folder, trap, variant))
        dev.stop()
        if ROLES in rows:
            table.run(ROLES, lambda: roles(dev, folder, trap))
    finally:
        dev.stop()
        trap.stop()


def roles(dev, folder, trap):
    """`relevo serve` with the data of `relevo dev`, and users who sign in. Its mail goes to a sink."""
    sink = panel_fill.Sink()
    config = dev.data / "serve.toml"
    # `relevo serve` has nothing but tracking links at their host, which is 127.0.0.1.
    dev.call_it("localhost")
    config.write_text(served((dev.data / "relevo.toml").read_text(), sink.port, dev.origin))
    dev.start("serve", "--config", config)
    try:
        panel_data.refused(dev, trap)
        users = [invite(dev, config, role) for role in ("operator", "owner", "developer", "marketer", "viewer", "stranger")]
        found = browse(dev, folder, "roles", {"users": [*users, {"role": "none"}], "quick": True, "each": 1})
    finally:
        dev.stop()
        sink.stop()
    for role in found["roles"]:
        print(f"  {role['role']}: {role['pages']} pages, {role['forms']} forms")
    for note in found["notes"]:
        print(f"  note: {note}")
    judge(found, trap)


def served(config, port, origin):
    """The configuration of `relevo dev`, with more of what pages are about."""
    smarthost = f'[delivery]\nsmarthost = {{ host = "127.0.0.1", port = {port}, tls = "none" }}\n\n[[tenant]]'
    config = config.replace("[[tenant]]", smarthost, 1)
    # The plugin has no version.
    other = '[[tenant]]\nid = "other"\n\n[[tenant.plugin]]\nname = "place"\nclass = "small"\ngrants = ["log"]\n'
    return f'{config}\n{other}\n[panel]\nurl = "{origin}"\n'


def invite(dev, config, role):
    """A user of this role: the address, and the link of the invitation."""
    email = f"{role}@example.test"
    who = {"operator": ["--operator"], "stranger": ["--tenant", "other", "--role", "owner"]}.get(role, ["--tenant", "dev", "--role", role])
    command = [dev.binary, "user", "invite", "--config", config, "--name", "<svg/onload=__pwned=1>\"&", *who, email]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"relevo user invite: {done.stderr}"
    return {"role": role, "email": email, "link": re.search(r"http\S+/panel/link/\S+", done.stdout)[0]}


def walk(dev, folder, trap, variant):
    panel_data.with_images(dev, trap)
    trap.paths.clear()
    found = browse(dev, folder, variant["mode"], {"variant": variant, "each": variant["each"], "hook": trap.hook})
    judge(found, trap)
    assert any(path.startswith("/image/") for path in trap.paths), "no page with images of other hosts was looked at"


def browse(dev, folder, mode, settings):
    """What Chromium found."""
    file = folder / f"panel-{mode}.json"
    settings = {"mode": mode, "origin": dev.origin, "key": "rv_dev", "role": "operator", "chromium": shutil.which("chromium-headless-shell"), **settings}
    file.write_text(json.dumps(settings))
    done = subprocess.run(["node", HERE / "panel.mjs", file], env=os.environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode != 0:
        raise AssertionError(f"panel.mjs ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def judge(found, trap=None):
    report(found)
    problems = list(found["problems"])
    problems += [{"url": path, "text": "was asked of another host"} for path in (trap.leaked() if trap else [])]
    # One line for all pages of a shape that have the same.
    same = collections.defaultdict(list)
    for problem in problems:
        same[re.sub(r"[0-9A-Z]{10,}|\d+", ":", problem["url"].split("?")[0]), problem["text"]].append(problem["url"])
    for (_, text), urls in same.items():
        print(f"  {urls[0]}{f' and {len(urls) - 1} more' if urls[1:] else ''}: {text}")
    assert not problems, f"{len(problems)} problems, such as {problems[0]['url']}: {problems[0]['text']}"


def report(found):
    pages = [page for page in found["pages"] if "octets" in page]
    if pages:
        by = {key: max(pages, key=lambda page: page.get(key, 0)) for key in ("octets", "server_ms", "load_ms")}
        print(f"  {len(pages)} pages of {len({page['shape'] for page in pages})} shapes; most: "
              + ", ".join(f"{page[key]:,} {key} {page['shape']}" for key, page in by.items()))
    for page in sorted(pages, key=lambda page: -page.get("server_ms", 0)):
        if page.get("server_ms", 0) > SLOW_MS:
            print(f"  slow: {page['server_ms']} ms {page['url']}")
    if "forms" in found and isinstance(found["forms"], list):
        slowest = max(found["forms"], key=lambda form: form["ms"])
        print(f"  {len(found['forms'])} forms were tried in {sum(form['ms'] for form in found['forms']) / 1000:.0f} s; "
              f"most: {slowest['ms']} ms {slowest['form']}")


def pictures(table, binary, folder, place):
    dev = Dev(binary, folder / "panel-pictures")
    try:
        dev.stop()
        panel_data.history(dev.data)
        # The inbox is new at every start.
        dev.start()
        panel_data.friendly(dev)
        table.run(PICTURES, lambda: judge(browse(dev, folder, "pictures", {"folder": str(pathlib.Path(place).resolve())})))
    finally:
        dev.stop()


def with_messages(table, row, binary, folder, number):
    """The times of the pages with so many messages behind them."""

    def check():
        dev = Dev(binary, folder / "panel-fill")
        dev.stop()
        seconds = panel_fill.fill(binary, dev.data, dev.http, number)
        print(f"  {number:,} messages in {seconds:.0f} s")
        dev.start()
        try:
            found = browse(dev, folder, "times", {})
        finally:
            dev.stop()
        times(found)
        judge(found)

    table.run(row, check)


def times(found):
    """The slowest page of each shape."""
    slowest = {}
    for page in sorted(found["pages"], key=lambda page: -page.get("server_ms", 0)):
        slowest.setdefault(page["shape"], page)
    print("  server ms   load ms    octets  page")
    for page in list(slowest.values())[:25]:
        print(f"  {page.get('server_ms', 0):9} {page.get('load_ms', 0):9} {page.get('octets', 0):9}  {page['url']}")
