// The shapes of addresses: `/panel/t/:/messages/:?done` for every message.

/// After these stands a name, unless it is one of the words of pages and acts of the whole collection.
const COLLECTIONS = {
  attachments: [],
  deliveries: [],
  domains: [],
  inbox: [],
  keys: ['new'],
  link: [],
  messages: [],
  reset: [],
  sessions: ['revoke'],
  sites: [],
  suppressions: ['check', 'export', 'import', 'undo'],
  t: [],
  templates: ['new', 'preview', 'test'],
  tenants: [],
  topics: ['contact', 'new'],
  users: [],
  versions: [],
  webhooks: ['new'],
};
/// Two names: that of the tenant, and that of the plugin.
const PLUGINS = 'plugins';

/// The path of an address with `:` for names.
export function pathShape(path) {
  const segments = path.split('/');
  const isName = (segment, at) => {
    const before = segments[at - 1];
    if (before === PLUGINS || segments[at - 2] === PLUGINS) return true;
    return Object.hasOwn(COLLECTIONS, before) && !COLLECTIONS[before].includes(segment);
  };
  return segments.map((segment, at) => (segment && isName(segment, at) ? ':' : segment)).join('/');
}

/// The path and the names of the parameters.
export function shape(url) {
  const { pathname, searchParams } = new URL(url);
  const names = [...new Set(searchParams.keys())].sort();
  return pathShape(pathname) + (names.length ? `?${names.join('&')}` : '');
}

/// Without the place in the page.
export function address(url) {
  const whole = new URL(url);
  whole.hash = '';
  return whole.href;
}

export function isOfPanel(url, origin) {
  return url === `${origin}/panel` || url.startsWith(`${origin}/panel/`) || url.startsWith(`${origin}/panel?`);
}
