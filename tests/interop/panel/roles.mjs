// Users of every role: what each may see and do, and what not.

import { newContext } from './browser.mjs';
import { TABLE } from './form_table.mjs';
import { ACCOUNT, ELSEWHERE } from './form_table_account.mjs';
import { SERVED } from './form_table_served.mjs';
import { SIGNED_IN_USERS } from './form_table_users.mjs';
import { Api, attempt, formsOf } from './forms.mjs';
import { acceptInvitation, People, signIn } from './people.mjs';
import { pathShape } from './routes.mjs';
import { walk } from './walk.mjs';

/// Forms that `relevo dev` does not have, by the role that tries them.
const OF_ROLES = { operator: SERVED, owner: SIGNED_IN_USERS, developer: ACCOUNT };

/// `settings.users` begins with the one who may do most. Each has `role`, `email`, and the `link` of an
/// invitation. `none` does not sign in, and `stranger` is of another tenant.
export async function walkRoles(context, settings) {
  const all = { pages: [], problems: [], notes: [], roles: [] };
  const forms = {};
  let most;
  for (const user of settings.users) {
    const own = await newContext(context.browser(), settings);
    try {
      if (user.link) await begin(own, settings.origin, user);
      const walked = await walk(own, settings);
      most ||= walked;
      Object.assign(forms, walked.forms);
      const refused = await refusals(own, user, walked, most, settings.origin);
      const problems = [...walked.problems, ...refused.problems, ...(await formProblems(own, user, settings, walked))];
      all.problems.push(...problems.map((problem) => ({ ...problem, text: `${user.role}: ${problem.text}` })));
      all.notes.push(...refused.notes.map((note) => `${user.role}: ${note}`));
      all.roles.push({ role: user.role, pages: walked.pages.length, forms: Object.keys(walked.forms).length });
      all.pages.push(...walked.pages);
    } finally {
      await own.close();
    }
  }
  const known = new Set([...formsOf([...TABLE, ...Object.values(OF_ROLES).flat()]), ...ELSEWHERE]);
  for (const [key, { pages }] of Object.entries(forms)) {
    if (!known.has(key)) all.problems.push({ url: pages[0], text: `${key}: no table of forms names it` });
  }
  return all;
}

/// An invitation is accepted, and counts once. Then the user signs in.
async function begin(context, origin, { email, link }) {
  const page = await context.newPage();
  await acceptInvitation(page, link);
  await context.clearCookies();
  const again = await page.goto(link);
  if (again.status() !== 410) throw new Error(`the link of ${email} counts again: ${again.status()}`);
  await signIn(page, origin, email);
  await page.close();
}

/// The forms that this role tries.
async function formProblems(context, { role, email }, settings, walked) {
  const problems = [];
  const api = new Api(settings, context.request);
  const people = new People(context.browser(), settings, email);
  for (const entry of OF_ROLES[role] || []) {
    const found = await attempt(context, entry, { walked, api, settings: { ...settings, quick: false }, people });
    problems.push(...found.map((text) => ({ url: entry.form, text })));
  }
  return problems;
}

/// What the user who may do most saw and this one did not, is asked for and sent all the same.
async function refusals(context, user, walked, most, origin) {
  const problems = [];
  const notes = [];
  const isOutside = ['none', 'stranger'].includes(user.role);
  const isRefused = (status) => [403, 404].includes(status) || (user.role === 'none' && status === 303);
  const seen = new Set(walked.pages.map((page) => plainShape(page.url)));
  for (const url of oneOfEach(most.pages)) {
    if (isOutside ? !isInside(url) : seen.has(plainShape(url))) continue;
    const status = (await context.request.get(origin + url, { maxRedirects: 0 })).status();
    if (status >= 500 || (isOutside && !isRefused(status))) problems.push({ url, text: `status ${status}, and no link leads there` });
    else if (!isRefused(status)) notes.push(`${url} is ${status}, and no link leads there`);
  }
  const proof = user.link ? await proofOf(context, origin) : '';
  for (const [key, { action }] of Object.entries(most.forms)) {
    const url = action.slice(origin.length);
    if (!key.startsWith('POST ') || !isInside(url) || (key in walked.forms && !isOutside)) continue;
    const response = await context.request.post(action, { form: { _csrf: proof }, maxRedirects: 0 });
    const status = response.status();
    // What is sent without a session is kept in the page for signing in.
    const isKept = user.role === 'none' && status === 200 && (await response.text()).includes('action="/panel/sign-in"');
    if (!isRefused(status) && !isKept) problems.push({ url, text: `${key}: status ${status}, and no page has this form` });
  }
  return { problems, notes };
}

const plainShape = (url) => pathShape(url.split('?')[0]);
/// Of a tenant or of operators, and not of everybody.
const isInside = (url) => /^\/panel\/(t|relay)\b/.test(url);

function oneOfEach(pages) {
  const found = new Map();
  for (const { url } of pages) if (!found.has(plainShape(url))) found.set(plainShape(url), url);
  return found.values();
}

/// What forms of this session send.
async function proofOf(context, origin) {
  const page = await context.newPage();
  await page.goto(`${origin}/panel`);
  const proof = await page.locator('[name=_csrf]').first().inputValue();
  await page.close();
  return proof;
}
