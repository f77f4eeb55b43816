// Forms of a user's own account, which `relevo dev` does not have. `elsewhere`: tried before a walk begins.

const CURRENT = 'correct horse battery staple';
const NEXT = 'another horse battery staple';

export const ACCOUNT = [
  { form: 'POST /panel/sign-in', elsewhere: true },
  { form: 'POST /panel/link/:', elsewhere: true },
  { form: 'POST /panel/account', at: () => '/panel/account', values: { name: '<b>Ada</b>', language: 'en' }, sees: 'Your account is changed.' },
  {
    form: 'POST /panel/account/password',
    at: () => '/panel/account',
    values: { current_password: CURRENT, password: NEXT, password_again: NEXT },
    sees: 'The password is changed.',
  },
  { form: 'POST /panel/account/totp', at: () => '/panel/account', sees: 'Scan this' },
  { form: 'POST /panel/account/totp/confirm', elsewhere: true },
  { form: 'POST /panel/account/sessions/:/revoke', elsewhere: true },
  { form: 'POST /panel/account/sessions/revoke', elsewhere: true },
  { form: 'POST /panel/sign-out', at: () => '/panel/account', sees: 'Sign in' },
];
