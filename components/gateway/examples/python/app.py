"""Sends a receipt for an order: see the README one folder up."""

import asyncio
import base64
import hmac
import json
import os
import sys
import time
import urllib.parse

import poll_loop
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import dkim, environment, signer, template
from wit_world.imports.types import (Fields, IncomingRequest, Method_Post, OutgoingRequest, OutgoingResponse,
                                     ResponseOutparam, Scheme_Http, Scheme_Https)

HTML = "<p>Dear {{ name }},</p><p>thank you for {{ total }} EUR.</p>"
LIMITS = template.Limits(max_output=1 << 20, max_steps=100_000, max_depth=32)
LARGEST = 1 << 16


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        loop = poll_loop.PollLoop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(respond(request, response_out))


async def respond(request, response_out):
    try:
        status, body = await receipt(request)
    except Exception as error:  # noqa: BLE001 an Err has in `value` what a component refused
        print(repr(error), getattr(error, "value", ""), file=sys.stderr)
        status, body = 503, b"try again"
    response = OutgoingResponse(Fields.from_list([]))
    response.set_status_code(status)
    out = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    sink = poll_loop.Sink(out)
    await sink.send(body)
    sink.close()


async def receipt(request):
    env = dict(environment.get_environment())
    if request.path_with_query() != "/receipt" or not isinstance(request.method(), Method_Post):
        return 404, b"POST /receipt"
    shown = b"".join(value for name, value in request.headers().entries() if name.lower() == "authorization")
    if not env.get("RECEIPT_KEY") or not hmac.compare_digest(shown, f"Bearer {env['RECEIPT_KEY']}".encode()):
        return 403, b"who are you?"
    try:
        given = json.loads(await read(poll_loop.Stream(request.consume())))
        order, email, name, total = (given[field] for field in ("order", "email", "name", "total"))
        if not all(isinstance(value, str) for value in (order, email, name, total)):
            raise TypeError("not a string")
    except (ValueError, KeyError, TypeError):
        return 400, b"order, email, name and total, please"

    sender = env["RECEIPT_FROM"]
    domain = sender.rpartition("@")[2]
    source = template.Source(subject="Receipt {{ order }}", html=HTML, mjml=None, text=None, partials=[])
    rendered = template.render(source, json.dumps({"order": order, "name": name, "total": total}), LIMITS)
    envelope = template.Envelope(
        from_=template.Mailbox(None, sender), sender=None, to=[template.Mailbox(None, email)], cc=[], reply_to=[], fields=[],
        attachments=[], date=int(time.time()), message_id=f"<{os.urandom(16).hex()}@{domain}>", boundary_seed=os.urandom(16).hex(),
    )
    message = template.build(envelope, rendered)
    message = sign(message, domain, env["RECEIPT_SELECTOR"]) + message
    body = {"emails": [{"messages": [{"sender": sender, "recipients": [email], "message": message.decode()}]}]}
    return await post(env["RELEVO_RELAY_URL"] + "/relay", json.dumps(body).encode(), {
        "authorization": f"Bearer {env['RELEVO_RELAY_TOKEN']}",
        "content-type": "application/json",
        # Made anew for each try: what counts is the order.
        "idempotency-key": f"receipt-{order}",
        "x-relevo-digest": f"receipt {order} to {email}",
    })


def sign(message, domain, selector):
    """The DKIM-Signature field."""
    with dkim.Signer([dkim.Request(
        domain, selector, dkim.Algorithm.ED25519_SHA256, dkim.Canonicalization.RELAXED, dkim.Canonicalization.RELAXED,
        timestamp=int(time.time()), expiration=None,
    )]) as octets:
        for at in range(0, len(message), 1 << 16):
            octets.push(message[at:at + (1 << 16)])
        [made] = octets.finish()
    signature = signer.sign(domain, selector, "ed25519-sha256", made.to_sign)
    return made.field + base64.b64encode(signature) + b"\r\n"


async def read(stream):
    body = b""
    while (chunk := await stream.next()) is not None:
        body += chunk
        if len(body) > LARGEST:
            raise ValueError("too large")
    return body


async def post(url, body, fields):
    """Status and body of the answer."""
    parts = urllib.parse.urlsplit(url)
    request = OutgoingRequest(Fields.from_list([(name, value.encode()) for name, value in fields.items()]))
    request.set_method(Method_Post())
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path)
    sink = poll_loop.Sink(request.body())
    # The request is on its way while its body is written.
    answer, _ = await asyncio.gather(poll_loop.send(request), write(sink, body))
    return answer.status(), await read(poll_loop.Stream(answer.consume()))


async def write(sink, body):
    await sink.send(body)
    sink.close()
