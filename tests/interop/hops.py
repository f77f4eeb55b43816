"""sendmail and Courier as next hops of the relay and as what submits to it: what arrives is what was sent."""

import smtplib
import time

import extensions
import messages
import unpacked
import verify
from dsn import Hop
from relay import DOMAIN, USER, Relay

RECEIVES = "{} is the next hop: what was sent arrives"
SUBMITS = "{} submits: what was sent arrives"
DELIVER_BY = "sendmail is told by when to deliver"
SERVERS = ("sendmail", "Courier")
ROWS = [row.format(server) for server in SERVERS for row in (RECEIVES, SUBMITS)] + [DELIVER_BY]

SENDER = f"shop@{DOMAIN}"
# Courier takes no password with spaces.
LOGIN = (USER, "correct-horse-battery")
RECIPIENTS = ["ada@reader.test", "gone@reader.test", "bob@reader.test"]
# Fields that hosts on the way put on top.
TRACE = (b"received", b"return-path", b"dkim-signature", b"authentication-results", b"delivered-to", b"x-relevo-")


def dots(marker):
    return messages.head(marker) + b"\r\n.\r\n..\r\n.. two\r\n.one\r\n\r\n.\r\n" + b"." * 60 + b"\r\n"


def long_lines(marker):
    """As long as they may be (RFC 5322 section 2.1.1)."""
    return messages.head(marker, "X-Folded: " + "a " * 300 + "\r\n\t" + "b" * 60 + "\r\n") + b"\r\n" + b"x" * 998 + b"\r\n" + b"y " * 499 + b"\r\n." + b"z" * 997 + b"\r\n"


def spaces(marker):
    return messages.head(marker) + b"\r\n \r\n\tx \t\r\n\r\n>From here\r\nFrom there\r\n   \r\n\r\n\r\n"


def multipart(marker):
    """With the fields that the relay would add."""
    fields = f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{marker}@{DOMAIN}>\r\n"
    return fields.encode() + messages.multipart(marker)


SHAPES = {"plain": messages.plain, "multipart": multipart, "8-bit": messages.eight_bit, "dots": dots,
          "long lines": long_lines, "spaces": spaces, "quoted-printable": messages.quoted_printable, "empty": messages.empty}


def fields(raw):
    """Fields without those of the way, and the body."""
    header, _, body = raw.partition(b"\r\n\r\n")
    unfolded = header.replace(b"\r\n ", b"\n ").replace(b"\r\n\t", b"\n\t").split(b"\r\n")
    return [field for field in unfolded if not field.lower().startswith(TRACE)], body


def compare(shape, sent, arrived):
    (before, body), (after, arrived_body) = fields(sent), fields(arrived)
    assert arrived_body == body, f"{shape}: other octets in the body: {arrived_body[:300]} for {body[:300]}"
    assert after == before, f"{shape}: other fields: {set(after) ^ set(before)}"


def through(send, sink, relay, proof=b""):
    """Each shape, to three recipients of whom one is refused by the last hop. `proof`: what must be in the trace."""
    sent = {}
    for shape, make in SHAPES.items():
        marker = f"hop-{shape.replace(' ', '-')}"
        sent[shape] = (marker, make(marker))
        send(sent[shape][1])
    wrong = []
    for shape, (marker, raw) in sent.items():
        subject = f"Subject: {marker}\r\n".encode()
        end, arrived = time.monotonic() + 60, {}
        while set(arrived) != {"ada@reader.test", "bob@reader.test"}:
            for _, recipients, octets in list(sink.messages):
                if subject in octets and SENDER not in recipients:
                    arrived.update({recipient: octets for recipient in recipients})
            assert time.monotonic() < end, f"{shape}: arrived for {set(arrived)} within 60 s"
            time.sleep(0.1)
        for octets in arrived.values():
            try:
                compare(shape, raw, octets)
                assert proof in octets, f"{shape}: {proof} is not in {octets[:2000]}"
                verdicts = verify.dkimpy(octets[octets.index(b"DKIM-Signature:"):], relay.records)
                assert verdicts == {"rsa": True, "ed": True}, f"{shape}: signatures {verdicts}"
            except AssertionError as error:
                wrong.append(str(error))
    assert not wrong, "\n".join(wrong)
    reports = len(SHAPES)
    end = time.monotonic() + 60
    back = lambda: [octets for _, recipients, octets in sink.messages if recipients == [SENDER] and b"gone@reader.test" in octets]
    while len(back()) < reports:
        assert time.monotonic() < end, f"{len(back())} of {reports} refusals come back"
        time.sleep(0.2)
    assert len(back()) == reports, f"{len(back())} reports about {reports} refusals"


def smtp_send(session, raw):
    options = ["BODY=8BITMIME"] if any(octet > 127 for octet in raw) else []
    session.sendmail(SENDER, RECIPIENTS, raw, mail_options=options)


def receives(binary, folder, make):
    sink = Hop()
    peer = make(folder / "peer", sink.port)
    try:
        relay = Relay(binary, folder / "relay", peer.port)
        try:
            with extensions.session(relay) as session:
                through(lambda raw: smtp_send(session, raw), sink, relay)
        finally:
            relay.stop()
    finally:
        peer.stop()
        sink.stop()


def submits(binary, folder, make):
    sink = Hop()
    relay = Relay(binary, folder / "relay", sink.port, password=LOGIN[1])
    try:
        peer = make(folder / "peer", relay.submission)
        try:
            with smtplib.SMTP("127.0.0.1", peer.port, timeout=60) as session:
                through(lambda raw: smtp_send(session, raw), sink, relay, b" with ESMTPSA ")
        finally:
            peer.stop()
    finally:
        relay.stop()
        sink.stop()


def deliver_by(binary, folder, make):
    """The last hop offers no DELIVERBY. What would have to be returned when late goes back at once; of the rest sendmail
    says after a minute that it is late. The relay reports neither."""
    sink = Hop()
    peer = make(folder / "peer", sink.port)
    try:
        relay = Relay(binary, folder / "relay", peer.port)
        try:
            with extensions.session(relay) as session:
                session.ehlo()
                assert session.has_extn("deliverby"), "DELIVERBY is not offered"
                began = time.time()
                session.sendmail(SENDER, ["late-return@reader.test"], messages.plain("by-return"), mail_options=["BY=60;R"])
                session.sendmail(SENDER, ["late-notify@reader.test"], messages.plain("by-notify"), mail_options=["BY=60;N"])
            reported(sink, b"late-return@reader.test", b"Action: failed", 20)
            assert time.time() - began < 30, "it was kept"
            reported(sink, b"late-notify@reader.test", b"Action: delayed", 100)
            assert 55 < time.time() - began < 90, f"told of after {time.time() - began:.0f} s"
            time.sleep(3)
            back = [raw for _, recipients, raw in sink.messages if recipients == [SENDER]]
            assert len(back) == 2, f"{len(back)} reports"
        finally:
            relay.stop()
    finally:
        peer.stop()
        sink.stop()


def reported(sink, recipient, action, seconds):
    words = b"Final-Recipient: RFC822; " + recipient
    report = sink.wait(words, seconds)
    assert report[1] == [SENDER], f"returned to {report[1]}"
    for wanted in (action, b"Reporting-MTA: dns; sendmail.example.test"):
        assert wanted in report[2], f"{wanted} is not in {report[2].decode(errors='replace')}"
    status = next(line for line in report[2].splitlines() if line.startswith(b"Status: "))
    print(f"  {recipient.decode()} {action.decode()} {status.decode()}")


def run(table, binary, folder, files):
    makers = {
        "sendmail": (lambda at, port: unpacked.Sendmail(at, files["sendmail"], {"reader.test": port, DOMAIN: port}),
                     lambda at, port: unpacked.Sendmail(at, files["sendmail"], {"reader.test": port, DOMAIN: port}, LOGIN)),
        "Courier": (lambda at, port: unpacked.Courier(at, files["courier"], port),
                    lambda at, port: unpacked.Courier(at, files["courier"], port, LOGIN)),
    }
    for server, (as_hop, as_client) in makers.items():
        table.run(RECEIVES.format(server), lambda make=as_hop: receives(binary, folder / f"{server}-receives", make))
        table.run(SUBMITS.format(server), lambda make=as_client: submits(binary, folder / f"{server}-submits", make))
    table.run(DELIVER_BY, lambda: deliver_by(binary, folder / "sendmail-by", makers["sendmail"][0]))
