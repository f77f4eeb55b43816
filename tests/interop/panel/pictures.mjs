// Pictures of pages with friendly data, for the README.

import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { newContext } from './browser.mjs';

/// Octets of a picture.
const LARGEST = 150_000;
const SIZE = { width: 1240, height: 750 };

/// `path` is where it is; `follow` a link on it that is followed; `height` of the picture.
const PICTURES = [
  { name: 'overview', path: '/panel', height: 960 },
  { name: 'messages', path: '/panel/t/dev/messages' },
  { name: 'message', path: '/panel/t/dev/messages', follow: /Your order is on its way/ },
  { name: 'template', path: '/panel/t/dev/templates', follow: /Order shipped/ },
  { name: 'statistics', path: '/panel/t/dev/statistics', height: 980 },
  { name: 'inbox', path: '/panel/inbox', follow: /Your order is on its way/ },
  { name: 'overview-dark', path: '/panel', height: 960, variant: { scheme: 'dark' } },
  { name: 'overview-phone', path: '/panel', variant: { phone: true } },
];

export async function takePictures(context, settings) {
  mkdirSync(settings.folder, { recursive: true });
  const problems = [];
  const pictures = [];
  for (const picture of PICTURES) {
    const file = join(settings.folder, `${picture.name}.png`);
    const own = await newContext(context.browser(), { ...settings, variant: picture.variant });
    try {
      const page = await own.newPage();
      if (!picture.variant?.phone) await page.setViewportSize({ ...SIZE, height: picture.height || SIZE.height });
      await take(page, settings.origin, picture, file);
      const octets = statSync(file).size;
      pictures.push({ name: picture.name, octets });
      if (octets >= LARGEST) problems.push({ url: picture.path, text: `${picture.name}.png has ${octets} octets` });
    } catch (error) {
      problems.push({ url: picture.path, text: `${picture.name}: ${error.message.split('\n')[0]}` });
    } finally {
      await own.close();
    }
  }
  return { pages: [], pictures, problems };
}

async function take(page, origin, { path, follow }, file) {
  await open(page, origin + path);
  if (follow) {
    const link = await page.getByRole('link', { name: follow }).first().getAttribute('href');
    await open(page, new URL(link, page.url()).href);
  }
  // Previews come a moment after the page.
  await page.waitForTimeout(800);
  await page.screenshot({ path: file });
}

async function open(page, url) {
  const response = await page.goto(url, { waitUntil: 'load' });
  if (response.status() !== 200) throw new Error(`${url}: status ${response.status()}`);
}
