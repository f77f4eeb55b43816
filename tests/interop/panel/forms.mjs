// Every form of the pages, filled in and sent. A form that the table does not name fails the run.

import { answerProblems, pageProblems } from './checks.mjs';
import { TABLE } from './form_table.mjs';
import { Guard } from './guard.mjs';
import { formKey, walk } from './walk.mjs';

export async function runForms(context, settings) {
  const walked = await walk(context, { ...settings, quick: true });
  // Problems of the pages themselves are found by the other rows.
  const problems = [];
  const known = new Set(TABLE.map((entry) => entry.form));
  for (const [key, { pages }] of Object.entries(walked.forms)) {
    if (!known.has(key)) problems.push({ url: pages[0], text: `${key}: panel/form_table.mjs does not name it` });
  }
  const api = new Api(settings);
  const tried = [];
  for (const entry of TABLE.filter((entry) => !entry.role || entry.role === settings.role)) {
    const began = performance.now();
    const found = await attempt(context, entry, { walked, api, settings });
    tried.push({ form: entry.form, ms: Math.round(performance.now() - began) });
    problems.push(...found.map((text) => ({ url: entry.form, text })));
  }
  problems.push(...(await unprovenProblems(context, walked)));
  return { pages: walked.pages, forms: tried, problems };
}

/// The API of the tenant, for what a form needs to be there.
class Api {
  constructor({ origin, key, hook }) {
    Object.assign(this, { origin, key, hook });
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
}

async function attempt(context, entry, { walked, api, settings }) {
  const page = await context.newPage();
  const guard = new Guard(page, settings.origin);
  try {
    const at = entry.at ? settings.origin + (await entry.at(api)) : walked.forms[entry.form]?.pages[0];
    if (!at) return ['no page has it'];
    const problems = [];
    if (entry.wrong) {
      await page.goto(at);
      problems.push(...(await send(page, guard, entry, settings, entry.wrong)));
    }
    await page.goto(at);
    problems.push(...(await send(page, guard, entry, settings, entry)));
    return problems;
  } catch (error) {
    return [error.message.split('\n').slice(0, 3).join(' '), ...guard.take()];
  } finally {
    await page.close();
  }
}

/// Fills the form in, sends it, and looks at what comes. `step` has `values`, `sees` and `status`.
async function send(page, guard, entry, settings, step) {
  const form = await locate(page, entry.form);
  await uncover(form);
  const values = step.values || {};
  for (const [name, value] of Object.entries(values)) await fill(form, name, value);
  const status = step.status || 200;
  if (status !== 200) guard.expected.add(status);
  if (step.frame) return framed(page, form, entry, step, guard);
  const [response] = await Promise.all([
    page.waitForResponse((response) => isDocument(page, response) && !isRedirect(response)),
    submit(form, entry),
  ]);
  await page.waitForLoadState('load');
  const problems = (await answerProblems(response, status)).problems;
  if (status !== 200) problems.push(...(await keptProblems(page, entry, values)));
  // Looked at before anything else is done in the page.
  problems.push(...(await seen(page, step)));
  problems.push(...(await pageProblems(page, settings)).problems, ...guard.take());
  guard.expected.clear();
  return problems;
}

const isDocument = (page, response) => {
  const request = response.request();
  return request.isNavigationRequest() && request.frame() === page.mainFrame();
};
const isRedirect = (response) => response.status() >= 300 && response.status() < 400;

/// A form whose answer is shown in a frame of the page.
async function framed(page, form, entry, step, guard) {
  const answered = page.waitForResponse((response) =>
    response.request().isNavigationRequest() && response.request().frame() !== page.mainFrame());
  await submit(form, entry);
  const response = await answered;
  await page.waitForTimeout(300);
  const problems = response.status() === 200 ? [] : [`status ${response.status()} in the frame`];
  const text = await response.text();
  if (step.sees && !text.includes(step.sees)) problems.push(`the frame does not have ${step.sees}`);
  return [...problems, ...guard.take()];
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

/// Presses the button of the form, found by its role.
async function submit(form, entry) {
  const buttons = form.getByRole('button');
  const named = entry.button ? form.getByRole('button', { name: entry.button }) : buttons;
  await named.first().click();
}

/// What was typed is still there, beside what is wrong with it.
async function keptProblems(page, entry, values) {
  const problems = [];
  if ((await page.getByRole('alert').count()) === 0) problems.push('nothing says what is wrong');
  const form = await locate(page, entry.form).catch(() => null);
  if (!form) return [...problems, 'the form is not shown again'];
  for (const [name, value] of Object.entries(values)) {
    if (typeof value !== 'string') continue;
    const kept = await form.locator(`[name="${name}"]:not([type=hidden])`).first().inputValue().catch(() => null);
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
