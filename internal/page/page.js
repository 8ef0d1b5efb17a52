"use strict";
// The page is rendered by the server. This asks for it again, every few seconds and after an event, and
// changes the parts of the document that differ. So the focus, the place and an open list stay.
(() => {
  const every = 5000, // between two questions
    soonest = 2000, // after an event, so that a flood of events is no flood of questions
    status = document.getElementById("status"),
    pause = document.getElementById("pause");
  let paused = false, asking = false, failing = false, last = 0, timer = 0, news = null;

  // same has one element become like another, which it may keep.
  function same(old, next) {
    if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || old.id !== next.id) {
      old.replaceWith(next);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
      return;
    }
    for (const a of [...old.attributes])
      if (!next.hasAttribute(a.name) && !(old.nodeName === "DETAILS" && a.name === "open")) old.removeAttribute(a.name);
    for (const a of next.attributes)
      if (old.getAttribute(a.name) !== a.value) old.setAttribute(a.name, a.value);
    const had = [...old.childNodes], has = [...next.childNodes];
    has.forEach((child, i) => (i < had.length ? same(had[i], child) : old.append(child)));
    had.slice(has.length).forEach((child) => child.remove());
  }

  // say changes the live region only when the state changes: it is read out.
  function say(text, stale) {
    status.textContent = text;
    status.className = stale ? "stale" : "";
  }

  async function ask() {
    clearTimeout(timer);
    if (asking || paused || document.hidden) return;
    asking = true;
    last = Date.now();
    try {
      const response = await fetch(location.href, { credentials: "same-origin", signal: AbortSignal.timeout(10000) });
      if (response.status === 401) {
        location.reload(); // the log-in has ended
        return;
      }
      if (!response.ok) throw new Error(response.status);
      const next = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const part of next.querySelectorAll("[data-live]")) {
        const old = document.querySelector(`[data-live="${part.dataset.live}"]`);
        if (old) same(old, part);
      }
      document.title = next.title;
      if (failing) say("Live again.", false);
      failing = false;
    } catch {
      if (!failing) say("kproxy does not respond.", true);
      failing = true;
    } finally {
      asking = false;
      plan(every);
    }
  }

  function plan(after) {
    clearTimeout(timer);
    if (!paused) timer = setTimeout(ask, after);
  }

  // follow has events lead to a question, while the page can be seen: kproxy has few places for such streams.
  function follow() {
    news?.close();
    news = null;
    if (paused || document.hidden) return;
    news = new EventSource("/api/v1/events?after=" + document.getElementById("main").dataset.after);
    news.onmessage = () => plan(Math.max(100, last + soonest - Date.now()));
  }

  pause.hidden = false;
  say("Live.", false);
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    say(paused ? "Paused." : "Live.", false);
    follow();
    plan(0);
  });
  document.addEventListener("visibilitychange", () => {
    follow();
    plan(0);
  });
  follow();
  plan(every);
})();
