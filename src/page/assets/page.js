// Keeps the page as the events tell it: sections are changed in place, so that focus, scroll and
// what is unfolded stay. Without this script the page is whole, and is reloaded by hand.
'use strict';
(() => {
  const url = document.body.dataset.events;
  if (!url) return;
  const live = document.getElementById('live');
  const SILENCE = 15000;
  let heard = Date.now();

  const say = (state, text) => {
    document.body.dataset.live = state;
    if (live.textContent !== text) live.textContent = text;
  };
  const time = (at) => new Date(at).toISOString().slice(11, 19) + ' UTC';
  const lost = () => say('lost', 'Not live: this is from ' + time(heard) + ', and may be over.');

  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName
    && (a.id || '') === (b.id || '');

  const attributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      // Whether something is unfolded is the reader's.
      if (!fresh.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  const morph = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    attributes(old, fresh);
    // What somebody types or chooses is theirs until they leave it.
    if (old === document.activeElement && /^(INPUT|SELECT)$/.test(old.nodeName)) return;
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      let match = at;
      while (match && !alike(match, child)) match = match.nextSibling;
      if (!match) {
        old.insertBefore(child, at);
        continue;
      }
      while (at !== match) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      morph(match, child);
      at = match.nextSibling;
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  const change = (id, html) => {
    const old = document.getElementById(id);
    const holder = document.createElement('template');
    holder.innerHTML = html;
    const fresh = holder.content.firstElementChild;
    if (!old || !fresh || old.isEqualNode(fresh)) return;
    const focused = document.activeElement && document.activeElement.id;
    morph(old, fresh);
    const again = focused && document.getElementById(focused);
    if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  };

  // A browser opens six connections to a host: tabs that nobody sees hold none of them.
  let source = null;
  const close = () => {
    if (source) source.close();
    source = null;
    lost();
  };
  const open = () => {
    source = new EventSource(url);
    source.addEventListener('page', (event) => {
      const { title, sections } = JSON.parse(event.data);
      heard = Date.now();
      document.title = title;
      for (const [id, html] of Object.entries(sections)) change(id, html);
      say('live', 'Live');
    });
    source.addEventListener('full', () => {
      document.removeEventListener('visibilitychange', turn);
      clearInterval(watch);
      close();
      say('lost', 'Not live: too many follow already. Reload to see anew.');
    });
    source.addEventListener('error', lost);
  };
  const turn = () => {
    if (document.hidden) close();
    else if (!source) open();
  };
  const watch = setInterval(() => {
    if (Date.now() - heard > SILENCE) lost();
  }, 1000);
  document.addEventListener('visibilitychange', turn);
  turn();
})();
