// What pages do beside what they do without scripts: follow what happens, times of here, copy
// buttons, previews while one types. Nothing here is needed to use the panel.
'use strict';
(() => {
  const main = document.getElementById('main');

  const localTimes = (root) => {
    const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'medium' });
    for (const time of root.querySelectorAll('time[datetime]')) {
      const at = new Date(time.dateTime);
      if (isNaN(at)) continue;
      time.title = time.textContent;
      time.textContent = format.format(at);
    }
  };

  const copyButtons = (root) => {
    for (const button of root.querySelectorAll('button[data-copy]')) {
      button.hidden = !navigator.clipboard;
      button.addEventListener('click', async () => {
        await navigator.clipboard.writeText(button.dataset.copy);
        const text = button.textContent;
        button.textContent = button.dataset.done || text;
        setTimeout(() => { button.textContent = text; }, 1500);
      });
    }
  };

  // A form with data-preview sends itself to its preview button a moment after the last change. What
  // is shown stays until the next one is there, and the history of the browser gets no entries: each
  // answer has a frame of its own.
  const previews = (root) => {
    for (const form of root.querySelectorAll('form[data-preview]')) {
      const button = form.querySelector('button[data-preview]');
      let waiting;
      const show = () => {
        form.querySelector('iframe[data-waits]')?.remove();
        const old = form.querySelector('iframe');
        const fresh = old.cloneNode();
        old.removeAttribute('name');
        fresh.name = 'preview';
        fresh.dataset.waits = '';
        old.after(fresh);
        form.requestSubmit(button);
        fresh.addEventListener('load', () => { delete fresh.dataset.waits; old.remove(); }, { once: true });
      };
      form.addEventListener('input', (event) => {
        if (['width', 'scheme', 'test_to'].includes(event.target.name)) return;
        clearTimeout(waiting);
        waiting = setTimeout(show, 400);
      });
      show();
    }
  };

  // Selects that choose what is shown send their form at once.
  const choices = (root) => {
    for (const select of root.querySelectorAll('form[data-auto] select')) {
      select.addEventListener('change', () => select.form.requestSubmit());
    }
  };

  // Enter in a field that belongs to another button than the first of its form.
  const enters = (root) => {
    for (const field of root.querySelectorAll('input[data-enter]')) {
      field.addEventListener('keydown', (event) => {
        if (event.key !== 'Enter') return;
        event.preventDefault();
        document.getElementById(field.dataset.enter).click();
      });
    }
  };

  // A file is read into a field.
  const files = (root) => {
    for (const field of root.querySelectorAll('[data-file]')) {
      field.hidden = false;
      field.querySelector('input').addEventListener('change', async (event) => {
        const [file] = event.target.files;
        if (file) document.getElementById(field.dataset.file).value = await file.text();
      });
    }
  };

  const prepare = (root) => { localTimes(root); copyButtons(root); previews(root); choices(root); enters(root); files(root); };

  // Somebody works in the page: it is not exchanged under their hands.
  const isBusy = () => {
    const active = document.activeElement;
    return document.hidden
      || (main.contains(active) && active.matches('input, textarea, select, button'))
      || !getSelection().isCollapsed
      || main.querySelector('details.confirm[open]') !== null;
  };

  let stale = false;
  const renew = async () => {
    if (isBusy()) { stale = true; return; }
    stale = false;
    const answer = await fetch(location.href, { credentials: 'same-origin' });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const fresh = page.getElementById('main');
    if (!fresh || isBusy()) { stale = true; return; }
    const open = [...main.querySelectorAll('details[id][open]')].map((details) => details.id);
    const at = main.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    main.replaceChildren(...fresh.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute('open', '');
    if (at) main.querySelector(`a[href="${CSS.escape(at)}"]`)?.focus();
    prepare(main);
  };

  if (main && main.dataset.live) {
    // A browser has few connections to a host: a page that nobody sees has none.
    let source;
    const follow = () => {
      source?.close();
      source = undefined;
      if (document.hidden) return;
      source = new EventSource(main.dataset.live);
      source.addEventListener('changed', () => renew().catch(() => {}));
    };
    follow();
    setInterval(() => { if (stale) renew().catch(() => {}); }, 2000);
    addEventListener('visibilitychange', () => { follow(); if (!document.hidden) renew().catch(() => {}); });
    addEventListener('pagehide', () => source?.close());
  }
  prepare(document);
})();
