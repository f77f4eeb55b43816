// Users of every role: what each may see and do, and what not.

import { newContext, PATIENCE } from './browser.mjs';
import { pathShape } from './routes.mjs';
import { walk } from './walk.mjs';

/// `settings.users` begins with the one who may do most. Each has `role`, `email`, `password`, and
/// `tenant` but for operators. `role` `none` does not sign in, and `stranger` is of another tenant.
export async function walkRoles(context, settings) {
  const all = { pages: [], problems: [], notes: [], roles: [] };
  let most;
  for (const user of settings.users) {
    const own = await newContext(context.browser(), settings);
    try {
      if (user.role !== 'none') await signIn(own, settings.origin, user);
      const walked = user.role === 'none' ? { pages: [], forms: {}, problems: [] } : await walk(own, settings);
      most ||= walked;
      const refused = await refusals(own, user, walked, most, settings.origin);
      const problems = [...walked.problems, ...refused.problems];
      all.problems.push(...problems.map((problem) => ({ ...problem, text: `${user.role}: ${problem.text}` })));
      all.notes.push(...refused.notes.map((note) => `${user.role}: ${note}`));
      all.roles.push({ role: user.role, pages: walked.pages.length, forms: Object.keys(walked.forms).length });
      all.pages.push(...walked.pages);
    } finally {
      await own.close();
    }
  }
  return all;
}

/// As a visitor signs in: what is asked for leads to the form, and from there on.
export async function signIn(context, origin, { email, password }) {
  const page = await context.newPage();
  await page.goto(`${origin}/panel`);
  const form = page.locator('form', { has: page.locator('[name=password]') });
  await form.locator('[name=email]').fill(email);
  await form.locator('[name=password]').fill(password);
  await form.getByRole('button').first().click();
  await page.waitForURL((url) => !url.pathname.includes('sign-in'), { timeout: PATIENCE });
  await page.close();
}

/// What the user who may do most saw and this one did not, is asked for and sent all the same.
async function refusals(context, user, walked, most, origin) {
  const problems = [];
  const notes = [];
  const seen = new Set(walked.pages.map((page) => pathShape(page.url.split('?')[0])));
  const isOutside = ['none', 'stranger'].includes(user.role);
  for (const [url, name] of oneOfEach(most.pages)) {
    if (seen.has(name) && !isOutside) continue;
    if (isOutside && !/^\/panel\/(t|relay)\b/.test(url)) continue;
    const status = (await context.request.get(origin + url, { maxRedirects: 0 })).status();
    const isRefused = [403, 404].includes(status) || (user.role === 'none' && status === 303);
    if (status >= 500 || (isOutside && !isRefused)) problems.push({ url, text: `status ${status}, and no link leads there` });
    else if (!isRefused) notes.push(`${url} is ${status}, and no link leads there`);
  }
  const proof = user.role === 'none' ? '' : await proofOf(context, origin);
  for (const [key, { action }] of Object.entries(most.forms)) {
    if (!key.startsWith('POST ') || (key in walked.forms && !isOutside) || isOwn(action)) continue;
    const response = await context.request.post(action, { form: { _csrf: proof }, maxRedirects: 0 });
    const isRefused = [403, 404].includes(response.status()) || (user.role === 'none' && response.status() === 303);
    if (!isRefused) problems.push({ url: action.slice(origin.length), text: `${key}: ${response.status()}, and no page has this form` });
  }
  return { problems, notes };
}

/// Everybody has these.
const isOwn = (action) => /^\/panel\/(account|sign)/.test(new URL(action).pathname);

function oneOfEach(pages) {
  const found = new Map();
  for (const { url } of pages) {
    const name = pathShape(url.split('?')[0]);
    if (![...found.values()].includes(name)) found.set(url, name);
  }
  return found;
}

/// What forms of this session send.
async function proofOf(context, origin) {
  const page = await context.newPage();
  await page.goto(`${origin}/panel`);
  const proof = await page.locator('[name=_csrf]').first().inputValue();
  await page.close();
  return proof;
}
