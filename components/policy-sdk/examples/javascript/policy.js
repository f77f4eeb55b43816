// Mail goes to partners only: recipients at other domains are refused, the others get the message.
//
// Settings: `domain`, one for each partner (subdomains are theirs too); `text` of the refusal.
// What goes out is marked X-Partner-Policy, and the header field X-Campaign becomes the attribute `campaign`.

import { log } from "relevo:host/log@0.1.0";

let partners = [];
let text = "This sender writes to partners only";

export const configure = {
  // A fresh instance is configured before it decides. An error refuses the settings.
  configure(settings) {
    for (const { name, value } of settings) {
      if (name === "domain") partners.push(value.toLowerCase());
      else if (name === "text") text = value;
      else throw `\`${name}\` is not a setting; there are: domain, text`;
    }
    if (partners.length === 0) throw "no `domain` is set: nobody would get mail";
  },
};

const isPartner = (domain) => partners.some((p) => domain === p || domain.endsWith(`.${p}`));

// Octets and text. The engine has no TextEncoder and no TextDecoder.
const octets = (ascii) => Uint8Array.from(ascii, (c) => c.charCodeAt(0));
function decoded(value) {
  const hex = Array.from(value, (octet) => `%${octet.toString(16).padStart(2, "0")}`);
  try {
    return decodeURIComponent(hex.join(""));
  } catch {
    return String.fromCharCode(...value); // not UTF-8
  }
}

// The value of a header field is octets: folded, with white space around it, and not always UTF-8.
function field(headers, name) {
  const found = headers.find((h) => h.name.toLowerCase() === name);
  return found && decoded(found.value).replaceAll("\r\n", "").trim();
}

export const decide = {
  // A result is what it returns; an error is what it throws.
  decide(message) {
    const verdict = { tag: "reject", val: { code: 550, enhanced: "5.7.1", text } };
    const overrides = [];
    message.envelope.recipients.forEach(({ domain }, recipient) => {
      if (!isPartner(domain)) overrides.push({ recipient, verdict });
    });
    if (overrides.length > 0) log("info", `${overrides.length} recipients are not partners`);
    const campaign = field(message.headers, "x-campaign");
    return {
      verdict: { tag: "accept" },
      overrides,
      headers: [{ name: "X-Partner-Policy", value: octets("checked") }],
      attributes: campaign ? [{ name: "campaign", value: campaign }] : [],
    };
  },
};
