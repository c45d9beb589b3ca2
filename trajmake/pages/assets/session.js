// The session's table of runs, its filters, and the runs' pages where they are folded into this one.
"use strict";
const session = (function () {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const runs = data.runs.map((values, index) => {
    const run = { index };
    data.columns.forEach((name, place) => { run[name] = values[place]; });
    run.tokens = run.prompt === null && run.completion === null ? null : (run.prompt || 0) + (run.completion || 0);
    run.title = data.models[run.model].title;
    run.why = data.reasons[run.reason];
    run.lost = run.f2pTotal - run.f2p;
    run.broken = run.p2pTotal - run.p2p;
    run.text = [run.instance, data.models[run.model].name, run.title, data.ends[run.end], run.why, run.flags, run.odd, run.state].join("\n").toLowerCase();
    return run;
  });
  const split = new Set();
  {
    const seen = new Map();
    for (const run of runs) {
      const known = seen.get(run.instance) || seen.set(run.instance, new Set()).get(run.instance);
      if (run.end !== "fault") known.add(run.end === "resolved");
      if (known.size > 1) split.add(run.instance);
    }
  }

  // ---- Figures as on the rest of the page.
  const unknown = "–";
  const count = (value) => (value === null ? unknown : value.toLocaleString("en-US"));
  function usd(value) {
    if (value === null) return unknown;
    return value >= 100 ? `$${Math.round(value).toLocaleString("en-US")}` : `$${value.toFixed(value >= 1 || !value ? 2 : 4)}`;
  }
  function duration(value) {
    if (value === null) return unknown;
    const two = (number) => String(number).padStart(2, "0");
    if (value < 60) return `${value} s`;
    return value < 3600 ? `${Math.floor(value / 60)} min ${two(value % 60)} s` : `${Math.floor(value / 3600)} h ${two(Math.floor((value % 3600) / 60))} min`;
  }
  function tokens(value) {
    if (value === null || value < 10000) return count(value);
    return value < 999950 ? `${(value / 1e3).toFixed(1)}k` : `${(value / 1e6).toFixed(2)}M`;
  }

  // ---- Where a run's page is: beside this file, in Snakemake's archive, or within this page.
  const archived = data.archived && /\/data\/raw\/[0-9a-f]{16}\/[^/]+$/.test(location.pathname);
  const place = new Map(runs.map((run) => [run.page, run]));
  function href(page) {
    if (data.folded) return `#${page}`;
    return archived ? data.archived[place.get(page).model] + page.slice(page.indexOf("/") + 1) : page;
  }
  for (const link of document.querySelectorAll("a.run")) {
    const page = link.getAttribute("href");
    if (place.has(page)) link.setAttribute("href", href(page));
  }

  // ---- The table.
  const order = Object.keys(data.ends);
  const words = (a, b) => a.localeCompare(b, "en", { numeric: true });
  const columns = [
    ["End", (run) => order.indexOf(run.end)], ["Model", (run) => run.title], ["Instance", (run) => run.instance], ["Why", (run) => run.why],
    ["Steps", (run) => run.steps, 1], ["Cost", (run) => run.cost, 1], ["Time", (run) => run.seconds, 1], ["Tokens", (run) => run.tokens, 1],
    ["Patch", (run) => run.patch, 1], ["F2P", (run) => (run.f2pTotal ? run.lost : null), 1], ["P2P", (run) => (run.p2pTotal ? run.broken : null), 1],
    ["Flags", (run) => run.flags],
  ];
  const titles = { F2P: "required tests that failed before the fix: passed / all", P2P: "required tests that passed before: passed / all", Patch: "bytes", Tokens: "in and out" };
  let sorted = { column: -1, down: false };
  let shown = [];
  let written = 0;
  const CHUNK = 150;

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }
  function tests(passed, all) {
    const cell = element("td", undefined, "right");
    if (!all) { cell.append(element("span", unknown, "muted")); return cell; }
    cell.append(element("span", passed, passed < all ? "lacking" : ""), element("span", `/${all}`, "muted"));
    return cell;
  }
  function row(run) {
    const line = element("tr");
    const state = element("td");
    state.append(element("i", "", `swatch end-${run.end}`), data.ends[run.end]);
    const name = element("td", undefined, "name");
    if (run.page) {
      const link = element("a", run.instance, "run");
      link.href = href(run.page);
      name.append(link);
    } else name.textContent = run.instance;
    if (run.odd) line.title = `Quality checks failed: ${run.odd}`;
    if (run.state && run.state !== "valid") name.append(" ", element("span", run.state, "badge warn"));
    line.append(state, element("td", run.title), name, element("td", run.why, "reason"));
    for (const text of [count(run.steps), usd(run.cost), duration(run.seconds), tokens(run.tokens), count(run.patch)]) line.append(element("td", text, "right"));
    line.append(tests(run.f2p, run.f2pTotal), tests(run.p2p, run.p2pTotal), element("td", run.flags.replace(/_/g, " ")));
    return line;
  }
  function more() {
    const lines = document.createDocumentFragment();
    for (const run of shown.slice(written, written + CHUNK)) lines.append(row(run));
    written = Math.min(shown.length, written + CHUNK);
    $("runs-body").append(lines);
  }
  function fill() {
    const terms = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [model, end, other] = [$("by-model").value, $("by-end").value, $("by-more").value];
    shown = runs.filter((run) =>
      (model === "" || run.model === Number(model)) && (!end || run.end === end) &&
      (other !== "flags" || run.flags) && (other !== "odd" || run.odd) && (other !== "differ" || split.has(run.instance)) && (other !== "doubtful" || run.state !== "valid") &&
      terms.every((term) => run.text.includes(term)));
    if (sorted.column >= 0) {
      const value = columns[sorted.column][1];
      const sign = sorted.down ? -1 : 1;
      shown.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === y) return a.index - b.index;
        if (x === null || x === "") return 1; // what is not known stands last, however it is sorted
        if (y === null || y === "") return -1;
        return sign * (typeof x === "string" ? words(x, y) : x - y);
      });
    }
    $("runs-body").replaceChildren();
    written = 0;
    more();
    $("table").scrollTop = 0;
    $("none").hidden = shown.length > 0;
    $("count").textContent = shown.length === runs.length ? count(runs.length) : `${count(shown.length)} of ${count(runs.length)}`;
  }
  function sort(column) {
    const numeric = Boolean(columns[column][2]);
    sorted = sorted.column === column ? { column, down: !sorted.down } : { column, down: numeric };
    [...$("runs-head").children].forEach((cell, index) => {
      if (index === column) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    fill();
  }
  function choose({ model = "", end = "", search = "" }) {
    $("by-model").value = model;
    $("by-end").value = end;
    $("by-more").value = "";
    $("search").value = search;
    fill();
    $("runs").scrollIntoView();
  }
  columns.forEach(([name, , right], index) => {
    const cell = element("th", undefined, right ? "right" : "");
    const button = element("button", name);
    button.type = "button";
    if (titles[name]) button.title = titles[name];
    button.addEventListener("click", () => sort(index));
    cell.append(button);
    $("runs-head").append(cell);
  });
  for (const id of ["by-model", "by-end", "by-more"]) $(id).addEventListener("change", fill);
  let waiting = 0;
  $("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(fill, 60); });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(fill));
  $("table").addEventListener("scroll", () => {
    const table = $("table");
    if (written < shown.length && table.scrollTop + table.clientHeight > table.scrollHeight - 800) more();
  });
  for (const why of document.querySelectorAll(".why")) {
    why.classList.add("choose");
    why.addEventListener("click", () => choose({ search: why.dataset.reason }));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      $("search").focus();
    } else if (event.key === "Escape") {
      if (event.target === $("search")) { $("search").value = ""; fill(); $("search").blur(); } else if (opened) go("runs");
    }
  });
  fill();

  // ---- Pages that are folded into this one: unpacked when asked for, shown in a frame that can do nothing here.
  const addressed = /^(file|https?):$/.test(location.protocol); // else this page is in a report, and has no address of its own
  let opened = null, asked = 0;
  async function unpacked(page) {
    const folded = [...document.querySelectorAll("script[data-page]")].find((one) => one.dataset.page === page);
    if (!folded) return null;
    const bytes = Uint8Array.from(atob(folded.textContent), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }
  async function show(page) {
    const run = place.get(page), mine = ++asked;
    const source = run ? await unpacked(page) : null;
    if (mine !== asked) return; // the reader went on while this was unpacked
    if (opened) opened.remove();
    opened = null;
    document.documentElement.classList.toggle("paged", source !== null);
    if (source === null) {
      const part = page && $(page);
      if (part) part.scrollIntoView();
      return;
    }
    opened = element("iframe");
    opened.id = "page";
    opened.title = `${run.title} on ${run.instance}`;
    opened.setAttribute("sandbox", "allow-scripts");
    const theme = document.documentElement.dataset.theme; // the frame may not ask for what was chosen
    opened.srcdoc = theme ? source.replace("<html ", `<html data-theme="${theme}" `) : source;
    opened.addEventListener("load", () => { if (opened) opened.focus(); });
    document.body.append(opened);
  }
  function go(page) {
    if (addressed) location.hash = page;
    else show(page);
  }
  if (data.folded) {
    addEventListener("hashchange", () => show(location.hash.slice(1)));
    // The frame's own way back.
    addEventListener("message", (event) => { if (opened && event.source === opened.contentWindow && event.data === "home") go("runs"); });
    if (addressed && place.has(location.hash.slice(1))) show(location.hash.slice(1));
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link || addressed || event.defaultPrevented) return;
    event.preventDefault();
    show(link.getAttribute("href").slice(1));
  });
  return { data, runs, choose, usd, count };
})();
