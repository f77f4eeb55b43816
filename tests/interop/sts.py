"""MTA-STS: policies at a real https server that is right, or wrong in one way each."""

import http.server
import json
import pathlib
import ssl
import sys

import dane
import dane_net

ROW = "mta-sts: policy servers that are wrong in every way"
ROWS = [ROW]
SERVER, UNTRUSTED = "127.0.3.1", "127.0.3.2"
# Of the mail host, which an authority that the relay trusts vouches for.
MX = "mx.none.test"


def policy(mode="enforce", mx=MX, **more):
    lines = {"version": "STSv1", "mode": mode, "mx": mx, "max_age": "86400", **more}
    return "".join(f"{key}: {value}\r\n" for key, value in lines.items())


# Status, type and body of the policy, what the relay must make of the domain, and whether it must
# say that the policy is of no use.
CASES = {
    "good": (200, "text/plain", policy(), "verified", False),
    "charset": (200, "text/plain; charset=utf-8", policy(), "verified", False),
    "wildcard": (200, "text/plain", policy(mx="*.none.test"), "verified", False),
    "deep-wildcard": (200, "text/plain", policy(mx="*.test"), "deferred", False),
    "other-mx": (200, "text/plain", policy(mx="mx.other.test"), "deferred", False),
    "testing": (200, "text/plain", policy(mode="testing", mx="mx.other.test"), "may", False),
    "none": (200, "text/plain", policy(mode="none"), "may", False),
    "version": (200, "text/plain", policy(version="STSv2"), "may", True),
    "mode": (200, "text/plain", policy(mode="always"), "may", True),
    "age": (200, "text/plain", policy(max_age="soon"), "may", True),
    "empty": (200, "text/plain", "", "may", True),
    "html": (200, "text/html", policy(), "may", True),
    "large": (200, "text/plain", policy() + "x: " + "y" * 70_000 + "\r\n", "may", True),
    "missing": (404, "text/plain", policy(), "may", True),
    "redirect": (301, "text/plain", policy(), "may", True),
    "untrusted": (200, "text/plain", policy(), "may", True),
    "name": (200, "text/plain", policy(), "may", True),
    "two-records": (200, "text/plain", policy(), "may", None),
    "no-record": (200, "text/plain", policy(), "may", None),
}


def run(table, binary, folder, dns):
    table.run(ROW, lambda: check(binary, folder / "sts", pathlib.Path(dns) / "usr/sbin"))


def check(binary, folder, programs):
    folder.mkdir()
    internet = dane_net.Internet(folder, programs, dane.CASES, {"sts": zone()})
    try:
        internet.start()
        hosts = internet.hosts
        names = [f"mta-sts.{name}.sts.test" for name in CASES if name != "name"]
        trusted = hosts.certificate("policies", names)
        trusted_ca = hosts.ca
        hosts.authority("other")
        untrusted = hosts.certificate("untrusted", names)
        servers = [[SERVER, *map(str, trusted)], [UNTRUSTED, *map(str, untrusted)]]
        internet.daemon(sys.executable, __file__, json.dumps(servers))
        config = dane.relay_configuration(folder, f'dane = false\nca_file = "{trusted_ca}"')
        internet.wait([(SERVER, 443), (UNTRUSTED, 443)])
        wrong = [name for name in CASES if not as_wanted(internet, binary, config, name)]
        assert not wrong, f"otherwise than wanted: {', '.join(wrong)}"
    finally:
        internet.stop()


def as_wanted(internet, binary, config, name):
    *_, wanted, is_useless = CASES[name]
    done = dane.show(internet, binary, config, f"{name}.sts.test")
    if not done.stdout.startswith("{"):
        print(f"  {name}: {done.stdout}{done.stderr}")
        return False
    answer = json.loads(done.stdout)
    verdict, failure = dane.relevo_verdict(answer), (answer["mta_sts"] or {}).get("failure")
    print(f"  {name:13} {wanted:9} Relevo {verdict:9} {failure or ''}")
    return verdict == wanted and is_useless in (None, failure is not None)


def zone():
    text = ""
    for name in CASES:
        address = UNTRUSTED if name == "untrusted" else SERVER
        text += f"{name} MX 0 {MX}.\nmta-sts.{name} A {address}\n"
        records = {"two-records": 2, "no-record": 0}.get(name, 1)
        text += "".join(f'_mta-sts.{name} TXT "v=STSv1; id={number}"\n' for number in range(records))
    return text


class Policies(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.headers["Host"].split(".")[1]
        status, kind, body, *_ = CASES[name]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status == 301:
            self.send_header("Location", "https://mta-sts.good.sts.test/.well-known/mta-sts.txt")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def serve(address, chain, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server = http.server.ThreadingHTTPServer((address, 443), Policies)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    import threading

    for server in json.loads(sys.argv[1]):
        threading.Thread(target=serve, args=server).start()
