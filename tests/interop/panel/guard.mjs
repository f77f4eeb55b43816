// What must never happen in a page: scripts of others, requests to other hosts, dialogs, errors.

/// What the body of a message, or of a template, tries and is refused is an error for the console, and
/// expected.
const isRefusal = (text) =>
  /Content Security Policy|sandboxed|Refused to|Failed to load resource: net::ERR_BLOCKED_BY_CSP/.test(text);

/// The body of a message may not be believed: its page has a policy with a sandbox.
export const isBody = (response) => (response.headers()['content-security-policy'] || '').startsWith('sandbox');
/// A page that shows images of other hosts because the visitor asked for them.
export const showsImages = (url) => new URL(url).searchParams.has('images');

/// Watches a page of Playwright until it is closed.
export class Guard {
  constructor(page, origin) {
    this.page = page;
    this.origin = origin;
    this.problems = [];
    /// The status of a request that is expected to fail, such as 422: the console tells of it, too.
    this.expected = new Set();
    /// Addresses of bodies.
    this.bodies = new Set();
    page.on('response', (response) => {
      if (response.request().resourceType() === 'document' && isBody(response)) this.bodies.add(response.url());
    });
    page.on('console', (message) => this.said(message));
    page.on('pageerror', (error) => this.problems.push(`script: ${error.message}`));
    page.on('dialog', (dialog) => {
      this.problems.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    page.on('popup', (other) => this.problems.push(`another window: ${other.url()}`));
    page.on('requestfinished', (request) => this.went(request));
    page.on('requestfailed', (request) => {
      if (request.failure()?.errorText !== 'csp') this.went(request);
    });
  }

  /// Another page is visited.
  begin() {
    this.bodies.clear();
    this.expected.clear();
  }

  said(message) {
    if (!['error', 'warning'].includes(message.type())) return;
    const from = message.location().url || '';
    const text = message.text();
    const isOfBody = from === '' || this.bodies.has(from) || !from.startsWith(this.origin);
    // What was refused in a frame is also told when the page is gone, or before its answer is known.
    const isFrame = /\/(templates\/preview|html)(\?.*)?$/.test(from);
    if ((isFrame || (this.bodies.size > 0 && isOfBody)) && isRefusal(text)) return;
    // A preview follows what is typed, and half a template is refused.
    if (from.endsWith('/preview') && text.includes('status of 422')) return;
    if ([...this.expected].some((status) => text.includes(`status of ${status}`))) return;
    this.problems.push(`console, ${message.type()}: ${text.slice(0, 300)} (${from})`);
  }

  /// A request left the browser.
  went(request) {
    const url = request.url();
    if (url.startsWith(`${this.origin}/`) || /^(data|blob|about):/.test(url)) return;
    const page = this.page.url();
    // Icons and what is fetched beforehand count as images for the policy, so they are of type `other`.
    const isImage = ['image', 'other'].includes(request.resourceType()) && new URL(url).pathname.startsWith('/image/');
    if (isImage && showsImages(page)) return;
    this.problems.push(`a request to ${url} (${request.resourceType()})`);
  }

  /// What was found since the last call.
  take() {
    const found = this.problems;
    this.problems = [];
    return found;
  }
}
