// Holds mail with more recipients than the setting `max-recipients` allows.
//
// A result is what a function returns; an error is what it throws (a string). Names are those of the WIT in camelCase, variants are
// { tag, val }, list<u8> is a Uint8Array, u64 a BigInt. The engine is QuickJS: no TextDecoder, no fetch, no timers.

let maxRecipients;

export const configure = {
  configure(settings) {
    for (const { name, value } of settings) {
      if (name !== "max-recipients") throw `\`${name}\` is not a setting; there is max-recipients`;
      if (!/^\d+$/.test(value)) throw `\`max-recipients\` cannot be \`${value}\``;
      maxRecipients = Number(value);
    }
    if (maxRecipients === undefined) throw "`max-recipients` is missing";
  },
};

export const decide = {
  decide(message) {
    const recipients = message.envelope.recipients.length;
    const verdict =
      recipients <= maxRecipients
        ? { tag: "accept" }
        : { tag: "hold", val: `${recipients} recipients, more than ${maxRecipients}` };
    return { verdict, overrides: [], headers: [], attributes: [] };
  },
};
