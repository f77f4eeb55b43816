// Forms of who gets what: suppressions and topics. And those that ask for statistics.

import { fresh, MARKUP, TENANT } from './form_table_content.mjs';

const T = '/panel/t/dev';

async function suppressed(api) {
  const email = `${fresh('gone')}@reader.test`;
  await api.post('/suppressions', { email, note: MARKUP });
  return `${T}/suppressions?email=${email}`;
}

const SUPPRESSIONS = [
  { form: `GET ${TENANT}/suppressions`, values: { email: MARKUP }, sees: /./ },
  {
    form: `POST ${TENANT}/suppressions`,
    at: () => `${T}/suppressions`,
    wrong: { values: { email: '<b>nobody</b>' }, status: 422 },
    values: { email: `${fresh('left')}@reader.test`, note: MARKUP },
    sees: 'The address gets no more mail.',
  },
  { form: `POST ${TENANT}/suppressions/:/remove`, at: suppressed, sees: 'The entry is removed' },
  { form: `POST ${TENANT}/suppressions/check`, at: () => `${T}/suppressions/check`, values: { email: '"<b>x</b>"@reader.test' }, sees: /./ },
  {
    form: `POST ${TENANT}/suppressions/import`,
    at: () => `${T}/suppressions/import`,
    wrong: { values: { csv: `email\n${MARKUP}` }, status: 422 },
    values: { csv: `email,detail\n${fresh('listed')}@reader.test,<b>asked</b>\n` },
    sees: 'New entries: 1.',
  },
  {
    form: `POST ${TENANT}/suppressions/undo`,
    at: () => `${T}/suppressions/undo`,
    values: { after: '2026-01-01T00:00', before: '2026-01-02T00:00' },
    sees: 'Entries that would be removed: 0',
  },
];

async function topic(api) {
  const { id } = await api.post('/topics', { name: fresh('tried'), default_subscription: 'opt_in', description: MARKUP });
  return `${T}/topics/${id}`;
}

const TOPICS = [
  {
    form: `POST ${TENANT}/topics/new`,
    at: () => `${T}/topics/new`,
    wrong: { values: { name: '', description: '<b>x</b>' }, status: 422 },
    values: { name: fresh('<b>made</b>'), description: MARKUP },
    sees: 'The topic is made.',
  },
  { form: `POST ${TENANT}/topics/:`, at: topic, values: { description: `changed ${MARKUP}` }, sees: 'The topic is saved.' },
  { form: `GET ${TENANT}/topics/contact`, at: () => `${T}/topics/contact`, values: { email: 'ada@reader.test' }, sees: 'hostile' },
  { form: `POST ${TENANT}/topics/contact`, at: () => `${T}/topics/contact?email=ada@reader.test`, sees: 'Nothing was changed' },
  { form: `POST ${TENANT}/topics/:/delete`, at: topic, sees: 'The topic is deleted.' },
];

const STATISTICS = [
  {
    form: `GET ${TENANT}/statistics`,
    at: () => `${T}/statistics`,
    values: { from: '2026-01-01', to: '2026-12-31', group_by: 'tag', timezone: 'UTC' },
    sees: /./,
  },
];

export const LISTS = [...SUPPRESSIONS, ...TOPICS, ...STATISTICS];
