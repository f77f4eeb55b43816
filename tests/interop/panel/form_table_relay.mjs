// Forms of operators: the queue, shaping, tenants, plugins.

import { fresh, MARKUP } from './form_table_content.mjs';

const R = '/panel/relay';

/// A message that waits, to a domain of its own.
async function waiting(api) {
  const domain = `${fresh('waits')}.test`;
  await api.post('/emails', {
    from: 'shop@example.test', to: `ada@${domain}`, subject: `Waits ${MARKUP}`, text: 'x', scheduled_at: 'in 1 hour',
  });
  return domain;
}

async function message(api) {
  const list = await api.page(`${R}/queue/messages?domain=${await waiting(api)}`);
  const [, path] = /href="(\/panel\/relay\/queue\/messages\/\w+)"/.exec(list) || [];
  if (!path) throw new Error('the queue does not list the message');
  return path;
}

const queue = async (api) => { await waiting(api); return `${R}/queue`; };

const QUEUE = [
  { form: `GET ${R}/queue/messages`, values: { domain: MARKUP }, sees: /./ },
  { form: `GET ${R}/queue/messages`, values: { tenant: 'dev', state: 'waiting' }, sees: /dev/ },
  { form: `POST ${R}/queue/sites/: action=retry`, at: queue, sees: /Made due: / },
  {
    form: `POST ${R}/queue/sites/: action=hold`,
    at: queue,
    sees: /Held: /,
    then: [{ form: `POST ${R}/queue/sites/: action=release`, sees: /Released: / }],
  },
  { form: `POST ${R}/queue/messages/: action=retry`, at: message, sees: /The message is (due now|no longer in the queue)/ },
  {
    form: `POST ${R}/queue/messages/: action=hold`,
    at: message,
    sees: 'The message is held.',
    then: [{ form: `POST ${R}/queue/messages/: action=release`, sees: /The message is (released|no longer in the queue)/ }],
  },
  { form: `POST ${R}/queue/messages/:/drop`, at: message, sees: 'The message is dropped.' },
];

const SHAPING = [
  { form: `GET ${R}/shaping/domain`, at: () => `${R}/shaping/domain`, values: { domain: MARKUP }, sees: /./ },
  { form: `GET ${R}/shaping/domain`, at: () => `${R}/shaping/domain`, values: { domain: 'reader.test' }, sees: 'What holds its mail' },
  {
    form: `POST ${R}/shaping/suspensions`,
    at: () => `${R}/shaping`,
    wrong: { values: { kind: 'source', name: MARKUP, domain: 'far.test', reason: MARKUP }, status: 422 },
    values: { kind: 'source', name: '192.0.2.1', domain: 'far.test', for: '30m', reason: MARKUP },
    sees: 'Mail is suspended.',
    then: [{ form: `POST ${R}/shaping/resume`, sees: 'The suspension has ended.' }],
  },
  // Refusals of a real receiver slow a provider down.
  { form: `POST ${R}/shaping/reset/:`, optional: true, sees: 'The rate is reset.' },
];

const id = fresh('tried');

const TENANTS = [
  {
    form: `POST ${R}/tenants`,
    at: () => `${R}/new-tenant`,
    wrong: { values: { id: '<b>', hour: 'many', networks: MARKUP }, status: 422 },
    values: { id, day: '1000', networks: '192.0.2.0/28\n2001:db8::/32', complaints: 'stream' },
    sees: 'The tenant is created.',
  },
  {
    form: `POST ${R}/tenants/:`,
    at: () => `${R}/tenants/${id}/edit`,
    wrong: { values: { networks: MARKUP }, status: 422 },
    values: { hour: '10', networks: '' },
    sees: 'The tenant is changed.',
  },
  {
    form: `POST ${R}/tenants/:/delete`,
    at: () => `${R}/tenants/${id}`,
    wrong: { values: { id: '<b>' }, status: 422 },
    values: { id },
    sees: 'The tenant is deleted.',
  },
];

const plugin = (act, sees) => ({ form: `POST ${R}/plugins/:/: action=${act}`, optional: true, sees });

const PLUGINS = [
  { form: `GET ${R}/plugins`, values: { tenant: MARKUP }, sees: /./ },
  plugin('disable', 'The plugin is disabled.'),
  plugin('enable', 'The plugin is enabled.'),
  plugin('end_shadow', 'The shadow has ended.'),
  { form: `POST ${R}/plugins/:/:/rollback`, optional: true, sees: 'That version is the active one now.' },
  plugin('forget', 'What was stored of the plugin is deleted.'),
];

const ACTS = [{ form: `GET ${R}/audit`, values: { tenant: MARKUP }, sees: /./ }];

export const RELAY = [...QUEUE, ...SHAPING, ...TENANTS, ...PLUGINS, ...ACTS];
