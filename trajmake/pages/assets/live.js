// The picture of a session, kept up to date by server-sent events. Texts come in as texts, never as HTML.
(function () {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const phases = {
    running: ["Running", "busy"], complete: ["Complete", "good"],
    faults: ["Ended with faults", "warn"], stopped: ["Stopped", "warn"],
  };
  let picture = null;
  let nodes = [];
  let ahead = 0; // seconds by which the server's clock is
  let only = null; // the state that the legend shows alone

  function make(name, className, text) {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function set(id, text) { const node = $(id); if (node.textContent !== text) node.textContent = text; }
  function figure(id, main, small) {
    const key = main + "|" + (small || "");
    const node = $(id);
    if (node.dataset.key === key) return;
    node.dataset.key = key;
    node.replaceChildren(main);
    if (small) node.append(" ", make("small", "", small));
  }
  const percent = (part, whole) => (whole ? Math.round((100 * part) / whole) + "%" : "");
  const usd = (value) => (value === null ? "?" : value.toFixed(value >= 1 ? 2 : 4));
  function span(seconds) {
    const minutes = Math.round(seconds / 60);
    if (seconds < 60) return Math.round(seconds) + " s";
    if (minutes < 60) return minutes + " min";
    if (minutes < 2880) return Math.floor(minutes / 60) + " h " + String(minutes % 60).padStart(2, "0") + " min";
    return Math.floor(minutes / 1440) + " d " + Math.floor((minutes % 1440) / 60) + " h";
  }
  function elapsed(since) {
    const all = Math.max(0, Math.floor(Date.now() / 1000 + ahead - since));
    const two = (number) => String(number).padStart(2, "0");
    const hours = Math.floor(all / 3600);
    return (hours ? hours + ":" + two(Math.floor(all / 60) % 60) : Math.floor(all / 60)) + ":" + two(all % 60);
  }
  const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const day = (at) => new Date(at * 1000).toLocaleDateString([], { month: "short", day: "numeric" });

  function cellLink(run, name) {
    const link = make("a", "", name);
    link.href = run.page.split("/").map(encodeURIComponent).join("/") + ".html";
    return link;
  }

  function build() {
    const count = picture.instances.length;
    const size = count <= 300 ? "" : count <= 1000 ? " medium" : " small";
    nodes = [];
    const rows = picture.models.map((model, row) => {
      const block = make("div", "model");
      const words = make("div");
      words.append(make("h3", "", model.name), make("p"));
      const cells = make("div", "cells" + size);
      nodes.push(picture.cells[row].map((state, column) => {
        const node = make("a");
        node.href = [model.name, picture.instances[column][1]].map(encodeURIComponent).join("/") + ".html";
        node.dataset.row = row;
        node.dataset.column = column;
        paint(node, state);
        return node;
      }));
      cells.append(...nodes[row]);
      block.append(words, cells);
      return block;
    });
    $("models").replaceChildren(...rows);
    $("runs").hidden = !count;
    filter();
  }
  function paint(node, state) {
    const found = picture.states[state];
    node.className = found ? "s-" + found.name : "none";
    node.textContent = found ? found.sign : "";
    if (found) node.setAttribute("aria-label", picture.instances[node.dataset.column][0] + ": " + found.meaning);
  }
  function filter() {
    const words = $("filter").value.trim().toLowerCase();
    const fits = picture.instances.map(([name]) => !words || name.toLowerCase().includes(words));
    nodes.forEach((row, r) => row.forEach((node, c) => {
      const state = picture.states[picture.cells[r][c]];
      node.classList.toggle("out", !fits[c] || (only !== null && (!state || state.name !== only)));
    }));
  }

  function legend() {
    const known = picture.states.filter((state) => picture.counts[state.name]);
    const share = known.map((state) => {
      const part = make("i", "s-" + state.name);
      part.style.flexGrow = picture.counts[state.name];
      part.title = picture.counts[state.name] + " " + state.meaning;
      return part;
    });
    $("share").replaceChildren(...share);
    const key = JSON.stringify([picture.counts, only]);
    if ($("legend").dataset.key === key) return;
    $("legend").dataset.key = key;
    const focused = document.activeElement && document.activeElement.dataset.state;
    $("legend").replaceChildren(...known.map((state) => {
      const button = make("button");
      button.type = "button";
      button.dataset.state = state.name;
      button.setAttribute("aria-pressed", String(only === state.name));
      button.append(make("span", "chip s-" + state.name, state.sign), make("b", "", String(picture.counts[state.name])), state.meaning);
      return button;
    }));
    if (focused) { const again = $("legend").querySelector(`[data-state="${focused}"]`); if (again) again.focus(); }
  }

  function figures() {
    const [word, kind] = phases[picture.phase];
    set("phase", word);
    $("phase").className = "badge " + kind;
    set("driver", picture.driver ? "driven by " + picture.driver : "nobody drives it now");
    figure("f-ended", String(picture.ended), "of " + picture.total);
    figure("f-resolved", String(picture.resolved), "of " + picture.judged + (picture.judged ? " · " + percent(picture.resolved, picture.judged) : ""));
    figure("f-spent", usd(picture.spent_usd), (picture.budget_usd ? "of " + picture.budget_usd + " " : "") + "USD" + (picture.unpriced_answers ? " + " + picture.unpriced_answers + " unpriced" : ""));
    const used = picture.budget_usd && picture.spent_usd !== null ? picture.spent_usd / picture.budget_usd : 0;
    $("m-spent").hidden = !picture.budget_usd;
    $("m-spent").classList.toggle("warn", used >= 0.8);
    $("m-spent").firstElementChild.style.width = Math.min(100, 100 * used) + "%";
    figure("f-answers", picture.answers === null ? "?" : picture.answers.toLocaleString("en"));
    const going = picture.phase === "running";
    figure("f-rate", going ? (picture.runs_per_hour === null ? "?" : String(Number(picture.runs_per_hour.toPrecision(3)))) : "–", going ? "runs/h" : "");
    const left = picture.ended === picture.total ? "summaries" : picture.seconds_left === null ? "?" : "~ " + span(picture.seconds_left);
    figure("f-left", going ? left : "–");
    figure("f-since", picture.started ? clock(picture.started) : "–", picture.started ? day(picture.started) : "");
    document.title = "(" + picture.ended + "/" + picture.total + ") " + picture.session + " · live · Trajmake";
  }

  function running() {
    $("running").hidden = !picture.running.length;
    set("n-running", String(picture.running.length));
    rows($("t-running"), picture.running, (run, row) => {
      const cells = row.children.length ? [...row.children] : [make("td", "name"), make("td", "name"), make("td", "right"), make("td", "right"), make("td", "one mono wide")];
      if (!row.children.length) {
        cells[0].textContent = run.model;
        cells[1].append(cellLink(run, run.instance));
        row.append(...cells);
      }
      cells[2].dataset.since = run.since;
      cells[2].textContent = run.since ? elapsed(run.since) : "?";
      cells[3].textContent = run.step;
      cells[4].textContent = run.command;
      cells[4].title = run.command;
    });
  }
  function latest() {
    $("latest").hidden = !picture.latest.length;
    rows($("t-latest"), picture.latest, (run, row) => {
      const state = picture.states.find((one) => one.name === run.state);
      const name = make("td", "name");
      name.append(cellLink(run, run.instance));
      const shown = make("td", "name");
      const chip = make("span", "chip s-" + run.state, state.sign);
      chip.style.display = "inline-block";
      shown.append(chip, " " + state.meaning + (run.why ? ": " + run.why : ""));
      const numbers = [run.seconds === null ? "" : span(run.seconds), run.steps === null ? "" : run.steps, run.cost_usd === null ? "?" : usd(run.cost_usd), clock(run.ended)];
      row.replaceChildren(make("td", "name", run.model), name, shown, ...numbers.map((text) => make("td", "right", String(text))));
    });
  }
  // A row stays the same node while its run is in the table, so that nothing jumps under the pointer.
  function rows(body, runs, fill) {
    const old = new Map([...body.children].map((row) => [row.dataset.page, row]));
    const now = runs.map((run) => {
      const row = old.get(run.page) || make("tr");
      row.dataset.page = run.page;
      fill(run, row);
      return row;
    });
    now.forEach((row, place) => { if (body.children[place] !== row) body.insertBefore(row, body.children[place] || null); });
    while (body.children.length > now.length) body.lastElementChild.remove();
  }
  function gpus() {
    $("gpus").hidden = !picture.gpus.length;
    const gib = (mib) => (mib / 1024).toFixed(1);
    $("t-gpus").replaceChildren(...picture.gpus.map((gpu) => {
      const block = make("div");
      const meter = make("span", "meter");
      meter.append(make("i"));
      meter.firstElementChild.style.width = (gpu.percent || 0) + "%";
      const memory = gpu.memory_mib === null || gpu.total_mib === null ? "" : gib(gpu.memory_mib) + " of " + gib(gpu.total_mib) + " GiB";
      block.append(make("span", "", gpu.name), meter, make("span", "right", gpu.percent === null ? "?" : Math.round(gpu.percent) + "%"), make("span", "muted right", memory));
      return block;
    }));
  }

  function take(news) {
    if (news.changed) {
      const { changed, ...rest } = news;
      Object.assign(picture, rest);
      for (const [row, column, state] of changed) {
        picture.cells[row][column] = state;
        paint(nodes[row][column], state);
      }
      if (changed.length) filter();
    } else {
      picture = news;
      build();
    }
    ahead = picture.at - Date.now() / 1000;
    legend(); figures(); running(); latest(); gpus();
    picture.models.forEach((model, row) => {
      const words = $("models").children[row].querySelector("p");
      const ended = picture.cells[row].filter((state) => state >= 0 && picture.states[state].ended).length;
      const text = model.resolved + " resolved · " + ended + " of " + picture.cells[row].filter((state) => state >= 0).length + " ended";
      if (words.textContent !== text) words.textContent = text;
    });
  }

  $("legend").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    only = only === button.dataset.state ? null : button.dataset.state;
    legend(); filter();
  });
  $("filter").addEventListener("input", filter);
  const hint = $("hover").textContent;
  $("models").addEventListener("pointerover", (event) => {
    const node = event.target.closest("a[data-row]");
    const state = node && picture.states[picture.cells[node.dataset.row][node.dataset.column]];
    set("hover", state ? picture.models[node.dataset.row].name + " / " + picture.instances[node.dataset.column][0] + ": " + state.meaning : hint);
  });
  $("models").addEventListener("pointerleave", () => set("hover", hint));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    if (event.key === "/") { event.preventDefault(); $("filter").focus(); }
    if (event.key === "d") $("theme").click();
  });
  setInterval(() => document.querySelectorAll("#t-running [data-since]").forEach((node) => {
    if (Number(node.dataset.since)) node.textContent = elapsed(Number(node.dataset.since));
  }), 1000);

  let source = null;
  function listen() {
    source = new EventSource("events");
    source.onopen = () => { set("link", "live"); $("link").className = "link small muted on"; };
    source.onerror = () => { set("link", "not connected"); $("link").className = "link small muted off"; };
    source.onmessage = (event) => take(JSON.parse(event.data));
  }
  // A browser opens few connections to a host: a page that nobody sees needs none.
  document.addEventListener("visibilitychange", function () {
    if (document.hidden) { source.close(); source = null; } else if (!source) listen();
  });
  listen();
})();
