"use strict";
/* The page of a report: a table (DataTables), plots (Vega-Lite, described in charts), a dialog.
   Text from records goes into text nodes and, in cells, through DataTables' own escaping alone. */
(() => {
  const MISSING = "\u2013";
  const FOLLOW_MILLISECONDS = 3000;
  const byId = (id) => document.getElementById(id);
  let page = JSON.parse(byId("content").textContent);
  const charts = page.charts;
  const hash = new URLSearchParams(location.hash.slice(1));
  const chosen = Object.fromEntries(hash);
  let table;
  let settingsShown = new Set();

  // ---- elements and text

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  const known = (value) => value !== null && value !== undefined;
  const written = (value, form) => (known(value) ? form(value) : MISSING);
  const fixed = (digits) => (value) => written(value, (x) => x.toFixed(digits));
  const percent = (value) => written(value, (x) => `${x < 0 ? "" : "+"}${x.toFixed(1)} %`);
  const times = (value) => written(value, (x) => `${x.toFixed(1)}x`);
  const grouped = (value) => written(value, (x) => x.toLocaleString("en"));
  const duration = (value) => written(value, (s) =>
    s < 10 ? `${s.toFixed(1)} s` : s < 120 ? `${s.toFixed(0)} s` : `${(s / 60).toFixed(1)} min`);
  const count = (value) => written(value, (n) =>
    n >= 1e6 ? `${(n / 1e6).toFixed(2)} M` : n >= 1e3 ? `${(n / 1e3).toFixed(2)} k` : String(n));
  const probability = (value) => written(value, (p) => (p < 0.001 ? "<0.001" : p.toFixed(3)));

  // ---- what is shown

  const metric = () => page.metrics.find((each) => each.name === chosen.metric) || page.metrics[0];
  const of = (entry) => entry.by[metric().name] || {};
  const FILTERS = {
    dataset: { label: "Dataset", of: (entry) => entry.dataset },
    student: { label: "Student", of: (entry) => entry.student },
    teacher: { label: "Teacher", of: (entry) => entry.kind === "baseline" ? null : teacherOf(entry) },
    controls: { label: "Controls", of: (entry) => entry.kind === "trial" && entry.teacher ? (entry.control ? "on" : "off") : null },
    seen: { label: "Items seen before", of: (entry) => ({ rank: "ranked", mask: "masked" })[entry.seen] },
    protocol: { label: "Protocol", of: (entry) => entry.protocol, spare: true },
    objective: { label: "Objective", of: (entry) => entry.objective, spare: true },
    selection: { label: "Epochs chosen on", of: (entry) => ({ oracle: "test" })[entry.selection] || entry.selection, spare: true },
  };

  function teacherOf(entry) {
    if (!known(entry.teacher)) return null;
    return entry.control ? entry.teacher.slice(0, -(entry.control.length + 3)) : entry.teacher;
  }

  // What has no student, teacher or control is what the others are compared with: it stays.
  function passes(entry) {
    return Object.entries(FILTERS).every(([name, filter]) => {
      const value = filter.of(entry);
      return !chosen[name] || !known(value) || value === chosen[name];
    });
  }

  function remember() {
    const state = Object.entries(chosen).filter(([, value]) => value);
    history.replaceState(null, "", state.length ? `#${new URLSearchParams(state)}` : "#");
  }

  function selection(label, name, values, whole) {
    const field = element("select", { name, id: `choose-${name}` });
    if (whole) field.append(element("option", { value: "" }, whole));
    for (const [value, text] of values) field.append(element("option", { value }, text));
    field.value = chosen[name] || "";
    if (field.selectedIndex < 0) field.selectedIndex = 0;
    field.disabled = values.length < 2;
    if (field.disabled) field.selectedIndex = field.options.length - 1;
    field.addEventListener("change", () => { chosen[name] = field.value; remember(); show(); });
    return element("label", {}, label, field);
  }

  function drawFilters() {
    const fields = [selection("Metric", "metric", page.metrics.map((each) => [each.name, each.label]))];
    for (const [name, filter] of Object.entries(FILTERS)) {
      const values = [...new Set(page.entries.map(filter.of).filter(known))].sort();
      if (filter.spare && values.length < 2) delete chosen[name];
      else fields.push(selection(filter.label, name, values.map((v) => [v, v]), "all"));
    }
    byId("filters").replaceChildren(...fields);
  }

  // ---- the table of entries

  // Whether entries of one dataset differ in a field: then it needs a column.
  const varies = (name) => [...groupedBy(page.entries.filter((entry) => known(entry[name])), (entry) => entry.dataset).values()]
    .some((group) => new Set(group.map((entry) => entry[name])).size > 1);
  const text = (title, value, priority, also) => ({ title, priority, value: (entry) => value(entry) ?? "", text: (entry) => value(entry) ?? MISSING, ...also });
  const number = (title, value, form, priority, also) => ({ title, priority, numeric: true, value: (entry) => value(entry) ?? null, text: (entry) => form(value(entry), entry), ...also });

  // A baseline or teacher is compared where one setting of its data is shown.
  function gainOf(entry) {
    if (entry.kind === "trial") return of(entry).gain;
    const beside = page.references.filter((each) => each.entry === entry.id && each.metric === metric().name && settingsShown.has(each.setting));
    return beside.length === 1 ? beside[0].gain : null;
  }

  function columns() {
    const against = `vs ${page.against}`;
    return [
      text("Dataset", (e) => e.dataset, 4),
      ...(varies("protocol") ? [text("Protocol", (e) => e.protocol, 20)] : []),
      ...(varies("seen") ? [text("Seen items", FILTERS.seen.of, 12)] : []),
      text("Student", (e) => e.student, 5),
      ...(varies("objective") ? [text("Objective", (e) => e.objective, 9)] : []),
      text("Method", (e) => e.label, 1, { opens: true }),
      text("Teacher", (e) => e.teacher, 3, { wraps: true }),
      number("Seeds", (e) => e.kind === "trial" ? e.n : null, (n, e) => written(n, () => e.failed ? `${n} of ${n + e.failed}` : String(n)), 15),
      number(metric().label, (e) => of(e).mean, (x, e) => known(of(e).std) ? `${fixed(4)(x)} \u00b1 ${fixed(4)(of(e).std)}` : fixed(4)(x), 6),
      number(against, gainOf, (x, e) => percent(x) + (of(e).significant ? " *" : ""), 2),
      number("95 %", (e) => of(e).low, (x, e) => known(x) ? `${percent(x).replace(" %", "")} to ${percent(of(e).high)}` : MISSING, 10),
      number("p", (e) => of(e).p_holm, probability, 11),
      number("Training", (e) => e.train_vs_none, times, 7),
      number("Parameters", (e) => e.parameters, count, 13),
      number("Latency", (e) => e.latency_ms, (x) => written(x, (ms) => `${ms.toFixed(2)} ms`), 14),
    ];
  }

  function drawTable() {
    const shape = columns();
    if (table) table.destroy();
    const head = element("tr", {}, ...shape.map((column) => element("th", { scope: "col" }, column.title)));
    byId("entries").replaceChildren(element("thead", {}, head));
    table = new DataTable("#entries", {
      data: page.entries,
      columns: shape.map((column) => ({
        data: null,
        type: column.numeric ? "num" : "string",
        className: column.numeric ? "dt-right" : column.opens || column.wraps ? "dt-left wraps" : "dt-left",
        responsivePriority: column.priority,
        orderSequence: column.numeric ? ["desc", "asc", ""] : ["asc", "desc", ""],
        render: (_, kind, entry) => cell(column, kind, entry),
      })),
      order: [],
      pageLength: 25,
      deferRender: true,
      responsive: true,
      autoWidth: false,
      layout: { topStart: "pageLength", topEnd: "search", bottomStart: "info", bottomEnd: "paging" },
      language: { search: "Find", lengthMenu: "_MENU_ lines", emptyTable: "No results.", zeroRecords: "Nothing matches." },
    });
    table.search.fixed("filters", (_, entry) => passes(entry));
    table.draw();
  }

  function cell(column, kind, entry) {
    if (kind === "sort" || kind === "type") {
      const value = column.value(entry);
      return column.numeric && value === null ? -Infinity : value;
    }
    if (kind !== "display") return column.text(entry);
    return column.opens ? opener(entry.id, column.text(entry)) : DataTable.util.escapeHtml(column.text(entry));
  }

  function opener(id, name) {
    const made = element("button", { type: "button", className: "link" }, name);
    made.dataset.entry = id;
    return made;
  }

  // ---- plots

  const THEME = {
    background: "transparent", font: "system-ui, 'DejaVu Sans', sans-serif", view: { stroke: null },
    axis: { labelColor: "currentColor", titleColor: "currentColor", gridColor: "#8884", domainColor: "#8888", tickColor: "#8888", labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" },
    legend: { labelColor: "currentColor", titleColor: "currentColor", labelFontSize: 11 },
  };

  function plot(place, name, values, change) {
    const spec = structuredClone(charts[name]);
    spec.data.values = values;
    change(spec);
    return vegaEmbed(place, spec, {
      ast: true, renderer: "svg", config: THEME, mode: "vega-lite", tooltip: { theme: "custom" },
      actions: { export: true, source: false, compiled: false, editor: false }, downloadFileName: name, logLevel: vega.Error,
    }).then(() => place.querySelector("summary").setAttribute("aria-label", "Save this plot"));
  }

  // A plot is drawn when it comes near the screen: a folder may hold many settings.
  const waiting = new Map();
  const watcher = new IntersectionObserver((seen) => {
    for (const each of seen.filter((one) => one.isIntersecting)) {
      watcher.unobserve(each.target);
      waiting.get(each.target)?.();
      waiting.delete(each.target);
    }
  }, { rootMargin: "300px" });

  function card(title, draw, ...below) {
    const place = element("div", { className: "plot" });
    const figure = element("figure", {}, element("h3", {}, title), place, ...below);
    waiting.set(figure, () => draw(place));
    watcher.observe(figure);
    return figure;
  }

  function cards(id, made) {
    for (const old of byId(id).querySelectorAll("figure")) { watcher.unobserve(old); waiting.delete(old); }
    byId(id).querySelector(".cards").replaceChildren(...made);
    byId(id).hidden = made.length === 0;
  }

  const groupedBy = (entries, key) => {
    const found = new Map();
    for (const each of entries) found.set(key(each), [...(found.get(key(each)) || []), each]);
    return found;
  };

  function nameOf(entry, among) {
    const several = among.filter((each) => each.label === entry.label && !each.control).length > 1;
    const teacher = several && teacherOf(entry) ? ` (${teacherOf(entry)})` : "";
    return `${entry.label}${teacher}`;
  }

  function drawGains(shown) {
    const compared = shown.filter((entry) => known(of(entry).gain));
    const settings = groupedBy(compared, (entry) => entry.setting);
    cards("gains", [...settings].filter(([, group]) => group.some((e) => !e.control)).map(([setting, group]) =>
      card(page.settings[setting].title, (place) => plot(place, "gains", gainsOf(setting, group), (spec) => {
        spec.encoding.y.sort = spec.data.values.map((row) => row.name);
        spec.layer[2].encoding.x.title = `${metric().label} vs ${page.against}, %`;
        spec.description = `Gains over ${page.against} in ${page.settings[setting].title}; the table of entries has the same numbers.`;
      }))));
  }

  function gainsOf(setting, group) {
    const methods = group.filter((entry) => !entry.control);
    const rows = methods.map((entry) => ({
      what: "method", id: entry.id, gain: of(entry).gain, low: of(entry).low, high: of(entry).high, sure: of(entry).significant,
      name: nameOf(entry, methods) + (known(entry.train_vs_none) ? ` \u00b7 ${times(entry.train_vs_none)}` : ""),
    }));
    const names = new Map(rows.map((row) => [row.id, row.name]));
    const references = page.references.filter((each) => each.setting === setting && each.metric === metric().name);
    rows.push(...references.map((each) => ({ what: "reference", gain: each.gain, name: each.name })));
    rows.sort((one, other) => other.gain - one.gain);
    for (const entry of group) {
      if (entry.control && names.has(entry.counterpart)) {
        rows.push({ what: "control", gain: of(entry).gain, name: names.get(entry.counterpart), control: entry.control });
      }
    }
    for (const row of rows) row.told = `${row.name}${row.control ? ` (${row.control})` : ""}: ${percent(row.gain)}`;
    return rows;
  }

  function drawRanks() {
    const shown = page.ranks.filter((each) => each.metric === metric().name && (!chosen.student || each.student === chosen.student));
    cards("ranks", shown.map((each) => card(`${each.title} \u00b7 ${each.datasets.length} datasets`, (place) => {
      const names = each.lines.map((line) => `${line.method}${line.teacher ? ` (${line.teacher})` : ""}`);
      return plot(place, "ranks", each.lines.map((line, index) => ({
        name: names[index], mean: line.mean, low: line.mean - each.critical / 2, high: line.mean + each.critical / 2, first: index === 0,
        told: `${names[index]}: average rank ${line.mean.toFixed(2)}${line.told ? ", the first can be told from it" : ""}`,
      })), (spec) => {
        spec.encoding.y.sort = names;
        spec.encoding.x.scale.domain = [0.5, names.length + 0.5];
        spec.encoding.x.title = `average rank in ${metric().label}`;
        spec.description = `Average ranks over ${each.datasets.join(", ")}; the table below has the same numbers.`;
      });
    }, grid(["Method", "Teacher", "Average rank", ...each.datasets], each.lines.map((line) => [
      line.method, line.teacher || MISSING, line.mean.toFixed(2) + (line.told ? " *" : ""), ...line.of.map(String),
    ]), "named"), element("figcaption", {}, each.note))));
  }

  const ACROSS = {
    train_vs_none: ["training as a multiple of none's", (e) => e.method === "none" ? 1 : e.train_vs_none, "~g"],
    train_seconds: ["training, seconds", (e) => e.train_seconds, "~g"],
    latency_ms: ["latency of a request, ms", (e) => e.latency_ms, "~g"],
    parameters: ["parameters of the student", (e) => e.parameters, "~s"],
  };

  function drawCosts(shown) {
    const [label, cost, format] = ACROSS[chosen.cost] || ACROSS.train_vs_none;
    const scores = chosen.worth === "score";
    const up = scores ? metric().label : `${metric().label} vs ${page.against}, %`;
    const worth = (entry) => scores ? of(entry).mean : entry.method === page.against && known(of(entry).mean) ? 0 : of(entry).gain;
    const usable = shown.filter((entry) => entry.kind === "trial" && !entry.control && known(cost(entry)) && known(worth(entry)));
    const tables = groupedBy(usable, (entry) => page.settings[entry.setting].table + entry.seen);
    cards("costs", [...tables.values()].map((group) => {
      const title = page.settings[group[0].setting].table_title;
      return card(title, (place) => plot(place, "cost", group.map((entry) => ({
        x: cost(entry), y: worth(entry), student: entry.student, name: nameOf(entry, group.filter((e) => e.setting === entry.setting)),
        told: `${entry.student} ${nameOf(entry, group)}: ${scores ? fixed(4)(of(entry).mean) : percent(worth(entry))}, ${label}: ${Number(cost(entry).toPrecision(3)).toLocaleString("en")}`,
      })), (spec) => {
        spec.encoding.x.title = label;
        spec.encoding.x.axis.format = format;
        spec.encoding.y.title = up;
        spec.description = `${up} against ${label} in ${title}.`;
      }));
    }));
    byId("costs").hidden = !shown.some((entry) => entry.kind === "trial" && known(of(entry).mean));
    if (!usable.length) byId("costs").querySelector(".cards").replaceChildren("No entry has both: choose another cost, or the score itself.");
    byId("costs").querySelector(".choices").replaceChildren(
      selection("Cost", "cost", Object.entries(ACROSS).map(([name, [words]]) => [name, words])),
      selection("Worth", "worth", [["gain", `gain over ${page.against}`], ["score", "score itself"]]),
    );
  }

  // ---- one entry

  function detailsOf(id) {
    const block = byId(`entry-${id}`);
    if (block) return Promise.resolve(JSON.parse(block.textContent));
    return fetch(`entry/${id}.json`).then((answer) => {
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      return answer.json();
    });
  }

  function grid(head, lines, className) {
    const rows = lines.map((line) => element("tr", {}, ...line.map((value, index) =>
      element(index || className !== "facts" ? "td" : "th", {}, value ?? MISSING))));
    const parts = head ? [element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name))))] : [];
    const made = element("table", { className: className || "" }, ...parts, element("tbody", {}, ...rows));
    return element("div", { className: "scroll", tabIndex: 0 }, made);
  }

  function folded(title, ...content) {
    return element("details", {}, element("summary", {}, title), ...content);
  }

  async function open(id) {
    const entry = page.entries.find((each) => each.id === id);
    if (!entry) return;
    chosen.entry = id;
    remember();
    const box = byId("entry");
    const teacher = entry.teacher ? `, teacher ${entry.teacher}` : "";
    const title = element("h2", { id: "entry-title" }, `${entry.label}${teacher}`);
    const close = element("button", { type: "button", autofocus: true }, "Close");
    close.addEventListener("click", () => box.close());
    const place = [entry.dataset, entry.protocol, entry.student && `${entry.student} (${entry.objective})`, entry.seen && `items seen before are ${FILTERS.seen.of(entry)}`].filter(Boolean).join(" \u00b7 ");
    const body = element("div", {}, element("p", {}, "\u2026"));
    box.replaceChildren(element("header", {}, title, close), element("p", {}, place), body);
    if (!box.open) box.showModal();
    try {
      const details = await detailsOf(id);
      if (chosen.entry === id) body.replaceChildren(...contentOf(entry, details));
      if (chosen.entry === id) drawCurves(body, details.runs);
    } catch (error) {
      body.replaceChildren(element("p", { className: "error" }, `The details cannot be read: ${error.message}`));
    }
  }

  function contentOf(entry, details) {
    const parts = [];
    if (!entry.is_current) parts.push(element("p", { className: "error" }, "Made by other code than today's: the command makes a new entry."));
    for (const run of details.runs.filter((each) => each.error)) {
      parts.push(element("h3", {}, `Seed ${run.seed} failed: ${run.status}`), element("pre", { tabIndex: 0 }, run.error));
    }
    const cost = [["Parameters", `${grouped(entry.parameters)}${entry.train_parameters > entry.parameters ? ` (+ ${count(entry.train_parameters - entry.parameters)} while training)` : ""}`], ["Latency of a request", written(entry.latency_ms, (ms) => `${ms.toFixed(2)} ms`)], ["Training", `${duration(entry.train_seconds)}${known(entry.train_vs_none) ? ` (${times(entry.train_vs_none)} of none's)` : ""}`], ["Measured on", entry.timed_on]];
    parts.push(grid(["Metric", "Mean", "\u00b1", `vs ${page.against}`, "95 %", "p"], page.metrics.map(({ name, label }) => {
      const by = entry.by[name] || {};
      return [label, fixed(4)(by.mean), fixed(4)(by.std), percent(by.gain), known(by.low) ? `${percent(by.low)} to ${percent(by.high)}` : MISSING, probability(by.p_holm)];
    })));
    if (details.command) {
      const copy = element("button", { type: "button" }, "Copy");
      copy.addEventListener("click", () => navigator.clipboard.writeText(details.command).then(() => { copy.textContent = "Copied"; }));
      parts.push(element("h3", {}, "The command that makes it again"), element("pre", { className: "command", tabIndex: 0 }, details.command), copy);
    }
    if (details.runs.some((run) => run.curve)) {
      parts.push(element("h3", {}, "Curves"), element("p", { className: "choices curve-choice" }), element("div", { className: "plot curve" }));
    }
    parts.push(element("h3", {}, "Runs"), grid(
      ["Seed", "Status", ...page.metrics.map((each) => each.label), "Best epoch", "Epochs", "Steps", "Seconds", "Latency", "Made", "Key"],
      details.runs.map((run) => [
        written(run.seed, String), run.status, ...page.metrics.map(({ name }) => fixed(4)((scoresOf(entry, run) || {})[name])),
        grouped(run.best_epoch), grouped(run.epochs), grouped(run.steps), duration(run.seconds),
        written(run.latency, (ms) => `${ms.toFixed(2)} ms`), run.created, run.key.slice(0, 12),
      ])));
    if (entry.kind === "trial") parts.push(grid(null, cost, "facts"));
    if (details.segments.length) {
      parts.push(folded("By segment of the test examples", grid(["Segment", "Examples", ...page.metrics.map((each) => each.label)],
        details.segments.map((part) => [part.name, grouped(part.examples), ...page.metrics.map(({ name }) => fixed(4)(part[name]))]))));
    }
    if (details.settings.length) parts.push(folded("Settings", grid(null, details.settings, "facts")));
    for (const machine of details.environments) {
      parts.push(folded(machine.seeds && details.environments.length > 1 ? `Environment of seeds ${machine.seeds}` : "Environment", grid(null, machine.lines, "facts")));
    }
    return parts;
  }

  const scoresOf = (entry, run) => run.metrics[entry.seen === "mask" ? "test-masked" : "test"];

  function drawCurves(body, runs) {
    const drawn = runs.filter((run) => run.curve);
    if (!drawn.length) return;
    const names = [...new Set(drawn.flatMap((run) => run.curve.columns))].filter((name) => name !== "epoch" && name !== "stage");
    const place = body.querySelector(".curve");
    const field = element("select", {}, ...names.map((name) => element("option", { value: name }, name)));
    field.value = drawn[0].curve.monitor;
    if (field.selectedIndex < 0) field.selectedIndex = 0;
    const draw = () => plot(place, "curve", curvesOf(drawn, field.value), (spec) => {
      spec.description = `${field.value} by epoch, a line for each seed; the point is the epoch that was kept.`;
    });
    field.addEventListener("change", draw);
    body.querySelector(".curve-choice").replaceChildren(element("label", {}, "By epoch, on validation", field));
    draw();
  }

  function curvesOf(runs, name) {
    return runs.flatMap((run) => {
      const column = run.curve.columns.indexOf(name);
      const epoch = run.curve.columns.indexOf("epoch");
      return column < 0 ? [] : run.curve.lines.map((line, index) => ({
        epoch: line[epoch] ?? index + 1, value: line[column], seed: String(run.seed),
        best: (line[epoch] ?? index + 1) === run.best_epoch, told: `seed ${run.seed}: ${line[column]} in epoch ${line[epoch]}, which was kept`,
      })).filter((point) => known(point.value));
    });
  }

  // ---- the rest of the page

  function drawFailures(shown) {
    const ids = new Set(shown.map((entry) => entry.id));
    const lost = page.failures.filter((failure) => ids.has(failure.entry));
    byId("failures").hidden = lost.length === 0;
    byId("failures-title").textContent = `Trials that failed: ${lost.length}`;
    byId("failures").querySelector("ul").replaceChildren(...lost.slice(0, 200).map((failure) =>
      element("li", {}, opener(failure.entry, failure.name), `: ${failure.status}: ${failure.line}`)));
  }

  function drawNotes() {
    byId("notes").replaceChildren(byId("notes-title"), ...page.notes.map((section) => folded(section.title,
      element("p", {}, section.intro), element("ul", { className: "notes" }, ...section.lines.map((line) => element("li", {}, line))))));
    byId("notes").hidden = page.notes.length === 0;
  }

  function show() {
    const shown = page.entries.filter(passes);
    settingsShown = new Set(shown.map((entry) => entry.setting).filter(known));
    drawTable();
    drawGains(shown);
    drawRanks();
    drawCosts(shown);
    drawFailures(shown);
    for (const link of document.querySelectorAll("nav a")) link.hidden = document.querySelector(link.hash).hidden;
  }

  function drawPage() {
    const trials = page.entries.filter((entry) => entry.kind === "trial");
    byId("about").textContent = `${page.entries.length} entries, ${trials.reduce((sum, entry) => sum + entry.n, 0)} finished trials, written ${page.made} UTC by bench report. A name opens its runs.`;
    for (const each of document.querySelectorAll(".against")) each.textContent = page.against;
    for (const each of document.querySelectorAll("main, #filters, nav")) each.hidden = page.entries.length === 0;
    if (page.entries.length === 0) {
      byId("about").textContent = "No results.";
      return;
    }
    drawFilters();
    drawNotes();
    show();
  }

  // ---- a folder that is being filled

  async function follow() {
    try {
      const state = await (await fetch("status.json")).json();
      byId("live").hidden = false;
      byId("live-text").textContent = state.text;
      byId("live-bar").max = Math.max(1, state.total);
      byId("live-bar").value = state.done + state.failed;
      byId("live-running").replaceChildren(...state.running.map((line) => element("li", {}, line)));
      if (state.version !== page.version) {
        page = { ...(await (await fetch("content.json")).json()), charts };
        drawPage();
      }
    } catch (error) {
      byId("live").hidden = false;
      byId("live-text").textContent = "bench report --serve does not answer: it may have ended.";
    }
    setTimeout(follow, FOLLOW_MILLISECONDS);
  }

  // ---- start

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const dress = () => document.documentElement.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", dress);
  dress();
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-entry]");
    if (button) open(button.dataset.entry);
  });
  byId("entry").addEventListener("close", () => { delete chosen.entry; remember(); });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  drawPage();
  if (chosen.entry) open(chosen.entry);
  if ("version" in page) follow();
})();
