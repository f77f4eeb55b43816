"""Mail that comes back: real servers take a message, are refused by the next hop, and report to the return path."""

import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time
import urllib.request

from aiosmtpd.controller import Controller

import messages
import peers
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

    def __init__(self, folder, refusing, relay, _unpacked):
        routes = {"gone.test": refusing, RETURN: relay}
        maps = ", ".join(f"{{ {name} = smtp:[127.0.0.1]:{port} }}" for name, port in routes.items())
        super().__init__(folder, delivery=f"transport_maps = inline:{{ {maps} }}\n")


class OpenSmtpd(peers.OpenSmtpd):
    def __init__(self, folder, refusing, relay, unpacked):
        super().__init__(folder, unpacked["opensmtpd"], rules=(
            f'action "gone" relay host smtp://127.0.0.1:{refusing}\n'
            f'action "back" relay host smtp://127.0.0.1:{relay}\n'
            'match from any for domain "gone.test" action "gone"\n'
            f'match from any for domain "{RETURN}" action "back"\n'
        ))


class Exim:
    """Unpacked, not installed: its package excludes Postfix's."""

    def __init__(self, folder, refusing, relay, unpacked):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        subprocess.run(["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", "Debian-exim"],
                       capture_output=True, check=False)
        owner = pwd.getpwnam("Debian-exim")
        for name in ("", "spool", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        exim = pathlib.Path(unpacked["exim"]) / "usr/sbin/exim4"
        config = self.folder / "exim.conf"
        config.write_text(f"""
exim_path = {exim}
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
pid_file_path = {self.folder}/log/exim.pid
primary_hostname = exim.example.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
disable_ipv6
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept

begin routers
gone:
  driver = manualroute
  domains = gone.test
  route_list = * 127.0.0.1
  transport = to_refusing
  self = send
back:
  driver = manualroute
  domains = {RETURN}
  route_list = * 127.0.0.1
  transport = to_relay
  self = send

begin transports
to_refusing:
  driver = smtp
  port = {refusing}
  allow_localhost
  hosts_avoid_tls = *
to_relay:
  driver = smtp
  port = {relay}
  allow_localhost
  hosts_avoid_tls = *

begin retry
* * F,1h,1m
""")
        self.log = open(self.folder / "out", "wb")
        self.process = subprocess.Popen([str(exim), "-C", str(config), "-bdf", "-q1m"], stdout=self.log, stderr=self.log,
                                        start_new_session=True)
        wait_for_port(self.port, self.process)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


class Sendmail:
    """Unpacked, not installed: its package excludes Postfix's. Its configuration is made with m4 from the package's."""

    def __init__(self, folder, refusing, relay, unpacked):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        root = pathlib.Path(unpacked["sendmail"])
        (self.folder / "queue").mkdir(parents=True, exist_ok=True)
        (self.folder / "services").write_text("hosts files\n")
        # A route and a port for each of the two domains.
        mailer = "M{}, P=[IPC], F=mDFMuXa8k, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\r\\n, L=990, " \
                 "T=DNS/RFC822/SMTP, A=TCP $h {}"
        rule = "R$* < @ {} $* > $*\t\t$#{} $@ [127.0.0.1] $: $1 < @ {} > $3"
        (self.folder / "sendmail.mc").write_text(f"""divert(-1)
include(`{root}/usr/share/sendmail/cf/m4/cf.m4')
divert(0)dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `sendmail.example.test')dnl
define(`confSERVICE_SWITCH_FILE', `{self.folder}/services')dnl
define(`QUEUE_DIR', `{self.folder}/queue')dnl
define(`ALIAS_FILE', `')dnl
define(`STATUS_FILE', `')dnl
define(`HELP_FILE', `')dnl
define(`confPID_FILE', `{self.folder}/pid')dnl
define(`confTO_IDENT', `0')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`accept_unqualified_senders')dnl
DAEMON_OPTIONS(`Family=inet, Addr=127.0.0.1, Port={self.port}, Name=MTA')dnl
MAILER(`smtp')dnl
MAILER_DEFINITIONS
{mailer.format("gone", refusing)}
{mailer.format("back", relay)}
LOCAL_RULE_0
{rule.format("gone.test", "gone", "gone.test")}
{rule.format(RETURN, "back", RETURN)}
""")
        config = self.folder / "sendmail.cf"
        with open(config, "wb") as made:
            subprocess.run(["m4", "-D", f"_CF_DIR_={root}/usr/share/sendmail/cf/", str(self.folder / "sendmail.mc")],
                           stdout=made, check=True)
        self.log = open(self.folder / "out", "wb")
        program = root / "usr/libexec/sendmail/sendmail"
        # On a host without a full name it waits a minute for one before it reads its configuration.
        self.process = subprocess.Popen(
            ["unshare", "--uts", "sh", "-c", f"hostname sendmail.example.test; exec {program} -C {config} -bD -q5s"],
            stdout=self.log, stderr=self.log, start_new_session=True)
        wait_for_port(self.port, self.process)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)
        self.log.close()


class Haraka:
    """From npm. A plugin of the row's names the next hops; the bounce is Haraka's own."""

    def __init__(self, folder, refusing, relay, unpacked):
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
        package = pathlib.Path(unpacked["haraka"]) / "node_modules/Haraka"
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


def reports(binary, folder, make, unpacked, submit):
    refusing = Refusing()
    relay_port, peer_port = free_port(), free_port()
    peer = make(folder / "peer", refusing.port, relay_port, unpacked)
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


def run(table, binary, folder, unpacked, submit):
    makers = {"Postfix": Postfix, "Exim": Exim, "OpenSMTPD": OpenSmtpd, "sendmail": Sendmail, "Haraka": Haraka}
    for server, row in zip(SERVERS, ROWS):
        table.run(row, lambda server=server: reports(binary, folder / f"returns-{server}", makers[server], unpacked, submit))
