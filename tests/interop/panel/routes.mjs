// The shapes of addresses: `/panel/t/:/messages/:?done` for every message.

/// After these stands the name of one of them.
const COLLECTIONS = new Set([
  't', 'inbox', 'attachments', 'messages', 'templates', 'versions', 'suppressions', 'topics', 'domains',
  'webhooks', 'deliveries', 'keys', 'users', 'audit', 'queue', 'shaping', 'suspensions', 'tenants', 'plugins',
  'statistics', 'link', 'invitations', 'sessions', 'held',
]);
/// Pages and acts of a collection as a whole.
const WORDS = new Set([
  'new', 'preview', 'import', 'export', 'live', 'add', 'remove', 'undo', 'rules', 'test', 'held', 'search',
  'starters', 'compare', 'code', 'link', 'reset', 'forgotten', 'oidc', 'html', 'suspensions', 'suspend', 'retry',
  'warmup', 'deliveries', 'export.csv', 'data.csv', 'csv', 'render', 'visitors', 'links', 'tags', 'data',
  'totp', 'confirm', 'contact', 'check', 'page', 'quota', 'quotas', 'credentials', 'upload', 'send', 'starter',
]);

/// The path of an address with `:` for names.
export function pathShape(path) {
  const segments = path.split('/');
  return segments
    .map((segment, at) => (COLLECTIONS.has(segments[at - 1]) && !WORDS.has(segment) ? ':' : segment))
    .join('/');
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
