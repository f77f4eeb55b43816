// How long pages take: each is asked for three times, and the middle counts.

import { walk } from './walk.mjs';

const TIMES = 3;

export async function measure(context, settings) {
  const walked = await walk(context, { ...settings, quick: true });
  const page = await context.newPage();
  for (const facts of walked.pages) {
    if (!facts.octets) continue;
    const server = [];
    const load = [];
    for (let n = 0; n < TIMES; n += 1) {
      const began = performance.now();
      const response = await page.goto(settings.origin + facts.url, { waitUntil: 'load', timeout: 60_000 });
      load.push(Math.round(performance.now() - began));
      const { requestStart, responseEnd } = response.request().timing();
      server.push(Math.round((responseEnd - requestStart) * 10) / 10);
    }
    facts.server_ms = middle(server);
    facts.load_ms = middle(load);
  }
  await page.close();
  return walked;
}

const middle = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
