"""DANE: the same domains before Postfix's posttls-finger, Exim, and `relevo tls show`.

A network namespace has its own Internet: a signed root and signed zones on named, unbound as the
validating resolver, and mail hosts with certificates. Each domain is good or wrong in one way. What
Postfix, Exim and Relevo would do with mail to it must be the same, or the difference has a reason.
"""

import json
import pathlib
import re
import textwrap

from dane_exim import Exim
from dane_net import Internet, asked
from dane_zones import FORWARDER, RESOLVER

ROW = "dane: the verdicts of Postfix and Exim over signed zones"
ROWS = [ROW]

# The domain, what is wrong with it, and the verdict that all must come to:
#   may       TLS if offered, nothing is checked     encrypt   TLS is needed, nothing is checked
#   verified  the certificate is the published one   failed    it is not: no mail
#   deferred  the policy cannot be known: no mail
CASES = {
    "good": "verified",  # DANE-EE (3 1 1)
    "full": "verified",  # DANE-EE of the whole certificate (3 0 2)
    "expired-cert": "verified",  # DANE-EE: dates and names do not count (RFC 7672 section 3.1.1)
    "anchor": "verified",  # DANE-TA (2 0 1), and the name is right
    "anchor-name": "failed",  # DANE-TA, and the certificate is for another name (section 3.1.2)
    "rollover": "verified",  # the old key and the new one
    "digest": "failed",  # of another certificate
    "pkix": "encrypt",  # PKIX-EE alone: unusable (section 3.1.3)
    "mixed": "verified",  # PKIX-EE beside DANE-EE
    "none": "may",  # proven: no TLSA
    "clear": "failed",  # TLSA, and the host offers no TLS
    "alg7": "verified",  # RSASHA1-NSEC3-SHA1
    "alg8": "verified",  # RSASHA256
    "nsec3": "verified",  # NSEC3 with a salt
    "optout": "may",  # an unsigned zone below opt-out: its TLSA does not count
    "outside": "may",  # the MX is secure, its host is in an unsigned zone
    "alias": "verified",  # the host is an alias within signed zones
    "alias-out": "verified",  # the alias is secure, its target is not: TLSA of the alias (section 2.2.2)
    "tlsa-alias": "verified",  # the name of the TLSA is an alias (RFC 7671 section 7)
    "dname": "verified",  # the domain lies below a DNAME (RFC 6672)
    "dname-host": "verified",  # the host lies below one: the name that it leads to counts (section 2.2.2)
    "dname-tlsa": "verified",  # _tcp lies below one (RFC 6698 appendix A.2.1)
    "dname-out": "may",  # one that leads into a zone that is not signed
    "tlsa-wild": "verified",  # the TLSA is of a wildcard
    "wild-nsec3": "verified",  # so it is, in a zone with NSEC3
    "wild-alias": "verified",  # a wildcard is an alias of its name
    "tlsa-out": "may",  # its name is an alias that leads into a zone that is not signed
    "alias-none": "may",  # its name is an alias, and proven: no TLSA there
    "alias-bogus": "deferred",  # the alias was changed after it was signed
    "dname-bogus": "deferred",  # so was the DNAME
    "bogus": "deferred",  # the TLSA was changed after it was signed
    "expired": "deferred",  # the signatures of the zone have expired
    "servfail": "deferred",  # _tcp is another zone, whose server does not answer
}


# Exim does not tell `may` from `encrypt`, nor `failed` from `deferred`.
BY_EXIM = {"may": "delivered", "encrypt": "delivered", "failed": "deferred"}
# Where a judge comes to another verdict.
OTHERWISE = {
    # Exim asks for TLSA only at the end of aliases. Where that is not secure but the alias is, the
    # alias itself is the TLSA base domain, too (RFC 7672 section 2.2.2).
    ("Exim", "alias-out"): "delivered",
    # Postfix asks for the CNAME alone, which unbound 1.17 answers with SERVFAIL where a DNAME leads
    # out of the signed zones (RFC 7672 section 2.1.2: what fails is put off).
    ("Postfix", "dname-out"): "deferred",
}


def run(table, binary, folder, dns, exim):
    """`dns`: the files of named and unbound. `exim`: those of Exim."""
    table.run(ROW, lambda: check(binary, folder / "dane", pathlib.Path(dns) / "usr/sbin", exim))


def check(binary, folder, programs, unpacked):
    folder.mkdir()
    internet = Internet(folder, programs, CASES)
    try:
        internet.start()
        alone = folder / "alone"
        alone.mkdir()
        (alone / "anchor.key").write_bytes((folder / "anchor.key").read_bytes())
        config, exim = relay_configuration(folder), Exim(folder / "exim", unpacked)
        # Behind a resolver that does not validate, Relevo is the only one that can tell.
        alone = relay_configuration(alone, resolver=FORWARDER)
        wrong, lines = [], []
        for name, wanted in CASES.items():
            by_postfix = OTHERWISE.get(("Postfix", name), wanted)
            by_exim = OTHERWISE.get(("Exim", name), BY_EXIM.get(wanted, wanted))
            postfix, words = with_postfix(internet, name)
            other, log = exim.verdict(internet, name)
            relevo, answer = with_relevo(internet, binary, config, name)
            by_itself, reason = with_relevo(internet, binary, alone, name)
            lines.append(f"  {name:13} {wanted:9} Postfix {postfix:9} Exim {other:9} Relevo {relevo:9} {by_itself:9}")
            if (postfix, other, relevo, by_itself) != (by_postfix, by_exim, wanted, wanted):
                wrong.append(name)
                lines.append(textwrap.indent(f"{words}\n{log}\n{answer}\n{reason}", "      "))
        print("\n".join(lines))
        assert not wrong, f"other verdicts: {', '.join(wrong)}"
    finally:
        internet.stop()


def with_postfix(internet, name):
    """What posttls-finger comes to at level `dane`, and its words."""
    done = internet.inside("posttls-finger", "-c", "-l", "dane", "-L", "summary,verbose", "-t", "20", asked(name), timeout=120)
    words = done.stdout + done.stderr
    return postfix_verdict(words), words


def show(internet, binary, config, domain):
    return internet.inside(binary, "tls", "--json", "--config", config, "show", domain, timeout=120)


def with_relevo(internet, binary, config, name):
    done = show(internet, binary, config, asked(name))
    if not done.stdout.startswith("{"):
        words = done.stdout + done.stderr
        # The MX records themselves cannot be had.
        return "deferred" if "did not answer" in words else "error", words
    return relevo_verdict(json.loads(done.stdout)), done.stdout


def relay_configuration(folder, delivery="mta_sts = false", resolver=RESOLVER, more=""):
    """`delivery`: more of `[delivery]`. `more`: what follows all else."""
    path = folder / "relevo.toml"
    path.write_text(textwrap.dedent(f"""\
        hostname = "mta.sender.test"
        postmaster = "postmaster@sender.test"
        data_dir = "{folder}/data"
        [dns]
        nameservers = ["{resolver}:53"]
        dnssec_trust_anchor = "{folder}/anchor.key"
        [delivery]
        allow_networks = ["127.0.0.0/8"]
        {delivery}
        [smtp]
        relay = ["127.0.0.1:2525"]
        trusted_networks = ["127.0.0.0/8"]
        """) + more)
    return path


def postfix_verdict(words):
    if re.search(r"lookup error|lookup failed", words):
        return "deferred"
    if "DNSSEC-signed TLSA record" in words:
        return "verified" if "Verified TLS connection established" in words else "failed"
    if "unsupported TLSA certificate usage" in words:
        return "encrypt"
    return "may" if "TLS connection established" in words else "unknown"


def relevo_verdict(answer):
    [host] = answer["hosts"]
    shake = host["handshake"] or ""
    if host["needs"] == "refused":
        return "deferred"
    if host["needs"] == "verified":
        return "verified" if "the certificate is valid" in shake else "failed"
    return {"required": "encrypt", "opportunistic": "may"}.get(host["needs"], host["needs"])
