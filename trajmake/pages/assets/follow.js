// Keeps the page of a run in step with the run: fetches it anew when its files have changed, and takes over what is
// new. What the reader has scrolled to, folded or opened stays.
(function () {
  "use strict";
  const main = document.getElementById("main");
  const sign = document.createElement("span");
  sign.className = "muted small";
  sign.setAttribute("role", "status");
  document.querySelector(".tools").prepend(sign);

  const key = (node) => node.id || node.localName + "." + node.classList[0];
  const served = new WeakMap(); // node -> its HTML as it was served, whatever was opened in it since
  function remember(node) {
    for (const child of node.children) served.set(child, child.outerHTML);
  }
  const steps = () => document.getElementById("steps");
  remember(main);
  if (steps()) remember(steps());

  function adopt(made, old) {
    const node = document.importNode(made, true);
    served.set(node, made.outerHTML);
    if (node.id === "steps") remember(node);
    if (old) {
      const folds = [...node.querySelectorAll("details")];
      [...old.querySelectorAll("details")].forEach((fold, place) => { if (folds[place]) folds[place].open = fold.open; });
      if (old.classList.contains("now")) node.classList.add("now");
      old.replaceWith(node);
    }
    return node;
  }
  // The children of `now` become those of `made`: same ones stay, changed ones are replaced in their place.
  function reconcile(now, made) {
    const old = new Map([...now.children].map((node) => [key(node), node]));
    let before = null;
    for (const child of made.children) {
      const there = old.get(key(child));
      let node = there;
      old.delete(key(child));
      if (!there) {
        node = adopt(child);
        if (before) before.after(node); else now.prepend(node);
      } else if (child.id === "steps") reconcile(there, child);
      else if (served.get(there) !== child.outerHTML) node = adopt(child, there);
      before = node;
    }
    for (const node of old.values()) node.remove();
  }
  function anchor() {
    const room = document.documentElement;
    if (scrollY > 0 && scrollY + innerHeight > room.scrollHeight - 60) return () => scrollTo(0, room.scrollHeight);
    const seen = [...document.querySelectorAll(".step, main > section")].find((node) => node.getBoundingClientRect().bottom > 60);
    if (!seen || !seen.id) return () => {};
    const top = seen.getBoundingClientRect().top;
    return function () {
      const again = document.getElementById(seen.id);
      if (again) scrollBy(0, again.getBoundingClientRect().top - top);
    };
  }
  let busy = false, again = false;
  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.pathname, { cache: "no-store" });
      if (!answer.ok) return;
      const made = new DOMParser().parseFromString(await answer.text(), "text/html");
      const settle = anchor();
      reconcile(main, made.getElementById("main"));
      const outline = document.querySelector(".outline"), fresh = made.querySelector(".outline");
      if (outline && fresh && outline.innerHTML !== fresh.innerHTML) {
        const at = outline.querySelector("[aria-current]");
        outline.replaceChildren(...document.importNode(fresh, true).childNodes);
        const link = at && outline.querySelector('a[href="' + CSS.escape(at.getAttribute("href")).replace("\\#", "#") + '"]');
        if (link) link.setAttribute("aria-current", "true");
      }
      document.title = made.title;
      settle();
    } catch {
      sign.textContent = "not connected"; // the next word from the server tries again
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  }

  let source = null, version = null;
  function listen() {
    source = new EventSource(location.pathname.replace(/\.html$/, ".events"));
    source.onopen = () => { sign.textContent = "live"; };
    source.onerror = () => { sign.textContent = "not connected"; };
    source.onmessage = function (event) {
      const told = JSON.parse(event.data).version;
      if (told === version) return;
      version = told;
      refresh();
    };
  }
  // A browser opens few connections to a host: a page that nobody sees needs none.
  document.addEventListener("visibilitychange", function () {
    if (document.hidden) { source.close(); source = null; } else if (!source) listen();
  });
  listen();
})();
