// Forms of what is sent: messages, the inbox, templates.

/// Harmless if it is text, and as it is shown.
export const MARKUP = '<b onmouseover="__pwned=1">"x" & \u202Ey</b>';
export const shown = (text) => text.replace('\u202E', '\uFFFD');
export const TENANT = '/panel/t/:';
const T = '/panel/t/dev';

/// Names that are used once.
let last = 0;
export const fresh = (word) => `${word}-${process.pid}-${(last += 1)}`;

const message = (api) => api.post('/emails', {
  from: 'shop@example.test', to: 'later@reader.test', subject: `Later ${MARKUP}`, text: 'x', scheduled_at: 'in 1 hour',
});

const MESSAGES = [
  { form: `GET ${TENANT}/messages`, values: { subject: '<script>', status: 'delivered' }, sees: /Subject/ },
  { form: `GET ${TENANT}/messages`, values: { q: 'nothing-has-this-word' }, sees: 'No message matches' },
  {
    form: `POST ${TENANT}/messages/:/cancel`,
    at: async (api) => `${T}/messages/${(await message(api)).id}`,
    sees: 'The message is cancelled.',
  },
  // Where contents are kept.
  { form: `POST ${TENANT}/messages/:/resend`, optional: true, sees: 'It is sent again' },
];

const INBOX = [
  { form: 'GET /panel/inbox', values: { search: MARKUP }, sees: shown(MARKUP) },
  { form: 'GET /panel/inbox', values: { search: '' }, sees: /Inbox/ },
];

/// The page of a template with two versions.
async function template(api) {
  const { id } = await api.post('/templates', {
    name: MARKUP, alias: fresh('tried'), from: 'shop@example.test', subject: 'One', html: '<p>{{ word }}</p>',
    variables: [{ key: 'word', type: 'string', fallback_value: MARKUP }],
  });
  await api.post(`/templates/${id}/publish`, {});
  await api.send('PATCH', `/templates/${id}`, { subject: `Two ${MARKUP}` });
  return `${T}/templates/${id}`;
}

const TEMPLATES = [
  {
    form: `POST ${TENANT}/templates/new`,
    at: () => `${T}/templates/new`,
    button: 'Create the template',
    wrong: { values: { name: MARKUP, subject: 'Hello {{ name', source: `<p>${MARKUP}</p>`, text: '{% if' }, status: 422 },
    values: {
      name: MARKUP, subject: 'Hello {{ name }}', source: `<p>{{ name }}</p>\n${MARKUP}`, alias: fresh('made'), from: 'shop@example.test',
    },
    sees: 'The template is made.',
  },
  {
    form: `POST ${TENANT}/templates/:`,
    at: template,
    button: 'Save a new version',
    wrong: { values: { subject: '{{ x', source: `${MARKUP} \u2067\u2069` }, status: 422 },
    values: { subject: `Three ${MARKUP}`, source: '<p>new</p>' },
    sees: 'Saved. What is published stays',
  },
  { form: `POST ${TENANT}/templates/preview`, at: template, button: 'Preview', frame: true, values: { source: '<p>Seen at once</p>' }, sees: 'Seen at once' },
  {
    form: `POST ${TENANT}/templates/test`,
    at: template,
    button: 'Send the test',
    frame: true,
    values: { test_to: 'tester@reader.test' },
    sees: 'tester@reader.test',
  },
  { form: `POST ${TENANT}/templates/:/publish`, at: template, sees: 'The version is published' },
  { form: `POST ${TENANT}/templates/:/duplicate`, at: template, sees: 'This is the copy.' },
  { form: `POST ${TENANT}/templates/:/delete`, at: template, sees: 'The template is deleted.' },
  { form: `GET ${TENANT}/templates/:/diff`, at: async (api) => `${await template(api)}/versions`, values: { from: '1', to: '2' }, sees: /Two/ },
];

export const CONTENT = [...MESSAGES, ...INBOX, ...TEMPLATES];
