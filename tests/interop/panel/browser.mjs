// Chromium as a visitor has it: a language, a scheme of colours, a size, scripts or none.

import { createRequire } from 'node:module';

// `import` does not look into NODE_PATH.
const require = createRequire(import.meta.url);
const { chromium } = require('playwright-core');

/// The source of axe-core, to be evaluated in a page.
export const axeSource = require('axe-core').source;

/// How long a page may take, in milliseconds: a bound of last resort.
export const PATIENCE = 5_000;

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

export function launch(settings) {
  return chromium.launch({
    executablePath: settings.chromium,
    // The sandbox of Chromium does not work as root.
    args: [...(process.getuid() === 0 ? ['--no-sandbox'] : []), '--disable-dev-shm-usage'],
  });
}

/// A visitor with cookies of its own. `variant` has `language`, `scheme`, `phone` and `scripts`.
export async function newContext(browser, { variant = {}, cookies = [] }) {
  const context = await browser.newContext({
    locale: variant.language === 'es' ? 'es-ES' : 'en-US',
    colorScheme: variant.scheme || 'light',
    viewport: variant.phone ? PHONE : DESKTOP,
    isMobile: Boolean(variant.phone),
    hasTouch: Boolean(variant.phone),
    javaScriptEnabled: variant.scripts !== false,
    timezoneId: 'UTC',
    reducedMotion: 'reduce',
  });
  context.setDefaultTimeout(PATIENCE);
  await context.addCookies(cookies);
  await context.addInitScript(() => {
    window.__violations = [];
    addEventListener('securitypolicyviolation', (event) => {
      window.__violations.push(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`);
    });
  });
  return context;
}
