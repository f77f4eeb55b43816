// Every page that links lead to, breadth first.

import { PATIENCE } from './browser.mjs';
import { answerProblems, pageProblems } from './checks.mjs';
import { Guard, isBody } from './guard.mjs';
import { address, isOfPanel, shape } from './routes.mjs';

/// Pages of a shape that are looked at, unless `settings.each` says otherwise.
const EACH = 8;
/// The same of a shape with parameters.
const EACH_WITH_PARAMETERS = 2;
/// Something is endless.
const MOST = 600;

/// Walks from `settings.start` (`/panel`) as the visitor of the context. Every page that a link leads
/// to must be one that the visitor may see.
export async function walk(context, settings) {
  const origin = settings.origin;
  const queue = [`${origin}${settings.start || '/panel'}`];
  const seen = new Set(queue);
  const counts = new Map();
  const found = { pages: [], problems: [], forms: {}, not_visited: 0 };
  const page = await context.newPage();
  const guard = new Guard(page, origin);
  while (queue.length && found.pages.length < MOST) {
    const url = queue.shift();
    if (!hasRoom(counts, url, settings.each || EACH)) { found.not_visited += 1; continue; }
    const visited = await visit({ context, page, guard, url, settings });
    found.pages.push(visited.facts);
    found.problems.push(...visited.problems.map((text) => ({ url: visited.facts.url, text })));
    for (const form of visited.forms) remember(found.forms, form, url);
    for (const next of visited.links) {
      if (seen.has(next) || !isOfPanel(next, origin)) continue;
      seen.add(next);
      queue.push(next);
    }
  }
  if (queue.length) found.problems.push({ url: queue[0].slice(origin.length), text: `more than ${MOST} pages: is there an endless list of links?` });
  await page.close();
  return found;
}

function hasRoom(counts, url, each) {
  const name = shape(url);
  const count = counts.get(name) || 0;
  counts.set(name, count + 1);
  return count < (name.includes('?') ? Math.min(each, EACH_WITH_PARAMETERS) : each);
}

export function formKey({ method, action, button }) {
  // A form that asks has its values in the address, so these are no part of its shape.
  const path = shape(action).split('?')[0];
  const value = button && (/^\w+=[a-z_-]{1,20}$/.test(button) ? ` ${button}` : ` ${button.split('=')[0]}=:`);
  return `${method} ${path}${value}`;
}

function remember(forms, form, url) {
  const { pages } = (forms[formKey(form)] ||= { pages: [], action: form.action });
  if (pages.length < 3 && !pages.includes(url)) pages.push(url);
}

async function visit(all) {
  const { page, guard, url, settings } = all;
  guard.begin();
  const facts = { url: url.slice(settings.origin.length), shape: shape(url) };
  const nothing = { facts, problems: [], forms: [], links: [] };
  const began = performance.now();
  let response;
  try {
    response = await page.goto(url, { waitUntil: 'load' });
  } catch (error) {
    if (/Download is starting/.test(error.message)) return { ...nothing, problems: await fileProblems(all) };
    return { ...nothing, problems: [error.message.split('\n')[0], ...guard.take()] };
  }
  facts.load_ms = Math.round(performance.now() - began);
  const answer = await answerProblems(response);
  facts.octets = answer.octets;
  const { requestStart, responseEnd } = response.request().timing();
  facts.server_ms = Math.round((responseEnd - requestStart) * 10) / 10;
  const problems = answer.problems;
  if (facts.load_ms > PATIENCE) problems.push(`loaded in ${facts.load_ms} ms`);
  // A wrong status is a problem already, and the console tells of it once more.
  const told = () => guard.take().filter((text) => response.ok() || !text.includes(`status of ${response.status()}`));
  const kind = response.headers()['content-type'] || '';
  if (!kind.startsWith('text/html')) return { ...nothing, problems: [...problems, ...told()] };
  if (isBody(response)) return { ...nothing, problems: [...problems, ...(await bodyProblems(page, response, url)), ...told()] };
  const shown = await pageProblems(page, settings);
  problems.push(...shown.problems, ...told());
  if (!sameAddress(page.url(), response.url())) problems.push(`the page went on to ${page.url()}`);
  const links = shown.links.map((link) => address(link.url));
  return { facts, problems, forms: shown.forms, links };
}

const sameAddress = (one, other) => address(one) === address(other);

/// The body of a message, by itself.
async function bodyProblems(page, response, url) {
  await page.waitForTimeout(200);
  const problems = [];
  const policy = response.headers()['content-security-policy'] || '';
  if (!policy.startsWith('sandbox') || /allow-(scripts|forms|same-origin|top)/.test(policy)) {
    problems.push(`the policy of a body is ${policy}`);
  }
  if (await page.evaluate(() => Boolean(window.__pwned)).catch(() => false)) problems.push('a script of the body ran');
  if (!sameAddress(page.url(), url)) problems.push(`the body went on to ${page.url()}`);
  return problems;
}

/// A file to be saved.
async function fileProblems({ context, url }) {
  const response = await context.request.get(url);
  const fields = response.headers();
  const problems = [];
  if (response.status() !== 200) problems.push(`status ${response.status()}`);
  if (!(fields['content-disposition'] || '').startsWith('attachment')) problems.push('it is no attachment');
  if (fields['x-content-type-options'] !== 'nosniff') problems.push('no X-Content-Type-Options');
  return problems;
}
