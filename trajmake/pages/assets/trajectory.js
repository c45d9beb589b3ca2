// Keys, search box, outline of a run's page. Without it everything can be read all the same.
(function () {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const box = $("find"), found = $("found"), help = $("help");
  let current = null;

  function show(element) {
    if (!element) return;
    Find.reveal(element.parentElement);
    if (current) current.classList.remove("now");
    current = element;
    element.classList.add("now");
    element.scrollIntoView({ block: "start" });
    element.focus({ preventScroll: true });
    mark(element.id);
  }
  function mark(id) {
    for (const link of all(".outline a[aria-current]")) link.removeAttribute("aria-current");
    const link = document.querySelector('.outline a[href="#' + CSS.escape(id) + '"]');
    if (!link) return;
    link.setAttribute("aria-current", "true");
    const list = link.closest(".outline"), top = link.offsetTop - list.scrollTop;
    if (top < 60 || top > list.clientHeight - 60) list.scrollTop = link.offsetTop - list.clientHeight / 2;
  }
  // Where there is none, the first in sight; else the next or the one before, without going round.
  function walk(elements, by) {
    const place = elements.indexOf(current);
    if (place >= 0) return elements[Math.min(elements.length - 1, Math.max(0, place + by))];
    const here = elements.findIndex((element) => element.getBoundingClientRect().bottom > 60);
    return by > 0 ? elements[here < 0 ? elements.length - 1 : here] : elements[Math.max(0, here - 1)];
  }
  function failure(by) {
    const elements = all("[data-failure]");
    const place = elements.indexOf(current);
    show(place < 0 ? elements[by > 0 ? 0 : elements.length - 1] : elements[(place + by + elements.length) % elements.length]);
  }
  const folded = () => document.querySelector("#steps :is(.output, .command):not([open])") !== null;
  function unfold() {
    const open = folded();
    for (const fold of all("#steps :is(details.output, details.command)")) fold.open = open;
  }
  function label() {
    if ($("unfold")) $("unfold").textContent = folded() ? "Open all outputs" : "Fold all outputs";
  }
  let labelling = 0;
  $("steps").addEventListener("toggle", function () {
    cancelAnimationFrame(labelling);
    labelling = requestAnimationFrame(label);
  }, true);
  label();
  function say(state) {
    const count = state.count.toLocaleString("en") + (state.more ? "+" : "");
    found.textContent = !box.value ? "" : !state.count ? "nothing" : state.at < 0 ? count + " found" : state.at + 1 + " of " + count;
  }
  function toggle() {
    if (help.open) help.close(); else help.showModal();
  }

  let waiting = 0, searched = "";
  function search() {
    clearTimeout(waiting);
    if (box.value === searched) return;
    searched = box.value;
    say(Find.search(searched));
  }
  box.addEventListener("input", function () {
    clearTimeout(waiting);
    waiting = setTimeout(search, 150);
  });
  function go(by) {
    search();
    say(Find.go(by));
  }
  box.addEventListener("keydown", function (event) {
    if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      box.value = "";
      search();
      box.blur();
    } else return;
    event.preventDefault();
  });
  $("next").addEventListener("click", () => go(1));
  $("before").addEventListener("click", () => go(-1));
  $("keys").addEventListener("click", toggle);
  if ($("unfold")) $("unfold").addEventListener("click", unfold);

  const keys = {
    j: () => show(walk(all(".step"), 1)), k: () => show(walk(all(".step"), -1)),
    f: () => failure(1), F: () => failure(-1), "/": () => box.select(), o: unfold, d: () => $("theme").click(), "?": toggle,
    t: () => show($("tests")), p: () => show($("patch")), s: () => show($("steps")),
  };
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (help.open && event.key !== "?") return;
    const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
    if (!act) return;
    event.preventDefault();
    act();
  });
  function arrive() {
    const target = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches(".step, .test")) show(target);
    else if (target) mark(target.id);
  }
  addEventListener("hashchange", arrive);
  arrive();
})();
