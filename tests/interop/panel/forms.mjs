// Every page, and every form of the pages, filled in and sent. A form that no table names fails the
// run.

import { PATIENCE } from './browser.mjs';
import { answerProblems, pageProblems } from './checks.mjs';
import { TABLE } from './form_table.mjs';
import { Guard } from './guard.mjs';
import { formKey, walk } from './walk.mjs';

export async function runForms(context, settings) {
  const walked = await walk(context, settings);
  const problems = walked.problems;
  const known = formsOf(TABLE);
  for (const [key, { pages }] of Object.entries(walked.forms)) {
    if (!known.has(key)) problems.push({ url: pages[0], text: `${key}: panel/form_table.mjs does not name it` });
  }
  const api = new Api(settings, context.request);
  const tried = [];
  for (const entry of TABLE) {
    const began = performance.now();
    const found = await attempt(context, entry, { walked, api, settings });
    tried.push({ form: entry.form, ms: Math.round(performance.now() - began) });
    problems.push(...found.map((text) => ({ url: entry.form, text })));
  }
  problems.push(...(await unprovenProblems(context, walked)));
  return { pages: walked.pages, forms: tried, problems };
}

/// The forms that a table names.
export const formsOf = (table) => new Set(table.flatMap((entry) => [entry, ...(entry.then || [])]).map(({ form }) => form));

/// The API of the tenant, and pages of the panel, for what a form needs to be there.
export class Api {
  /// `request` sends with the cookies of the visitor.
  constructor({ origin, key, hook }, request) {
    Object.assign(this, { origin, key, hook, request });
  }

  async send(method, path, body) {
    const response = await fetch(this.origin + path, {
      method,
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : {};
  }

  post(path, body) { return this.send('POST', path, body); }
  get(path) { return this.send('GET', path); }

  /// The HTML of a page.
  async page(path) {
    const response = await this.request.get(this.origin + path);
    if (!response.ok()) throw new Error(`GET ${path}: ${response.status()}`);
    return response.text();
  }
}

/// Tries an entry of the table, first with what is wrong. `people` are those who can sign in.
export async function attempt(context, entry, { walked, api, settings, people }) {
  try {
    const at = entry.at ? settings.origin + (await entry.at(api, people)) : walked.forms[entry.form]?.pages[0];
    if (!at) return entry.optional ? [] : ['no page has it'];
    const problems = [];
    for (const step of [entry.wrong, entry].filter(Boolean)) {
      problems.push(...(await inPage(context, settings, (page, guard) => tryStep(page, guard, { at, entry, settings, step, people }))));
    }
    return problems;
  } catch (error) {
    return [error.message.split('\n').slice(0, 3).join(' ')];
  }
}

/// A page of its own, so that what it says late is not taken for another one's.
async function inPage(context, settings, act) {
  const page = await context.newPage();
  try {
    return await act(page, new Guard(page, settings.origin));
  } finally {
    await page.close();
  }
}

async function tryStep(page, guard, { at, entry, settings, step, people }) {
  await page.goto(at);
  const problems = [];
  // What follows begins in the page that came.
  for (const next of [{ ...step, form: entry.form, button: entry.button, frame: entry.frame }, ...(step.then || [])]) {
    const values = typeof next.values === 'function' ? next.values(people) : next.values || {};
    problems.push(...(await send(page, guard, { ...next, values }, settings)));
  }
  return problems;
}

/// Fills the form in, sends it, and looks at what comes.
async function send(page, guard, step, settings) {
  const form = await locate(page, step.form);
  await uncover(form);
  for (const [name, value] of Object.entries(step.values)) await fill(form, name, value);
  const status = step.status || 200;
  if (status !== 200) guard.expected.add(status);
  if (step.frame) return framed(page, form, step, guard);
  const [response] = await Promise.all([
    page.waitForResponse((response) => isDocument(page, response) && !isRedirect(response)),
    submit(form, step),
  ]);
  await page.waitForLoadState('load');
  const problems = (await answerProblems(response, status)).problems;
  if (status !== 200) problems.push(...(await keptProblems(page, step)));
  // Looked at before anything else is done in the page.
  problems.push(...(await seen(page, step)));
  // Pages that a redirect leads to were looked at by the walk.
  const quick = settings.quick || response.request().method() === 'GET';
  problems.push(...(await pageProblems(page, { ...settings, quick })).problems, ...guard.take());
  guard.expected.clear();
  return problems;
}

const isDocument = (page, response) => {
  const request = response.request();
  return request.isNavigationRequest() && request.frame() === page.mainFrame();
};
const isRedirect = (response) => response.status() >= 300 && response.status() < 400;

/// A form whose answer is shown in a frame of the page.
async function framed(page, form, step, guard) {
  await submit(form, step);
  const end = Date.now() + PATIENCE;
  while (Date.now() < end) {
    for (const frame of page.frames().slice(1)) {
      const text = await frame.content().catch(() => '');
      if (text.includes(step.sees)) return guard.take();
    }
    await page.waitForTimeout(50);
  }
  return [`no frame has ${step.sees}`, ...guard.take()];
}

async function locate(page, key) {
  const all = await page.evaluate(() => [...document.forms].map((form) => {
    const of = (button) => ({
      method: (button?.getAttribute('formmethod') || form.getAttribute('method') || 'get').toUpperCase(),
      action: new URL(button?.getAttribute('formaction') || form.getAttribute('action') || location.href, location.href).href,
      button: button?.name ? `${button.name}=${button.value}` : '',
    });
    const buttons = [...form.elements].filter((e) => e.type === 'submit');
    return (buttons.length ? buttons : [null]).map(of);
  }));
  const index = all.findIndex((buttons) => buttons.some((button) => formKey(button) === key));
  if (index < 0) throw new Error(`${page.url()} does not have the form`);
  return page.locator('form').nth(index);
}

/// Opens what the form is in, as a visitor does.
async function uncover(form) {
  const closed = form.locator('xpath=ancestor::details[not(@open)]');
  for (let n = await closed.count(); n > 0; n -= 1) {
    await closed.first().locator('> summary').press('Enter');
  }
}

async function fill(form, name, value) {
  const fields = form.locator(`[name="${name}"]:not([type=hidden])`);
  const field = fields.first();
  const kind = await field.evaluate((e) => (e.tagName === 'SELECT' ? 'select' : e.type));
  if (kind === 'select') await field.selectOption(value);
  else if (kind === 'checkbox' && Array.isArray(value)) {
    for (const one of value) await form.locator(`[name="${name}"][value="${one}"]`).check();
  } else if (kind === 'checkbox') await field.setChecked(value);
  else if (kind === 'radio') await form.locator(`[name="${name}"][value="${value}"]`).check();
  else if (kind === 'file') await field.setInputFiles(value);
  else await field.fill(value);
}

/// Presses the button of the form.
async function submit(form, { form: key, button }) {
  // A field for a file is a button, too.
  const buttons = form.getByRole('button').and(form.page().locator('button'));
  const [, name, value] = / (\w+)=(\S+)$/.exec(key) || [];
  if (button) await form.getByRole('button', { name: button }).first().click();
  else if (name) await form.locator(`button[name="${name}"]${value === ':' ? '' : `[value="${value}"]`}`).first().click();
  else await buttons.first().click();
}

/// What was typed is still there, beside what is wrong with it.
async function keptProblems(page, { form: key, values }) {
  const problems = [];
  if ((await page.getByRole('alert').count()) === 0) problems.push('nothing says what is wrong');
  const form = await locate(page, key).catch(() => null);
  if (!form) return [...problems, 'the form is not shown again'];
  for (const [name, value] of Object.entries(values)) {
    if (typeof value !== 'string') continue;
    const field = form.locator(`[name="${name}"]:not([type=hidden])`).first();
    const isSecret = await field.evaluate((e) => e.type === 'password' || e.autocomplete === 'one-time-code').catch(() => false);
    if (isSecret) continue;
    const kept = await field.inputValue().catch(() => null);
    if (kept !== value) problems.push(`${name} was typed and is lost`);
  }
  return problems;
}

async function seen(page, step) {
  if (typeof step.sees === 'function') {
    return Promise.resolve(step.sees(page)).then(() => [], (error) => [error.message.split('\n')[0]]);
  }
  if (!step.sees) return [];
  const text = await page.locator('body').innerText();
  const found = step.sees instanceof RegExp ? step.sees.test(text) : text.includes(step.sees);
  return found ? [] : [`the page after it does not have ${step.sees}`];
}

/// No form is taken without the proof that a page of this session sent it.
async function unprovenProblems(context, walked) {
  const problems = [];
  for (const [key, { action }] of Object.entries(walked.forms)) {
    if (!key.startsWith('POST ')) continue;
    const response = await context.request.post(action, { form: { _csrf: 'another' }, maxRedirects: 0 });
    if (response.status() === 403) continue;
    problems.push({ url: key, text: `${response.status()} without the proof of the session, not 403` });
  }
  return problems;
}
