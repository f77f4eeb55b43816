// People who sign in, in browsers of their own.

import { newContext, PATIENCE } from './browser.mjs';
import { code } from './totp.mjs';

export const PASSWORD = 'correct horse battery staple';

export class People {
  /// `email` is of the one whose forms are tried.
  constructor(browser, settings, email) {
    Object.assign(this, { browser, settings, email });
  }

  /// Somebody accepts an invitation, and does `prepare` then.
  async accept(link, prepare) {
    await this.elsewhere(async (page) => {
      await acceptInvitation(page, link);
      if (prepare) await prepare(page, this);
    });
  }

  /// The same user in another browser.
  signInAgain() {
    return this.elsewhere((page) => signIn(page, this.settings.origin, this.email));
  }

  async setUpAuthenticator(page) {
    await page.goto(`${this.settings.origin}/panel/account`);
    const form = page.locator('form[action$="/totp"]');
    await form.locator('[name=totp_password]').fill(PASSWORD);
    await form.getByRole('button').click();
    const secret = (await page.locator('main code').first().innerText()).replaceAll(/\s/g, '');
    await page.locator('[name=code]').fill(code(secret));
    await page.locator('form[action$="/totp/confirm"] button').click();
    await page.locator('main li code').first().waitFor();
  }

  async elsewhere(act) {
    const context = await newContext(this.browser, this.settings);
    try {
      await act(await context.newPage());
    } finally {
      await context.close();
    }
  }
}

export async function acceptInvitation(page, link) {
  await page.goto(link);
  await page.locator('[name=password]').fill(PASSWORD);
  await page.locator('[name=password_again]').fill(PASSWORD);
  await page.locator('form', { has: page.locator('[name=password]') }).getByRole('button').first().click();
  await page.waitForURL((url) => url.href !== link, { timeout: PATIENCE });
}

/// By the form that a page leads to.
export async function signIn(page, origin, email) {
  await page.goto(`${origin}/panel`);
  const form = page.locator('form', { has: page.locator('[name=password]') });
  await form.locator('[name=email]').fill(email);
  await form.locator('[name=password]').fill(PASSWORD);
  await form.getByRole('button').first().click();
  await page.waitForURL((url) => !url.pathname.includes('sign-in'), { timeout: PATIENCE });
}
