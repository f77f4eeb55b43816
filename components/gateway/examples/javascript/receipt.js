// Sends a receipt for an order: see the README one folder up.

import { getEnvironment } from 'wasi:cli/environment@0.2.10';
import { sign as signOctets } from 'relevo:host/signer@0.1.0';
import { Signer } from 'relevo:mail/dkim@0.1.0';
import { build, render } from 'relevo:mail/template@0.1.0';

const HTML = '<p>Dear {{ name }},</p><p>thank you for {{ total }} EUR.</p>';
const LIMITS = { maxOutput: 1n << 20n, maxSteps: 100_000n, maxDepth: 32 };

addEventListener('fetch', (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const set = Object.fromEntries(getEnvironment());
  if (new URL(request.url).pathname !== '/receipt' || request.method !== 'POST') {
    return new Response('POST /receipt', { status: 404 });
  }
  if (!set.RECEIPT_KEY || request.headers.get('authorization') !== `Bearer ${set.RECEIPT_KEY}`) {
    return new Response('who are you?', { status: 403 });
  }
  const order = await request.json().catch(() => null);
  if (['order', 'email', 'name', 'total'].some((field) => typeof order?.[field] !== 'string')) {
    return new Response('order, email, name and total, please', { status: 400 });
  }
  try {
    return await receipt(order, set);
  } catch (error) {
    // What a component refuses is in `payload`.
    console.error(error, JSON.stringify(error?.payload));
    return new Response('try again', { status: 503 });
  }
}

async function receipt({ order, email, name, total }, set) {
  const sender = set.RECEIPT_FROM;
  const domain = sender.slice(sender.lastIndexOf('@') + 1);
  const source = { subject: 'Receipt {{ order }}', html: HTML, partials: [] };
  const rendered = render(source, JSON.stringify({ order, name, total }), LIMITS);
  const unsigned = build({
    from: { address: sender }, to: [{ address: email }], cc: [], replyTo: [], fields: [], attachments: [],
    date: now(), messageId: `<${random()}@${domain}>`, boundarySeed: random(),
  }, rendered);
  const message = sign(unsigned, domain, set.RECEIPT_SELECTOR) + new TextDecoder().decode(unsigned);
  const answer = await fetch(`${set.RELEVO_RELAY_URL}/relay`, {
    method: 'POST',
    headers: {
      'Authorization': `Bearer ${set.RELEVO_RELAY_TOKEN}`,
      'Content-Type': 'application/json',
      // Made anew for each try: what counts is the order.
      'Idempotency-Key': `receipt-${order}`,
      'X-Relevo-Digest': `receipt ${order} to ${email}`,
    },
    body: JSON.stringify({ emails: [{ messages: [{ sender, recipients: [email], message }] }] }),
  });
  return new Response(await answer.text(), { status: answer.status, headers: { 'Content-Type': 'application/json' } });
}

// The DKIM-Signature field.
function sign(message, domain, selector) {
  const octets = new Signer([{
    domain, selector, algorithm: 'ed25519-sha256', headerCanonicalization: 'relaxed', bodyCanonicalization: 'relaxed',
    timestamp: now(),
  }]);
  for (let at = 0; at < message.length; at += 65536) octets.push(message.slice(at, at + 65536));
  const [{ toSign, field }] = octets.finish();
  const signature = signOctets(domain, selector, 'ed25519-sha256', toSign);
  return `${new TextDecoder().decode(field)}${btoa(String.fromCharCode(...signature))}\r\n`;
}

const now = () => BigInt(Math.floor(Date.now() / 1000));
const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map((octet) => octet.toString(16).padStart(2, '0')).join('');
