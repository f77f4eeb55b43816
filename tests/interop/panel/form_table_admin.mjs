// Forms of what is administered: domains, API keys, webhooks.

import { fresh, MARKUP, shown, TENANT } from './form_table_content.mjs';

const T = '/panel/t/dev';

async function domain(api) {
  const name = `${fresh('tried')}.example`;
  await api.post('/domains', { name });
  return `${T}/domains/${name}`;
}

const DOMAINS = [
  {
    form: `POST ${TENANT}/domains`,
    wrong: { values: { name: '<b>not a name</b>' }, status: 422 },
    values: { name: `${fresh('added')}.example` },
    sees: 'The domain is added.',
  },
  { form: `POST ${TENANT}/domains/:/verify`, at: domain, sees: /DKIM/ },
  {
    form: `POST ${TENANT}/domains/:/settings`,
    at: domain,
    wrong: { values: { tracking_subdomain: '<b>' }, status: 422 },
    values: { open_tracking: true, tracking_subdomain: 'go', tls: 'enforced' },
    sees: 'Saved.',
  },
  { form: `POST ${TENANT}/domains/:/remove`, at: domain, sees: 'The domain is removed.' },
];

const key = async (api) => `${T}/keys/${(await api.post('/api-keys', { name: fresh('tried') })).id}`;

const made = fresh(MARKUP);

const KEYS = [
  {
    form: `POST ${TENANT}/keys`,
    at: () => `${T}/keys/new`,
    wrong: { values: { name: 'x'.repeat(300) }, status: 422 },
    values: { name: made, scopes: ['read'] },
    sees: shown(made),
  },
  { form: `POST ${TENANT}/keys/:/name`, at: key, wrong: { values: { name: 'x'.repeat(300) }, status: 422 }, values: { name: fresh(MARKUP) }, sees: 'Saved.' },
  { form: `POST ${TENANT}/keys/:/rotate`, at: key, sees: 'The key has another token.' },
  { form: `POST ${TENANT}/keys/:/delete`, at: key, sees: 'The key is deleted.' },
];

async function webhook(api, more = {}) {
  const made = await api.post('/webhooks', { endpoint: `${api.hook}/good?tried`, events: ['email.delivered'], description: MARKUP, ...more });
  return `${T}/webhooks/${made.id}`;
}

/// The page of a delivery that has ended.
async function delivery(api) {
  const page = await webhook(api, { events: ['email.queued'] });
  const id = page.split('/').pop();
  await api.post('/emails', { from: 'shop@example.test', to: 'ada@reader.test', subject: MARKUP, text: 'x' });
  for (let n = 0; n < 200; n += 1) {
    const ended = (await api.get(`/webhooks/${id}/deliveries?status=success`)).data;
    if (ended.length) return `${page}/deliveries/${ended[0].id}`;
    await new Promise((done) => { setTimeout(done, 100); });
  }
  throw new Error('no delivery ended within 20 s');
}

const WEBHOOKS = [
  {
    form: `POST ${TENANT}/webhooks`,
    at: () => `${T}/webhooks/new`,
    wrong: { values: { endpoint: 'ftp://example.test/x', description: MARKUP, tags: '<b>' }, status: 422 },
    values: { endpoint: 'https://hooks.example.test/x?<b>', description: MARKUP, events: ['email.bounced'] },
    sees: 'The webhook is created.',
  },
  {
    form: `POST ${TENANT}/webhooks/:/edit`,
    at: async (api) => `${await webhook(api)}/edit`,
    wrong: { values: { endpoint: 'ftp://example.test/x', description: MARKUP }, status: 422 },
    values: { description: `changed ${MARKUP}` },
    sees: 'Saved.',
  },
  { form: `POST ${TENANT}/webhooks/:/disable`, at: webhook, sees: 'The webhook is disabled.' },
  { form: `POST ${TENANT}/webhooks/:/enable`, at: (api) => webhook(api, { status: 'disabled' }), sees: 'The webhook is enabled.' },
  { form: `POST ${TENANT}/webhooks/:/test`, at: webhook, sees: /Test:/ },
  { form: `POST ${TENANT}/webhooks/:/rotate`, at: webhook, sees: 'The webhook has another secret.' },
  {
    form: `POST ${TENANT}/webhooks/:/replay`,
    at: async (api) => `${await webhook(api)}/deliveries`,
    values: { since: '2026-01-01T00:00', until: '2026-01-02T00:00' },
    sees: /events are sent again/,
  },
  { form: `POST ${TENANT}/webhooks/:/deliveries/:/replay`, at: delivery, sees: 'It is sent again.' },
  { form: `POST ${TENANT}/webhooks/:/delete`, at: webhook, sees: 'The webhook is deleted.' },
];

export const ADMINISTRATION = [...DOMAINS, ...KEYS, ...WEBHOOKS];
