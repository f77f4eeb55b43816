// The forms of the panel, in the order in which they are tried: what is typed, and what is seen then.
//
// `form`    METHOD and shape of the address (`routes.mjs`), and ` name=value` of a button that has a name
// `at`      the path of a page that has it, made with the API; without: the first page that the walk found
// `wrong`   values that are refused: the same fields, with a `status` of 422
// `values`  by the names of the fields; true and false for boxes
// `sees`    a text or a pattern of the page that comes, or a function of the page that throws
// `button`  the name of the button, when there are several
// `frame`   the answer is shown in a frame

/// Harmless if it is text, and as it is shown.
export const MARKUP = '<b onmouseover="__pwned=1">"x" & \u202Ey</b>';
const SHOWN = MARKUP.replace('\u202E', '\uFFFD');

const message = (api) => api.post('/emails', {
  from: 'shop@example.test', to: 'later@reader.test', subject: `Later ${MARKUP}`, text: 'x', scheduled_at: 'in 1 hour',
});

const TENANT = '/panel/t/:';

const MESSAGES = [
  { form: `GET ${TENANT}/messages`, values: { subject: '<script>', status: 'delivered' }, sees: /Subject/ },
  { form: `GET ${TENANT}/messages`, values: { q: 'nothing-has-this-word' }, sees: 'No message matches' },
  {
    form: `POST ${TENANT}/messages/:/cancel`,
    at: async (api) => `/panel/t/dev/messages/${(await message(api)).id}`,
    sees: 'The message is cancelled.',
  },
];

const INBOX = [
  { form: 'GET /panel/inbox', values: { search: MARKUP }, sees: SHOWN },
  { form: 'GET /panel/inbox', values: { search: '' }, sees: /Inbox/ },
];

export const TABLE = [...MESSAGES, ...INBOX];
