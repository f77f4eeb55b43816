"""Mail goes to partners only: recipients at other domains are refused, the others get the message.

Settings: `domain`, one for each partner (subdomains are theirs too); `text` of the refusal.
What goes out is marked X-Partner-Policy, and the header field X-Campaign becomes the attribute `campaign`.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log
from wit_world.imports.types import (
    Attribute,
    Decision,
    HeaderField,
    Override,
    Reply,
    Verdict_Accept,
    Verdict_Reject,
)

partners = []
text = "This sender writes to partners only"


class Configure(exports.Configure):
    def configure(self, settings):
        """A fresh instance is configured before it decides. An error refuses the settings."""
        global text
        for setting in settings:
            if setting.name == "domain":
                partners.append(setting.value.lower())
            elif setting.name == "text":
                text = setting.value
            else:
                raise Err(f"`{setting.name}` is not a setting; there are: domain, text")
        if not partners:
            raise Err("no `domain` is set: nobody would get mail")


def is_partner(domain):
    return any(domain == p or domain.endswith("." + p) for p in partners)


def field(headers, name):
    """The value of a header field is octets: folded, with white space around it, and not always UTF-8."""
    for header in headers:
        if header.name.lower() == name:
            return header.value.decode("utf-8", "replace").replace("\r\n", "").strip()
    return None


class Decide(exports.Decide):
    def decide(self, message):
        """A result is what it returns; an error is an `Err` that it raises."""
        verdict = Verdict_Reject(Reply(550, "5.7.1", text))
        overrides = [
            Override(index, verdict)
            for index, recipient in enumerate(message.envelope.recipients)
            if not is_partner(recipient.domain)
        ]
        if overrides:
            log.log(log.Level.INFO, f"{len(overrides)} recipients are not partners")
        campaign = field(message.headers, "x-campaign")
        return Decision(
            Verdict_Accept(),
            overrides,
            [HeaderField("X-Partner-Policy", b"checked")],
            [Attribute("campaign", campaign)] if campaign else [],
        )
