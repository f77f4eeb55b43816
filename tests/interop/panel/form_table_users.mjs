// Forms about a tenant's users.

import { fresh, TENANT } from './form_table_content.mjs';

const T = '/panel/t/dev';
/// Names have no character that turns text round.
const NAME = '<b onmouseover="__pwned=1">"x" & y</b>';

const invite = (api, role = 'viewer') =>
  api.post('/users', { email: `${fresh('invited')}@example.test`, name: NAME, role });

const user = async (api) => `${T}/users/${(await invite(api)).id}`;

/// The page of somebody who has signed in.
const signedIn = (prepare) => async (api, people) => {
  const { id, url } = await invite(api);
  await people.accept(url, prepare);
  return `${T}/users/${id}`;
};

/// Where nobody signs in, too.
export const USERS = [
  {
    form: `POST ${TENANT}/users`,
    at: () => `${T}/users`,
    wrong: { values: { email: `${fresh('wrong')}@example.test`, name: 'x'.repeat(2_000) }, status: 422 },
    values: { email: `${fresh('new')}@example.test`, name: NAME, role: 'marketer' },
    sees: /\/panel\/link\//,
  },
  {
    form: `POST ${TENANT}/users/:`,
    at: user,
    wrong: { values: { name: 'x'.repeat(2_000) }, status: 422 },
    values: { name: `Changed ${NAME}`, role: 'developer' },
    sees: 'Saved.',
  },
  {
    form: `POST ${TENANT}/users/: act=disable`,
    at: user,
    sees: 'Saved.',
    then: [{ form: `POST ${TENANT}/users/: act=enable`, sees: 'Saved.' }],
  },
  { form: `POST ${TENANT}/users/:/link`, at: user, sees: /\/panel\/link\// },
  { form: `POST ${TENANT}/users/:/delete`, at: user, sees: 'The user is deleted.' },
];

/// Only where users sign in.
export const SIGNED_IN_USERS = [
  { form: `POST ${TENANT}/users/:/sessions/:/end`, at: signedIn(), sees: 'The session has ended.' },
  {
    form: `POST ${TENANT}/users/: act=remove_authenticator`,
    at: signedIn((page, people) => people.setUpAuthenticator(page)),
    sees: 'Saved.',
  },
];
