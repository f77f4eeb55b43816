"""Mail that comes back: real servers take a message, are refused by the next hop, and report to the return path."""

import json
import pathlib
import shutil
import subprocess
import time
import urllib.request

from aiosmtpd.controller import Controller

import messages
import peers
import unpacked
from relay import Relay, free_port, wait_for_port

SERVERS = ("Postfix", "Exim", "OpenSMTPD", "sendmail", "Haraka")
ROWS = [f"{server} reports a refusal to the return path" for server in SERVERS]
RETURN = "return.example.test"


class Refusing:
    """A next hop that knows no recipient."""

    def __init__(self):
        self.port = free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        return f"550 5.1.1 <{address}>: no such user here"

    def stop(self):
        self.controller.stop()


class Postfix(peers.Postfix):
    """Sends mail for `gone.test` to one port, and what comes back to another."""

    def __init__(self, folder, refusing, relay, _files):
        routes = {"gone.test": refusing, RETURN: relay}
        maps = ", ".join(f"{{ {name} = smtp:[127.0.0.1]:{port} }}" for name, port in routes.items())
        super().__init__(folder, delivery=f"transport_maps = inline:{{ {maps} }}\n")


class OpenSmtpd(peers.OpenSmtpd):
    def __init__(self, folder, refusing, relay, files):
        super().__init__(folder, files["opensmtpd"], rules=(
            f'action "gone" relay host smtp://127.0.0.1:{refusing}\n'
            f'action "back" relay host smtp://127.0.0.1:{relay}\n'
            'match from any for domain "gone.test" action "gone"\n'
            f'match from any for domain "{RETURN}" action "back"\n'
        ))


class Exim(unpacked.Exim):
    def __init__(self, folder, refusing, relay, files):
        routers = "".join(
            f"{name}:\n  driver = manualroute\n  domains = {domain}\n  route_list = * 127.0.0.1\n  transport = to_{name}\n  self = send\n"
            for name, domain in (("gone", "gone.test"), ("back", RETURN)))
        transports = "".join(f"to_{name}:\n  driver = smtp\n  port = {port}\n  allow_localhost\n  hosts_avoid_tls = *\n"
                             for name, port in (("gone", refusing), ("back", relay)))
        super().__init__(folder, files["exim"], routers, transports)


class Sendmail(unpacked.Sendmail):
    def __init__(self, folder, refusing, relay, files):
        super().__init__(folder, files["sendmail"], {"gone.test": refusing, RETURN: relay})


class Haraka:
    """From npm. A plugin of the row's names the next hops; the bounce is Haraka's own."""

    def __init__(self, folder, refusing, relay, files):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        for name in ("config", "plugins", "queue"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("smtp.ini", f"listen=127.0.0.1:{self.port}\nnodes=0\n"),
            ("me", "haraka.example.test\n"),
            ("plugins", "row\n"),
            ("outbound.ini", "enable_tls=false\nlocal_mx_ok=true\n"),
            ("loglevel", "INFO\n"),
        ):
            (self.folder / "config" / name).write_text(text)
        package = pathlib.Path(files["haraka"]) / "node_modules/Haraka"
        shutil.copy(package / "config/connection.ini", self.folder / "config")
        hops = json.dumps({"gone.test": refusing, RETURN: relay})
        (self.folder / "plugins" / "row.js").write_text(f"""
const hops = {hops};
exports.hook_rcpt = (next, connection) => {{ connection.relaying = true; next(OK); }};
exports.hook_get_mx = (next, hmail, domain) => {{
    if (!hops[domain]) return next(DENY, 'no such domain');
    next(OK, {{ priority: 0, exchange: '127.0.0.1', port: hops[domain] }});
}};
""")
        self.log = open(self.folder / "out", "wb")
        self.process = subprocess.Popen(["node", str(package / "bin/haraka"), "-c", str(self.folder)], stdout=self.log,
                                        stderr=self.log, start_new_session=True)
        wait_for_port(self.port, self.process)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


def events(relay, kind):
    request = urllib.request.Request(f"http://127.0.0.1:{relay.http}/events?after=0&limit=1000",
                                     headers={"Authorization": f"Bearer {relay.api_key}", "Host": "api.test"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [event for event in json.load(answer)["events"] if event["type"] == kind]


def reports(binary, folder, make, files, submit):
    refusing = Refusing()
    relay_port, peer_port = free_port(), free_port()
    peer = make(folder / "peer", refusing.port, relay_port, files)
    try:
        relay = Relay(binary, folder / "relay", peer.port, api=True, relay_port=relay_port,
                      places=f'[returns]\ndomains = ["{RETURN}"]')
        try:
            submit(relay, messages.multipart("comes-back"), recipient="nobody@gone.test")
            end = time.monotonic() + 90
            while not (bounced := events(relay, "email.bounced")):
                if time.monotonic() > end:
                    raise AssertionError("no email.bounced within 90 s")
                time.sleep(0.5)
            time.sleep(2)
            bounced = events(relay, "email.bounced")
            if len(bounced) != 1:
                raise AssertionError(f"{len(bounced)} bounces: {bounced}")
            bounce = bounced[0]
            if (bounce["recipient"], bounce["report"]["action"]) != ("nobody@gone.test", "failed"):
                raise AssertionError(f"{bounce}")
            if not bounce["status"].startswith("5.") or "no such user" not in bounce.get("reply", bounce.get("reason", "")):
                raise AssertionError(f"the reason is lost: {bounce}")
            print(f"    {bounce['status']} {bounce.get('reply') or bounce.get('reason')} (by {bounce['report']['reported_by']})")
        finally:
            relay.stop()
    finally:
        peer.stop()
        refusing.stop()


def run(table, binary, folder, files, submit):
    makers = {"Postfix": Postfix, "Exim": Exim, "OpenSMTPD": OpenSmtpd, "sendmail": Sendmail, "Haraka": Haraka}
    for server, row in zip(SERVERS, ROWS):
        table.run(row, lambda server=server: reports(binary, folder / f"returns-{server}", makers[server], files, submit))
