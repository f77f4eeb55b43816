// Forms of a user's own account, which `relevo dev` does not have.

import { MARKUP } from './form_table_content.mjs';
import { PASSWORD } from './people.mjs';
import { code } from './totp.mjs';

const NEXT = 'another horse battery staple';

/// Of the page that shows it, which is shown once.
let secret = '';
/// Codes for those who lost their phone.
let recovery = [];

async function readSecret(page) {
  secret = (await page.locator('main code').first().innerText()).replaceAll(/\s/g, '');
  if (!/^[A-Z2-7]{16,}$/.test(secret)) throw new Error('the page does not show the secret');
  if ((await page.locator('svg.qr').count()) !== 1) throw new Error('the page does not show the QR code');
}

async function readRecovery(page) {
  recovery = await page.locator('main li code').allInnerTexts();
  if (recovery.length < 5) throw new Error(`the page shows ${recovery.length} recovery codes`);
}

const account = () => '/panel/account';
const elsewhere = async (_api, people) => { await people.signInAgain(); return account(); };

/// In this order: codes that are shown once are typed later.
export const ACCOUNT = [
  { form: 'POST /panel/account', at: account, values: { name: '<b>Ada</b>', language: 'en' }, sees: 'Your account is changed.' },
  { form: 'POST /panel/account/sessions/:/revoke', at: elsewhere, sees: 'The session has ended.' },
  { form: 'POST /panel/account/sessions/revoke', at: elsewhere, sees: 'The session has ended.' },
  {
    form: 'POST /panel/account/totp',
    at: account,
    wrong: { values: { totp_password: 'not this one' }, status: 422 },
    values: { totp_password: PASSWORD },
    sees: readSecret,
    then: [
      { form: 'POST /panel/account/totp/confirm', values: { code: '000000' }, status: 422 },
      { form: 'POST /panel/account/totp/confirm', values: () => ({ code: code(secret) }), sees: readRecovery },
    ],
  },
  { form: 'POST /panel/sign-out', at: account, sees: 'Sign in' },
  {
    form: 'POST /panel/sign-in',
    at: () => '/panel/sign-in',
    wrong: { values: (people) => ({ email: people.email, password: PASSWORD }), status: 422 },
    values: (people) => ({ email: people.email, password: PASSWORD, code: recovery[0] }),
    sees: '<b>Ada</b>',
  },
  {
    form: 'POST /panel/account/totp/remove',
    at: account,
    wrong: { values: { totp_password: MARKUP }, status: 422 },
    values: { totp_password: PASSWORD },
    sees: 'The authenticator is removed.',
  },
  {
    form: 'POST /panel/account/password',
    at: account,
    wrong: { values: { current_password: 'not this one', password: NEXT, password_again: NEXT }, status: 422 },
    values: { current_password: PASSWORD, password: NEXT, password_again: NEXT },
    sees: 'The password is changed.',
  },
];

/// Sent before a walk begins.
export const ELSEWHERE = ['POST /panel/link/:'];
