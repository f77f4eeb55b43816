"""Many messages in the data of a `relevo dev`, quickly: `relevo serve` sends them to a sink that looks at nothing."""

import asyncio
import concurrent.futures
import pathlib
import re
import signal
import subprocess
import threading
import time

from panel_data import Api, wait_until_ready
from relay import wait_for_port

SUBJECTS = ("Your order is on its way", "Welcome to the shop", "Choose a new password", "What is new this autumn")
# Recipients of a request, and requests at once.
EACH, WORKERS = 1_000, 3
# Seconds of a whole run.
PATIENCE = 3_600


class Discard(asyncio.Protocol):
    """Takes every message, and refuses the mailboxes that begin with `gone`."""

    def connection_made(self, transport):
        self.transport, self.buffer, self.in_data, self.taken = transport, b"", False, False
        transport.write(b"220 sink\r\n")

    def data_received(self, data):
        self.buffer += data
        answers = []
        while True:
            if self.in_data:
                end = self.buffer.find(b"\r\n.\r\n")
                if end < 0:
                    break
                self.buffer, self.in_data = self.buffer[end + 5:], False
                answers.append(b"250 2.0.0 taken\r\n")
                continue
            line, found, rest = self.buffer.partition(b"\r\n")
            if not found:
                break
            self.buffer = rest
            answers.append(self.answer(line.upper()))
        self.transport.write(b"".join(answers))

    def answer(self, line):
        if line.startswith(b"EHLO"):
            return b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        if line.startswith(b"RCPT TO:<GONE"):
            return b"550 5.1.1 <b>No such</b> mailbox\r\n"
        if line.startswith(b"MAIL"):
            self.taken = False
        if line.startswith(b"RCPT"):
            self.taken = True
        if line == b"DATA":
            if not self.taken:
                return b"554 5.5.1 no recipients\r\n"
            self.in_data = True
            return b"354 go on\r\n"
        return b"221 bye\r\n" if line == b"QUIT" else b"250 2.0.0 ok\r\n"


class Sink:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(self.loop.create_server(Discard, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)


def fill(binary, data, http, number):
    """Sends so many messages with the configuration that `relevo dev` left in `data`. Returns the seconds that it took."""
    sink = Sink()
    config = pathlib.Path(data) / "fill.toml"
    text = (pathlib.Path(data) / "relevo.toml").read_text()
    # One cheap signature, and no links: what is measured is the pages.
    text = re.sub(r"(?m)^tracking = .*\n|^.*rsa-sha256.*\n", "", text)
    smarthost = f'[delivery]\nsmarthost = {{ host = "127.0.0.1", port = {sink.port}, tls = "none" }}\n\n[[tenant]]'
    config.write_text(text.replace("[[tenant]]", smarthost, 1))
    with open(pathlib.Path(data) / "fill.log", "ab") as log:
        relay = subprocess.Popen([binary, "serve", "--config", config], stdout=log, stderr=log)
        try:
            wait_for_port(http, relay)
            origin = f"http://127.0.0.1:{http}"
            wait_until_ready(origin)
            return send(Api(origin, "rv_dev"), number)
        finally:
            relay.send_signal(signal.SIGTERM)
            relay.wait(60)
            sink.stop()


def send(api, number):
    began = time.monotonic()

    def some(at):
        recipients = [{"email": address(n)} for n in range(at, min(at + EACH, number))]
        api.post("/emails", {"from": "Shop <shop@example.test>", "recipients": recipients, "subject": SUBJECTS[at // EACH % 4],
                             "text": "Hello", "tags": [{"name": "kind", "value": f"k{at // EACH % 7}"}]})

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(some, range(0, number, EACH)):
            pass
    while on_their_way(api):
        assert time.monotonic() - began < PATIENCE, f"{on_their_way(api)} messages wait after {PATIENCE} s"
        time.sleep(0.5)
    return time.monotonic() - began


def address(n):
    """One of fifty does not exist."""
    return f"{'gone' if n % 50 == 49 else 'r'}{n}@{'abcdefgh'[n % 8]}-mail.test"


def on_their_way(api):
    """Messages that are due or being delivered."""
    metrics = api.raw("/metrics").decode()
    return sum(int(value) for value in re.findall(r"^relevo_queue_(?:due|leased) (\d+)", metrics, re.M))
