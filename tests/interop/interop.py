"""Runs the fixed table of interop rows. A row that fails or does not run fails the whole."""

import argparse
import json
import os
import pathlib
import shutil
import smtplib
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import classify
import clients
import dane
import dane_mail
import dsn
import edge
import extensions
import functions
import hops
import messages
import openapi
import panel
import peers
import plugins
import postgresql
import returns
import scan
import sdks
import smuggling
import spam
import sts
import tls_reports
import verify
from relay import DOMAIN, PASSWORD, USER, Relay, Sink

CLIENTS = ("swaks", "curl", "smtplib", "msmtp", "nodemailer")
ROWS = (
    [f"{client} submits over {port}" for client in CLIENTS for port in ("587 STARTTLS", "465 TLS")]
    + [f"{program} submits" for program in clients.PROGRAMS]
    + [f"{verifier} verifies RSA and Ed25519: {shape}" for verifier in ("dkimpy", "OpenDKIM") for shape in messages.ALL]
    + [f"{verifier} refuses an altered message" for verifier in ("dkimpy", "OpenDKIM")]
    + ["Postfix receives", "OpenSMTPD receives", "Postfix relays through Relevo"]
    + extensions.ROWS
    + dsn.ROWS
    + hops.ROWS
    + returns.ROWS
    + scan.ROWS
    + smuggling.ROWS
    + dane.ROWS
    + dane_mail.ROWS
    + sts.ROWS
    + tls_reports.ROWS
    + plugins.ROWS
    + postgresql.ROWS
    + spam.ROWS
    + sdks.ROWS
    + openapi.ROWS
    + panel.ROWS
    + edge.ROWS
    + functions.ROWS
    + classify.ROWS
)

NOT_RUN = "not run"
# Rows that mostly wait, by their options: each list runs beside the others, in processes of its own.
BESIDE = (["--tls"], ["--hops", "--returns", "--smuggling"], ["--extensions", "--scan"])


class Table:
    def __init__(self, rows):
        self.rows = rows
        self.results = {}

    def run(self, row, check):
        if row not in self.rows:
            raise RuntimeError(f"`{row}` is not in the table")
        began = time.monotonic()
        try:
            check()
            self.results[row] = "ok"
        except Exception as error:  # noqa: BLE001 a row reports whatever went wrong
            traceback.print_exc()
            self.results[row] = f"FAILED: {str(error)[:200]}"
        print(f"{row:58} {self.results[row]:10} {time.monotonic() - began:6.1f} s", flush=True)

    def leave_out(self, row, reason):
        """For rows of programs that nobody can be asked to have: counted, and never as passed."""
        if row not in self.rows:
            raise RuntimeError(f"`{row}` is not in the table")
        self.results[row] = NOT_RUN
        print(f"{row:58} {NOT_RUN}: {reason}", flush=True)

    def close(self, file=None):
        if file:
            pathlib.Path(file).write_text(json.dumps(self.results))
        missing = [row for row in self.rows if row not in self.results]
        failed = [row for row in self.rows if self.results.get(row) not in ("ok", NOT_RUN)]
        not_run = [row for row in self.rows if self.results.get(row) == NOT_RUN]
        for row in missing:
            print(f"{row:58} MISSING")
        passed = len(self.rows) - len(failed) - len(not_run)
        print(f"\ninterop: {passed} passed, {len(failed)} failed, {len(not_run)} not run")
        return 1 if failed else 0


def submit(relay, raw, sender=f"shop@{DOMAIN}", recipient="ada@reader.test", options=()):
    with smtplib.SMTP("127.0.0.1", relay.submission, timeout=120) as session:
        session.starttls(context=clients.any_certificate())
        session.login(USER, PASSWORD)
        session.sendmail(sender, [recipient], raw, mail_options=list(options))


def submissions(table, relay, sink, folder):
    for client in CLIENTS:
        for port, implicit in (("587 STARTTLS", False), ("465 TLS", True)):
            marker = f"{client}-{'tls' if implicit else 'starttls'}"

            def check(client=client, implicit=implicit, marker=marker):
                clients.ALL[client](relay, implicit, marker, folder)
                sink.wait(f"Subject: {marker}".encode())

            table.run(f"{client} submits over {port}", check)


def programs(table, relay, sink, folder):
    for number, (program, send) in enumerate(clients.PROGRAMS.items()):
        marker = f"program-{number}"

        def check(send=send, marker=marker):
            send(relay, marker, folder)
            raw = sink.wait(marker.encode())[2]
            if b"X-Relevo" in raw:
                raise AssertionError("an option field was delivered")

        table.run(f"{program} submits", check)


def signatures(table, relay, sink, folder):
    for shape, make in messages.ALL.items():
        marker = f"shape-{shape.replace(' ', '-')}"
        arrived = {}

        def deliver(shape=shape, make=make, marker=marker):
            if not arrived:
                utf8 = shape == "SMTPUTF8"
                submit(relay, make(marker), recipient="阿达@reader.test" if utf8 else "ada@reader.test",
                       options=("SMTPUTF8", "BODY=8BITMIME") if utf8 else ("BODY=8BITMIME",))
                arrived["raw"] = sink.wait(f"Subject: {marker}".encode(), 120)[2]
            return arrived["raw"]

        def dkimpy(deliver=deliver):
            expect_all(verify.dkimpy(deliver(), relay.records))

        def opendkim(deliver=deliver):
            expect_all(verify.opendkim(deliver(), relay.records, folder))

        table.run(f"dkimpy verifies RSA and Ed25519: {shape}", dkimpy)
        table.run(f"OpenDKIM verifies RSA and Ed25519: {shape}", opendkim)


    altered = sink.wait(b"Subject: shape-plain")[2].replace(b"Two lines", b"Too lines")

    table.run("dkimpy refuses an altered message", lambda: expect_none(verify.dkimpy(altered, relay.records)))
    table.run("OpenDKIM refuses an altered message", lambda: expect_none(verify.opendkim(altered, relay.records, folder)))


def expect_none(verdicts):
    if set(verdicts) != {"rsa", "ed"} or any(verdicts.values()):
        raise AssertionError(f"verdicts {verdicts}")


def expect_all(verdicts):
    if set(verdicts) != {"rsa", "ed"} or not all(verdicts.values()):
        raise AssertionError(f"verdicts {verdicts}")


def servers(table, binary, folder, opensmtpd):
    def receives(make, marker):
        peer = make()
        try:
            relay = Relay(binary, folder / f"relay-{marker}", peer.port)
            try:
                submit(relay, messages.multipart(marker))
                received = peer.wait(f"Subject: {marker}".encode())
                # Stored with LF: back to the line ends of the wire, without the fields that the server put on top.
                raw = received.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                expect_all(verify.dkimpy(raw[raw.index(b"DKIM-Signature:"):], relay.records))
            finally:
                relay.stop()
        finally:
            peer.stop()

    table.run("Postfix receives", lambda: receives(lambda: peers.Postfix(folder / "postfix-in"), "postfix-in"))
    table.run("OpenSMTPD receives", lambda: receives(lambda: peers.OpenSmtpd(folder / "opensmtpd", opensmtpd), "opensmtpd-in"))

    def through():
        sink = Sink()
        relay = Relay(binary, folder / "relay-through", sink.port)
        postfix = peers.Postfix(folder / "postfix-out", relayhost=relay.relay)
        try:
            with smtplib.SMTP("127.0.0.1", postfix.port) as session:
                session.sendmail(f"shop@{DOMAIN}", ["ada@reader.test"], messages.multipart("through-postfix"))
            raw = sink.wait(b"Subject: through-postfix")[2]
            expect_all(verify.dkimpy(raw, relay.records))
        finally:
            postfix.stop()
            relay.stop()
            sink.stop()

    table.run("Postfix relays through Relevo", through)


def beside(folder):
    """Starts what runs beside the rest. Call the answer to wait for it; it returns the results."""
    results = {}

    def lane(options):
        for option in options:
            file = folder / f"results{option}.json"
            command = [sys.executable, "-u", __file__, *sys.argv[1:], option, "--results", str(file)]
            subprocess.run(command, check=False)
            # Rows of a process that ended without results are missing, and fail the whole.
            results.update(json.loads(file.read_text()) if file.exists() else {})

    lanes = [threading.Thread(target=lane, args=(options,)) for options in BESIDE]
    for started in lanes:
        started.start()

    def finish():
        for started in lanes:
            started.join()
        return results

    return finish


def everything(table, given, folder):
    finish = beside(folder)
    try:
        one_by_one(table, given, folder)
    finally:
        table.results.update(finish())


def one_by_one(table, given, folder):
    sink = Sink()
    relay = Relay(given.relevo, folder / "relay", sink.port)
    submissions(table, relay, sink, folder)
    programs(table, relay, sink, folder)
    signatures(table, relay, sink, folder)
    relay.stop()
    sink.stop()
    servers(table, given.relevo, folder, given.opensmtpd)
    plugins.run(table, given.relevo, folder)
    postgresql.run(table, folder)
    spam.run(table, given.relevo, folder)
    sdks.run(table, given.relevo, folder)
    openapi.run(table, given.relevo, folder, openapi.EXAMPLES)
    panel.run(table, given.relevo, folder, panel.ROWS)
    at_the_edge(table, given, folder)


def coming_back(table, given, folder):
    unpacked = {name: getattr(given, name) for name in ("opensmtpd", "exim", "sendmail", "haraka")}
    returns.run(table, given.relevo, folder, unpacked, submit)


def extended(table, given, folder):
    extensions.run(table, given.relevo, folder)
    dsn.run(table, given.relevo, folder, {name: getattr(given, name) for name in ("exim", "sendmail", "courier")})


def from_hop_to_hop(table, given, folder):
    hops.run(table, given.relevo, folder, {"sendmail": given.sendmail, "courier": given.courier})


def scanned(table, binary, folder):
    relay = Relay(binary, folder / "relay-scanned", 9)
    try:
        scan.run(table, relay)
    finally:
        relay.stop()


def encrypted(table, given, folder):
    dane.run(table, given.relevo, folder, given.dns, given.exim)
    dane_mail.run(table, given.relevo, folder, given.dns)
    sts.run(table, given.relevo, folder, given.dns)
    tls_reports.run(table, given.relevo, folder, given.dns, given.parsedmarc)


def at_the_edge(table, given, folder):
    edge.run(table, given.relevo, folder)
    functions.run(table, given.relevo, folder)
    classify.run(table, given.relevo, folder)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--relevo", required=True)
    arguments.add_argument("--opensmtpd", required=True)
    arguments.add_argument("--exim", required=True)
    arguments.add_argument("--sendmail", required=True)
    arguments.add_argument("--haraka", required=True)
    arguments.add_argument("--courier", required=True)
    arguments.add_argument("--dns", required=True)
    arguments.add_argument("--parsedmarc", required=True)
    arguments.add_argument("--scan", action="store_true", help="only the rows of TLS scanners")
    arguments.add_argument("--smuggling", action="store_true", help="only the rows of SMTP smuggling")
    arguments.add_argument("--extensions", action="store_true", help="only the rows of ESMTP extensions")
    arguments.add_argument("--tls", action="store_true", help="only the rows of DANE, MTA-STS and TLS reports")
    arguments.add_argument("--hops", action="store_true", help="only the rows of sendmail and Courier before and after the relay")
    arguments.add_argument("--returns", action="store_true", help="only the rows of mail that comes back")
    arguments.add_argument("--spam", action="store_true", help="only the rows of spam filters")
    arguments.add_argument("--openapi", type=int, metavar="EXAMPLES",
                           help="only the row of the OpenAPI document, with so many random requests to each operation")
    arguments.add_argument("--edge", nargs="?", const="", metavar="TEXT", help="only the rows of the edge, or those with this text")
    arguments.add_argument("--panel", nargs="?", const="", metavar="TEXT", help="only the rows of the panel, or those with this text")
    arguments.add_argument("--panel-fill", type=int, metavar="MESSAGES", help="only the times of the panel's pages with so many messages")
    arguments.add_argument("--results", metavar="FILE", help="write the results as JSON")
    arguments.add_argument("--screenshots", metavar="DIR", help="with --panel: only pictures of its pages, with friendly data")
    given = arguments.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="relevo-interop-"))
    # Postfix and OpenSMTPD go through it as users of their own.
    os.chmod(folder, 0o755)
    if given.edge is not None:
        rows = [row for row in edge.ROWS + functions.ROWS + classify.ROWS if given.edge in row]
        check = lambda table: at_the_edge(table, given, folder)
    elif given.panel_fill is not None:
        rows = [f"panel: times with {given.panel_fill:,} messages"]
        check = lambda table: panel.with_messages(table, rows[0], given.relevo, folder, given.panel_fill)
    elif given.panel is not None and given.screenshots:
        rows, check = [panel.PICTURES], lambda table: panel.pictures(table, given.relevo, folder, given.screenshots)
    elif given.panel is not None:
        rows = [row for row in panel.ROWS if given.panel in row]
        check = lambda table: panel.run(table, given.relevo, folder, rows)
    elif given.returns:
        rows, check = returns.ROWS, lambda table: coming_back(table, given, folder)
    elif given.smuggling:
        rows, check = smuggling.ROWS, lambda table: smuggling.run(table, given.relevo, folder)
    elif given.extensions:
        rows, check = extensions.ROWS + dsn.ROWS, lambda table: extended(table, given, folder)
    elif given.hops:
        rows, check = hops.ROWS, lambda table: from_hop_to_hop(table, given, folder)
    elif given.tls:
        rows, check = dane.ROWS + dane_mail.ROWS + sts.ROWS + tls_reports.ROWS, lambda table: encrypted(table, given, folder)
    elif given.spam:
        rows, check = spam.ROWS, lambda table: spam.run(table, given.relevo, folder)
    elif given.openapi is not None:
        rows, check = openapi.ROWS, lambda table: openapi.run(table, given.relevo, folder, given.openapi)
    elif given.scan:
        rows, check = scan.ROWS, lambda table: scanned(table, given.relevo, folder)
    else:
        rows, check = ROWS, lambda table: everything(table, given, folder)
    table = Table(rows)
    try:
        check(table)
    finally:
        code = table.close(given.results)
        if code == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"what the processes wrote is in {folder}")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
