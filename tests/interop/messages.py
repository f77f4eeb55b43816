"""Messages of every shape that signing and transport treat differently."""

import base64
import email.policy
from email.message import EmailMessage

from relay import DOMAIN


def head(marker, extra=""):
    return (
        f"From: Shop <shop@{DOMAIN}>\r\nTo: Ada <ada@reader.test>\r\nSubject: {marker}\r\n"
        f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{marker}@{DOMAIN}>\r\nMIME-Version: 1.0\r\n{extra}"
    ).encode()


def plain(marker):
    return head(marker) + b"\r\nTwo lines,\r\n\twith  odd   spaces  \r\n \t \r\n\r\n"


def multipart(marker):
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = f"shop@{DOMAIN}", "ada@reader.test", marker
    message.set_content("Hello.")
    message.add_alternative('<p>Hello, <a href="https://example.com/a?b=c&amp;d">look</a>.</p>', subtype="html")
    message.add_attachment(bytes(range(256)) * 20, maintype="application", subtype="octet-stream", filename="Größe ✓.bin")
    return message.as_bytes()


def eight_bit(marker):
    fields = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    return head(marker, fields) + "\r\nGrüße aus Zürich, 東京, Αθήνα.\r\n".encode()


def smtputf8(marker):
    message = (
        f"From: Köchin <shop@{DOMAIN}>\r\nTo: 阿达 <阿达@reader.test>\r\nSubject: {marker} ✓ 東京\r\n"
        f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{marker}@{DOMAIN}>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße.\r\n"
    )
    return message.encode()


def quoted_printable(marker):
    fields = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    return head(marker, fields) + b'\r\n<p>Gr=C3=BC=C3=9Fe, <a href=3D"https://example.com/very/long/path/that/is/fol=\r\nded">look</a> =\r\n</p>=20\r\n'


def base64_body(marker):
    fields = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
    body = base64.encodebytes(b'<p>Hello <a href="https://example.com/x">x</a></p>\r\n' * 40).replace(b"\n", b"\r\n")
    return head(marker, fields) + b"\r\n" + body


def empty(marker):
    return head(marker) + b"\r\n"


def thirty_megabytes(marker):
    fields = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
    line = base64.b64encode(bytes(range(57))) + b"\r\n"
    return head(marker, fields) + b"\r\n" + line * ((30 << 20) // len(line))


ALL = {
    "plain": plain,
    "multipart": multipart,
    "8-bit": eight_bit,
    "SMTPUTF8": smtputf8,
    "quoted-printable": quoted_printable,
    "base64": base64_body,
    "empty body": empty,
    "30 MB": thirty_megabytes,
}
