// The panel in Chromium: `node panel.mjs SETTINGS.json` writes what it found to standard output, as
// JSON. `panel.py` starts the relay, fills it, and judges.

import { readFileSync } from 'node:fs';
import { launch, newContext } from './panel/browser.mjs';
import { runForms } from './panel/forms.mjs';
import { takePictures } from './panel/pictures.mjs';
import { walkRoles } from './panel/roles.mjs';
import { measure } from './panel/times.mjs';
import { walk } from './panel/walk.mjs';

const MODES = { walk, forms: runForms, pictures: takePictures, roles: walkRoles, times: measure };

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const browser = await launch(settings);
try {
  const context = await newContext(browser, settings);
  const found = await MODES[settings.mode](context, settings);
  process.stdout.write(JSON.stringify(found));
} finally {
  await browser.close();
}
