"""A steady flow of mail: `dane_send.py PORT MARKER COUNT INTERVAL DOMAIN...`, message by message, the domains in turn."""

import smtplib
import sys
import time

port, marker, count, interval, *domains = sys.argv[1:]
began = time.monotonic()
for number in range(int(count)):
    time.sleep(max(0, began + number * float(interval) - time.monotonic()))
    recipient = f"ada@{domains[number % len(domains)]}"
    message = (
        f"From: Shop <shop@sender.test>\r\nTo: <{recipient}>\r\nSubject: {marker}-{number}\r\n"
        f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{marker}-{number}@sender.test>\r\n\r\nHello.\r\n"
    )
    with smtplib.SMTP("127.0.0.1", int(port), timeout=60) as session:
        session.sendmail("shop@sender.test", [recipient], message)
