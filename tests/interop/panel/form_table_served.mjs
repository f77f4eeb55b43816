// Forms that need mail that leaves: `relevo dev` keeps all of it.

import { fresh, MARKUP, TENANT } from './form_table_content.mjs';

const T = '/panel/t/dev';

/// The page of a message that was tried once. Mailboxes that begin with `gone` are refused.
async function sent(api, mailbox) {
  const { id } = await api.post('/emails', {
    from: 'shop@example.test', to: `${mailbox}@reader.test`, subject: MARKUP, html: `<p>${MARKUP}</p>`,
  });
  for (let n = 0; n < 200; n += 1) {
    if (['delivered', 'bounced'].includes((await api.get(`/emails/${id}`)).last_event)) return `${T}/messages/${id}`;
    await new Promise((done) => { setTimeout(done, 100); });
  }
  throw new Error('a message is on its way after 20 s');
}

const day = (offset) => new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 16);
const refused = async (api) => { await sent(api, fresh('gone')); return `${T}/suppressions/undo`; };

export const SERVED = [
  {
    form: `POST ${TENANT}/suppressions/undo`,
    at: refused,
    wrong: { values: { after: '', before: '', domain: MARKUP }, status: 422 },
    values: () => ({ after: day(-1), before: day(1) }),
    sees: /Entries that would be removed: [1-9]/,
    then: [{ form: `POST ${TENANT}/suppressions/undo undo=:`, sees: /Entries removed: [1-9]/ }],
  },
  { form: `POST ${TENANT}/messages/:/resend`, at: (api) => sent(api, fresh('gone')), sees: /./ },
];
