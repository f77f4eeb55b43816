// What is true of every page.

import { axeSource, DESKTOP, PATIENCE, PHONE } from './browser.mjs';

/// Octets of the HTML of a page.
const LARGEST = 100_000;

/// Problems of the answer itself.
export async function answerProblems(response, wanted = 200) {
  const problems = [];
  if (response.status() !== wanted) problems.push(`status ${response.status()}, not ${wanted}`);
  const fields = response.headers();
  const policy = fields['content-security-policy'] || '';
  if (!policy.includes("default-src 'none'") || /script-src[^;]*unsafe/.test(policy)) {
    problems.push(`Content-Security-Policy: ${policy}`);
  }
  if (fields['x-content-type-options'] !== 'nosniff') problems.push('no X-Content-Type-Options');
  const octets = (await response.body()).length;
  if (octets >= LARGEST) problems.push(`${octets} octets`);
  return { octets, problems };
}

/// Problems of a page as it is shown. `quick`: without axe and the keyboard.
export async function pageProblems(page, { variant = {}, quick = false }) {
  const facts = await page.evaluate(readFacts);
  const problems = factProblems(facts, variant);
  if (quick || variant.scripts === false) return { problems, forms: facts.forms, links: facts.links };
  problems.push(...(await axeProblems(page)));
  problems.push(...(await keyboardProblems(page)));
  return { problems, forms: facts.forms, links: facts.links };
}

function factProblems(facts, variant) {
  const problems = facts.violations.map((violation) => `policy violated: ${violation}`);
  const require = (isSo, text) => isSo || problems.push(text);
  const width = (variant.phone ? PHONE : DESKTOP).width;
  require(!facts.pwned, 'a script of the data ran');
  require(facts.h1 === 1, `${facts.h1} elements h1`);
  require(facts.lang === (variant.language || 'en'), `lang is ${JSON.stringify(facts.lang)}`);
  require(facts.title.trim() !== '', 'no title');
  require(facts.width <= width, `it scrolls sideways: ${facts.width} of ${width} pixels, ${facts.widest}`);
  require(facts.bases === 0, 'an element base');
  require(facts.turned === '', `a character that turns text round: ${facts.turned}`);
  require(facts.inline.length === 0, `a handler in the page: ${facts.inline}`);
  for (const link of facts.foreign) problems.push(`a link to ${link.slice(0, 100)}`);
  return problems;
}

/// Runs in the page.
function readFacts() {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const schemes = /^(https?|mailto|data):/;
  const widest = all('body *').find((element) => {
    const box = element.getBoundingClientRect();
    return box.right > innerWidth + 1 && box.width > 0 && !element.closest('.wide, pre, nav, iframe');
  });
  const handlers = all('*').filter((element) => [...element.attributes].some((a) => a.name.startsWith('on')));
  // What is typed may have such characters. What is shown would change how its surroundings read.
  const isTurned = (node) => /[\u202A-\u202E\u2066-\u2069]/.test(node.data) && !node.parentElement.closest('textarea, script');
  const texts = document.createNodeIterator(document.body, NodeFilter.SHOW_TEXT);
  let turned = '';
  for (let node = texts.nextNode(); node; node = texts.nextNode()) if (isTurned(node)) turned ||= node.data.slice(0, 60);
  const buttons = (form) => [...form.elements].filter((e) => e.type === 'submit');
  const named = (form, button) => ({
    method: (button?.getAttribute('formmethod') || form.getAttribute('method') || 'get').toUpperCase(),
    action: new URL(button?.getAttribute('formaction') || form.getAttribute('action') || location.href, location.href).href,
    button: button?.name ? `${button.name}=${button.value}` : '',
    index: [...document.forms].indexOf(form),
  });
  return {
    violations: window.__violations || [],
    pwned: Boolean(window.__pwned),
    h1: all('h1').length,
    lang: document.documentElement.lang,
    title: document.title,
    width: document.documentElement.scrollWidth,
    widest: widest ? `<${widest.tagName.toLowerCase()} class="${widest.className}"> ${widest.textContent.slice(0, 60)}` : '',
    bases: all('base').length,
    turned,
    inline: handlers.map((element) => element.outerHTML.slice(0, 80)),
    foreign: all('a[href], area[href]').map((a) => a.href).filter((href) => !schemes.test(href)),
    links: all('a[href], area[href], iframe[src]').map((e) => ({ url: e.href || e.src, download: e.hasAttribute('download') })),
    forms: [...document.forms].flatMap((form) => {
      const submits = buttons(form);
      return submits.length ? submits.map((button) => named(form, button)) : [named(form, null)];
    }),
  };
}

async function axeProblems(page) {
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const options = { resultTypes: ['violations'], iframes: false };
    const found = await window.axe.run(document, options);
    return found.violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      nodes: nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message || node.failureSummary}`),
    }));
  });
  const bad = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  return bad.map(({ id, impact, nodes }) => `axe, ${impact}: ${id}: ${nodes.join(' | ').slice(0, 400)}`);
}

/// Tab from the top reaches the link that skips the navigation, and that leads to the content.
async function keyboardProblems(page) {
  await page.evaluate(() => { document.activeElement?.blur(); scrollTo(0, 0); getSelection().removeAllRanges(); });
  await page.keyboard.press('Tab');
  const first = await page.evaluate(() => document.activeElement?.className);
  if (first !== 'skip') return [`Tab reaches ${JSON.stringify(first)} first, not the skip link`];
  await page.keyboard.press('Enter');
  const reached = await page.waitForFunction(() => document.activeElement?.id === 'main', null, { timeout: PATIENCE / 5 })
    .then(() => true, () => false);
  return reached ? [] : ['the skip link does not lead to the content'];
}
