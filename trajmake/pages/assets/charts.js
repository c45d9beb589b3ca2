// The session's charts, drawn by Vega-Lite. Expressions are interpreted (`ast`), since the page forbids `eval`.
"use strict";
(function () {
  const { data, runs, choose, usd, count } = session;
  const $ = (id) => document.getElementById(id);
  const ends = Object.keys(data.ends).filter((end) => runs.some((run) => run.end === end));
  const titles = data.models.map((model) => model.title);
  const tip = $("tip");
  let views = [];

  // ---- Colours are the style sheet's, as it has them for now: light or dark.
  function colours() {
    const probe = document.createElement("i");
    document.body.append(probe);
    const read = (name) => { probe.className = name; return getComputedStyle(probe); };
    const found = {
      ends: ends.map((end) => read(`end-${end}`).backgroundColor),
      ink: getComputedStyle(document.body).color,
      muted: read("muted").color,
      accent: getComputedStyle(document.querySelector("a")).color,
      line: getComputedStyle(document.querySelector(".panel")).borderTopColor,
      panel: getComputedStyle(document.querySelector(".panel")).backgroundColor,
      font: getComputedStyle(document.body).fontFamily,
    };
    probe.remove();
    return found;
  }
  function house(colour) {
    return {
      background: null,
      font: colour.font,
      padding: { left: 2, right: 8, top: 4, bottom: 2 },
      view: { stroke: null },
      axis: { labelColor: colour.muted, titleColor: colour.muted, gridColor: colour.line, domainColor: colour.line, tickColor: colour.line,
        labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", labelLimit: 150, titlePadding: 6 },
      header: { labelColor: colour.ink, titleColor: colour.muted, labelFontSize: 11, labelLimit: 130 },
      legend: { labelColor: colour.muted, titleColor: colour.muted, labelFontSize: 11 },
      text: { color: colour.ink, fontSize: 11 },
    };
  }
  const scale = (colour) => ({ domain: ends, range: colour.ends });

  // ---- What is drawn.
  function outcomes(colour, width) {
    const values = data.models.flatMap((model) => ends.map((end) => ({ model: model.title, end, order: ends.indexOf(end), runs: model.ends[end] || 0 })));
    return {
      width, height: { step: Math.max(22, Math.min(84, 210 / data.models.length)) }, data: { values: values.filter((value) => value.runs) },
      mark: { type: "bar", cursor: "pointer", stroke: colour.panel, strokeWidth: 1, height: { band: 0.66 } },
      encoding: {
        y: { field: "model", type: "nominal", sort: titles, title: null, axis: { ticks: false, domain: false, labelColor: colour.ink } },
        x: { field: "runs", type: "quantitative", stack: "zero", title: "runs", axis: { tickMinStep: 1, tickCount: 6 } },
        color: { field: "end", type: "nominal", scale: scale(colour), legend: null },
        order: { field: "order", type: "ordinal" },
      },
    };
  }
  function money(colour, width) {
    const values = data.models.filter((model) => model.judged).map((model) => ({ kind: "model", name: model.title, title: model.title, cost: model.cost_usd, rate: model.resolved_rate,
      low: model.interval[0], high: model.interval[1], resolved: model.resolved, judged: model.judged, unknown: model.unknown_costs }));
    const middle = Math.max(...values.map((value) => value.cost)) / 2;
    const x = { field: "cost", type: "quantitative", title: "cost of all runs, $", scale: { zero: true, nice: true }, axis: { tickCount: 6 } };
    const y = { field: "rate", type: "quantitative", title: "resolved, %", scale: { domain: [0, 100] }, axis: { tickCount: 5 } };
    return {
      width, height: 210, data: { values },
      layer: [
        { mark: { type: "rule", strokeWidth: 3, opacity: 0.35, color: colour.ends[0] }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" } } },
        { mark: { type: "point", filled: true, size: 90, opacity: 1, color: colour.ends[0], stroke: colour.panel }, encoding: { x, y } },
        // A name stands on the side where there is room.
        { transform: [{ filter: `datum.cost <= ${middle}` }], mark: { type: "text", align: "left", dx: 10, limit: 160 }, encoding: { x, y, text: { field: "title" } } },
        { transform: [{ filter: `datum.cost > ${middle}` }], mark: { type: "text", align: "right", dx: -10, limit: 160 }, encoding: { x, y, text: { field: "title" } } },
      ],
    };
  }
  function spread(field, title, units) {
    return (colour, width) => {
      const known = runs.filter((run) => run[field] !== null);
      const most = known.reduce((top, run) => Math.max(top, run[field]), 0);
      const [, each, unit] = units.find(([upTo]) => most <= upTo);
      return {
        data: { values: known.map((run) => ({ model: run.title, end: run.end, order: ends.indexOf(run.end), value: run[field] / each, unit })) },
        transform: [{ bin: { maxbins: 48, ...(each === 1 && { minstep: 1 }) }, field: "value", as: ["from", "to"] },
          { aggregate: [{ op: "count", as: "runs" }], groupby: ["model", "end", "order", "unit", "from", "to"] }],
        facet: { row: { field: "model", type: "nominal", sort: titles, title: null, header: { labelAngle: 0, labelAlign: "left", labelAnchor: "middle", labelPadding: 6 } } },
        spacing: 8,
        spec: {
          width: Math.max(120, width - 118), height: Math.max(44, Math.min(96, 216 / titles.length)),
          mark: { type: "bar", binSpacing: 1 },
          encoding: {
            x: { field: "from", type: "quantitative", bin: { binned: true }, title: [title, unit].filter(Boolean).join(", "), axis: { tickCount: 8, ...(each === 1 && { tickMinStep: 1 }) } },
            x2: { field: "to" },
            y: { field: "runs", type: "quantitative", title: null, stack: "zero", axis: { tickCount: 3, tickMinStep: 1 } },
            color: { field: "end", type: "nominal", scale: scale(colour), legend: null },
            order: { field: "order", type: "ordinal" },
          },
        },
        resolve: { scale: { y: "independent" } },
      };
    };
  }
  const CHARTS = [
    ["chart-ends", outcomes], ["chart-cost", money],
    ["chart-seconds", spread("seconds", "time of a run", [[180, 1, "seconds"], [14400, 60, "minutes"], [Infinity, 3600, "hours"]])], ["chart-steps", spread("steps", "steps of a run", [[Infinity, 1, ""]])],
  ];

  // ---- What is said of a mark. Text only: names come from datasets and settings.
  function said(datum) {
    if (datum.kind === "model") {
      return [datum.name, `${datum.resolved} of ${datum.judged} resolved: ${datum.rate} % (${datum.low} – ${datum.high})`,
        `${usd(datum.cost)}${datum.unknown ? ` and ${datum.unknown} runs of unknown price` : ""}`];
    }
    if (datum.from !== undefined) {
      const [a, b] = [datum.from, datum.to].map((edge) => Number(edge.toFixed(3)));
      return [datum.model, `${data.ends[datum.end]}: ${count(datum.runs)} runs`, `${b - a === 1 && !datum.unit ? a : `${a} up to ${b}`} ${datum.unit || "steps"}`];
    }
    if (datum.runs === undefined) return null;
    const all = runs.filter((run) => run.title === datum.model).length;
    return [datum.model, `${data.ends[datum.end]}: ${count(datum.runs)} of ${count(all)} runs (${((100 * datum.runs) / all).toFixed(1)} %)`];
  }
  function point(handler, event, item) {
    const lines = item && item.datum && said(item.datum);
    tip.hidden = !lines;
    if (!lines) return;
    tip.replaceChildren(...lines.map((line, index) => { const made = document.createElement(index ? "span" : "b"); made.textContent = line; return made; }));
    const right = event.clientX + tip.offsetWidth + 24 > innerWidth;
    tip.style.left = `${right ? event.clientX - tip.offsetWidth - 12 : event.clientX + 14}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  }

  async function draw() {
    const colour = colours();
    for (const view of views) view.finalize();
    views = [];
    for (const [id, spec] of CHARTS) {
      const width = $(id).clientWidth - (id === "chart-ends" ? 130 : id === "chart-cost" ? 66 : 24);
      const options = { ast: true, actions: false, defaultStyle: false, renderer: "canvas", config: house(colour), tooltip: () => {}, logLevel: vega.Error };
      const { view } = await vegaEmbed($(id), { $schema: "https://vega.github.io/schema/vega-lite/v5.json", autosize: { type: "pad" }, ...spec(colour, Math.max(160, width)) }, options);
      view.addEventListener("mousemove", (event, item) => point(null, event, item));
      view.addEventListener("mouseout", () => { tip.hidden = true; });
      view.addEventListener("click", (event, item) => {
        const datum = item && item.datum;
        if (id === "chart-ends" && datum && datum.end) choose({ model: String(titles.indexOf(datum.model)), end: datum.end });
      });
      views.push(view);
    }
    document.documentElement.dataset.drawn = "yes";
  }
  let queue = draw();
  const again = () => { queue = queue.then(draw); };
  document.documentElement.addEventListener("themechange", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let waiting = 0;
  let width = innerWidth;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => { if (innerWidth !== width) { width = innerWidth; again(); } }, 200); });
})();
