"use strict";
(async () => {
const $ = id => document.getElementById(id);
const COLOURS = {idle: "#e3e8ee", starting: "#c7a4e8", reading: "#2f7ed8", computing: "#e8871e",
  writing: "#2a9d6e"};
const PHASES = ["starting", "reading", "computing", "writing", "idle"];

// Data: base64 of zlib; browsers unpack it themselves since 2023.
async function unpacked() {
  const text = atob($("data").textContent.trim());
  const bytes = Uint8Array.from(text, c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}
if (!("DecompressionStream" in window)) {
  $("outcome").textContent = "This page needs a browser of 2023 or later.";
  return;
}
const D = await unpacked(), S = D.summary, tick = D.tick;

const number = x => x.toLocaleString("en-US");
const plural = (x, what) => `${number(x)} ${what}${x === 1 ? "" : "s"}`;
function seconds(x) {
  if (x >= 7200) return `${(x / 3600).toFixed(1)} h`;
  if (x >= 120) return `${(x / 60).toFixed(1)} min`;
  if (x >= 1) return `${x.toPrecision(3)} s`;
  return x >= 1e-3 ? `${(x * 1e3).toPrecision(3)} ms` : `${(x * 1e6).toFixed(0)} µs`;
}
function bytes(x) {
  for (const unit of ["bytes", "KB", "MB", "GB"]) {
    if (x < 1000) return unit === "bytes" ? `${number(x)} bytes` : `${x.toPrecision(3)} ${unit}`;
    x /= 1000;
  }
  return `${x.toPrecision(3)} TB`;
}
const dollars = x => "$" + (x >= 0.01 || x === 0 ? x.toFixed(2) : x.toPrecision(2));
function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
function table(id, heads, rows) {
  const head = element("tr"), kind = heads.map(one => one[1] || "k");
  heads.forEach(([text], i) => head.append(element("th", text, {class: kind[i], scope: "col"})));
  const body = rows.map(row => {
    const line = element("tr");
    row.forEach((cell, i) => line.append(element("td", cell, {class: kind[i]})));
    return line;
  });
  $(id).append(head, ...body);
}
const label = x => x < D.labels.name.length
  ? D.labels.names[D.labels.name[x]] + D.labels.index[x] : `segment ${x}`;

// Summary
const mark = element("b", S.outcome, {class: S.outcome});
$("outcome").append(mark, ` ${new Date(S.started * 1000).toLocaleString()} · ${S.platform}`
  + (S.workers ? `, ${plural(S.workers, "worker")}` : "") + (S.error ? ` · ${S.error}` : ""));
const read = D.traffic.reduce((sum, one) => sum + (one[0] === "from the store" ? one[1] : 0), 0);
const figures = [["Duration", seconds(S.seconds)], ["Tasks", number(S.tasks)],
  ["Segments", number(S.segments)], ["Executors", number(S.executors)],
  ["Written", bytes(S.written)], ["Read from the store", bytes(read)]];
if (D.cost) figures.push([D.cost.billed ? "Cost" : "On Lambda", dollars(D.cost.dollars)]);
if (S.unpacking) figures.push(["Unpacking bundles",
  `${seconds(S.unpacking)}, ${bytes(S.unpacked)} read`]);
if (S.missing) figures.push(["Lineages unknown", number(S.missing)]);
for (const [name, value] of figures) {
  const pair = element("div");
  pair.append(element("dt", name), element("dd", value));
  $("figures").append(pair);
}
for (const name of PHASES) {
  const one = element("span"), swatch = element("i");
  swatch.style.background = COLOURS[name];
  one.append(swatch, name === "starting" ? "waiting to start" : name);
  $("legend").append(one);
}

// Canvas, as sharp as the screen
function pen(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
  canvas.style.height = height + "px";
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = '12px system-ui, "DejaVu Sans", sans-serif';
  return [context, width];
}
function step(span, room) {
  const raw = span / Math.max(2, room), power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map(x => x * power).find(x => x >= raw);
}
const AXIS = 20;
function axis(context, from, to, width, height) {
  const by = step((to - from) * tick, width / 90);
  context.fillStyle = "#525e6e";
  context.strokeStyle = "#d6dce4";
  context.lineWidth = 1;
  for (let at = Math.ceil(from * tick / by) * by; at <= to * tick; at += by) {
    const x = (at / tick - from) / (to - from) * width;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
    const text = at < by / 2 ? "0" : seconds(at);
    const wide = context.measureText(text).width;
    context.fillText(text, Math.min(Math.max(0, x - wide / 2), width - wide), height + 15);
  }
}

// Timeline
const T = D.steps, L = D.lanes, count = T.lane.length;
const view = {from: 0, to: Math.max(1, D.span), top: 0, rows: 1};
let rowOf = [], rows = 1;
function arrange() {
  const byProcess = $("lanes").value === "process";
  rowOf = byProcess ? L.process : L.began.map((_, i) => i);
  rows = Math.max(1, byProcess ? L.processes.length : L.began.length);
  all();
}
function all() { Object.assign(view, {from: 0, to: Math.max(1, D.span), top: 0, rows}); later(); }
const timeline = $("timeline");
const roomFor = () => Math.min(460, Math.max(90, rows * 18));
let waiting = false;
function later() {
  if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
  waiting = true;
}
function draw() {
  const room = roomFor(), [context, width] = pen(timeline, room + AXIS);
  const scale = width / (view.to - view.from), high = room / view.rows;
  const gap = high > 6 ? 1.5 : 0, least = Math.max(1, high - gap);
  const bar = (row, from, to, thin) => {
    const x = Math.max(0, (from - view.from) * scale);
    const y = (row - view.top) * high, end = Math.min(width, (to - view.from) * scale);
    if (end < 0 || x > width || y + high < 0 || y > room) return;
    const inset = thin ? least * 0.3 : 0;
    context.fillRect(x, y + inset, Math.max(end - x, 0.4), least - 2 * inset);
  };
  const each = (colour, act) => { context.fillStyle = COLOURS[colour]; act(); };
  each("idle", () => L.began.forEach((began, i) => bar(rowOf[i], began, L.ended[i])));
  if ($("lanes").value === "executor") each("starting", () => L.asked.forEach((asked, i) => bar(rowOf[i], asked, L.began[i], true)));
  each("reading", () => { for (let i = 0; i < count; i++)
    if (T.fetch[i]) bar(rowOf[T.lane[i]], T.began[i], T.began[i] + T.fetch[i]); });
  each("writing", () => { for (let i = 0; i < count; i++) {
    if (T.arrived[i] >= 0) bar(rowOf[T.lane[i]], T.arrived[i] - T.arrive[i], T.arrived[i]);
    const done = T.computing[i] + T.compute[i];
    if (T.pack[i]) bar(rowOf[T.lane[i]], done, done + T.pack[i]); } });
  each("computing", () => { for (let i = 0; i < count; i++)
    bar(rowOf[T.lane[i]], T.computing[i], T.computing[i] + T.compute[i]); });
  context.clearRect(0, room, width, AXIS);
  axis(context, view.from, view.to, width, room);
  if (high >= 14 && width > 500) name(context, high);
}
function name(context, high) {
  context.fillStyle = "#1c2430";
  const byProcess = $("lanes").value === "process", last = Math.min(rows, view.top + view.rows);
  for (let row = Math.floor(view.top); row < last; row++) {
    const text = byProcess ? L.processes[row].slice(-12) : L.token[row];
    const wide = context.measureText(text).width, y = (row - view.top) * high;
    context.fillStyle = "rgba(255,255,255,.8)";
    context.fillRect(2, y + 1, wide + 6, high - 4);
    context.fillStyle = "#1c2430";
    context.fillText(text, 5, y + high / 2 + 3.5);
  }
}
function zoom(factor, at = 0.5) {
  const span = Math.min(D.span, Math.max(20, (view.to - view.from) * factor));
  const middle = view.from + (view.to - view.from) * at;
  view.from = Math.min(Math.max(0, middle - span * at), D.span - span);
  view.to = view.from + span;
  later();
}
function zoomRows(factor, at = 0.5) {
  const wanted = Math.min(rows, Math.max(Math.min(rows, 4), view.rows * factor));
  const middle = view.top + view.rows * at;
  view.top = Math.min(Math.max(0, middle - wanted * at), rows - wanted);
  view.rows = wanted;
  later();
}
function move(x, y) {
  const span = view.to - view.from;
  view.from = Math.min(Math.max(0, view.from + x * span), Math.max(0, D.span - span));
  view.to = view.from + span;
  view.top = Math.min(Math.max(0, view.top + y * view.rows), rows - view.rows);
  later();
}
timeline.addEventListener("wheel", event => {
  event.preventDefault();
  const box = timeline.getBoundingClientRect();
  const factor = (event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8;
  if (event.shiftKey) zoomRows(factor, (event.clientY - box.top) / box.height);
  else zoom(factor, (event.clientX - box.left) / box.width);
}, {passive: false});
let held = null;
timeline.addEventListener("pointerdown", event => {
  held = [event.clientX, event.clientY];
  timeline.setPointerCapture(event.pointerId);
});
timeline.addEventListener("pointermove", event => {
  if (held) {
    move((held[0] - event.clientX) / timeline.clientWidth, (held[1] - event.clientY) / roomFor());
    held = [event.clientX, event.clientY];
  } else tell(event);
});
for (const end of ["pointerup", "pointercancel"])
  timeline.addEventListener(end, event => { held = null; tell(event); });
timeline.addEventListener("keydown", event => {
  const keys = {ArrowLeft: () => move(-0.1, 0), ArrowRight: () => move(0.1, 0),
    ArrowUp: () => move(0, -0.1), ArrowDown: () => move(0, 0.1), "+": () => zoom(0.7),
    "=": () => zoom(0.7), "-": () => zoom(1.4), "*": () => zoomRows(0.7),
    "_": () => zoomRows(1.4), "0": all};
  if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  keys[event.key]();
});
function tell(event) {
  const box = timeline.getBoundingClientRect();
  const at = view.from + (event.clientX - box.left) / box.width * (view.to - view.from);
  const row = Math.floor(view.top + (event.clientY - box.top) / roomFor() * view.rows);
  let near = -1;
  for (let i = 0; i < count; i++) {
    if (rowOf[T.lane[i]] !== row || T.began[i] > at) continue;
    if (near < 0 || T.began[i] > T.began[near]) near = i;
  }
  const lane = near >= 0 ? T.lane[near] : rowOf.indexOf(row);
  if (lane < 0) { $("told").textContent = ""; return; }
  const own = [`Executor ${L.token[lane]}`, `at ${seconds(at * tick)}`];
  if (near >= 0) own.push(label(T.segment[near]),
    `read ${seconds(T.fetch[near] * tick)}`, `computed ${seconds(T.compute[near] * tick)}`,
    `wrote ${bytes(T.written[near])} in ${seconds((T.pack[near] + T.arrive[near]) * tick)}`,
    T.arrived[near] < 0 ? "never arrived" : "");
  $("told").textContent = own.filter(Boolean).join(" · ");
}
$("in").onclick = () => zoom(0.6);
$("out").onclick = () => zoom(1.6);
$("all").onclick = all;
$("lanes").onchange = arrange;

// Parallelism: the share of each bin that each phase covers, summed over Executors
function parallel() {
  const high = 160, [context, width] = pen($("parallel"), high + AXIS);
  const bins = Math.max(40, Math.floor(width / 3)), per = Math.max(1, D.span) / bins;
  const sums = {reading: new Float64Array(bins), computing: new Float64Array(bins),
    writing: new Float64Array(bins)};
  const add = (sum, from, to) => {
    const last = Math.min(bins - 1, Math.floor(to / per));
    for (let bin = Math.max(0, Math.floor(from / per)); bin <= last; bin++)
      sum[bin] += Math.max(0, Math.min(to, (bin + 1) * per) - Math.max(from, bin * per)) / per;
  };
  for (let i = 0; i < count; i++) {
    const done = T.computing[i] + T.compute[i];
    add(sums.reading, T.began[i], T.began[i] + T.fetch[i]);
    add(sums.computing, T.computing[i], done);
    add(sums.writing, done, done + T.pack[i]);
    if (T.arrived[i] >= 0) add(sums.writing, T.arrived[i] - T.arrive[i], T.arrived[i]);
  }
  let most = 1;
  for (let bin = 0; bin < bins; bin++)
    most = Math.max(most, sums.reading[bin] + sums.computing[bin] + sums.writing[bin]);
  for (let bin = 0; bin < bins; bin++) {
    let y = high;
    for (const phase of ["computing", "reading", "writing"]) {
      const tall = sums[phase][bin] / most * (high - 18);
      context.fillStyle = COLOURS[phase];
      context.fillRect(bin * width / bins, y -= tall, width / bins + 0.5, tall);
    }
  }
  axis(context, 0, Math.max(1, D.span), width, high);
  context.fillStyle = "#1c2430";
  context.fillText(`at most ${number(+most.toFixed(most < 100 ? 1 : 0))}`, 4, 12);
}

// Graph
function heat(share) {
  const from = [253, 240, 222], to = [196, 74, 6], s = Math.sqrt(share);
  return `rgb(${from.map((x, i) => Math.round(x + (to[i] - x) * s)).join()})`;
}
function graph() {
  const G = D.graph, svg = $("graph");
  if (!G.nodes.length) { $("graph-note").textContent = "The graph is not known: this client came "
    + "back to a run that another had begun."; return; }
  $("graph-note").textContent = `Each node is one ${G.by}; the darker, the longer it computed. `
    + "From left to right by depth.";
  const layers = Math.max(...G.nodes.map(n => n[1])) + 1, wide = new Map();
  for (const n of G.nodes) wide.set(n[1], Math.max(wide.get(n[1]) || 0, n[2] + 1));
  const tallest = Math.max(...wide.values()), named = tallest <= 12 && layers <= 40;
  const dx = named ? 150 : Math.max(34, Math.min(190, 1100 / layers));
  const height = named ? Math.max(90, tallest * 44) : Math.min(560, Math.max(90, tallest * 16));
  const most = Math.max(...G.nodes.map(n => n[4])) || 1, radius = named ? 11 : 5;
  const at = G.nodes.map(n => [20 + n[1] * dx + radius, (n[2] + 0.5) / wide.get(n[1]) * height]);
  const size = [layers * dx + 40 + (named ? 20 : 0), height + 10];
  svg.setAttribute("width", size[0]);
  svg.setAttribute("height", size[1]);
  svg.setAttribute("viewBox", `0 0 ${size.join(" ")}`);
  const make = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const way = G.edges.slice(0, 20000).map(([a, b]) => `M${at[a].map(x => x.toFixed(1))}`
    + `C${(at[a][0] + dx / 2).toFixed(1)},${at[a][1].toFixed(1)} `
    + `${(at[b][0] - dx / 2).toFixed(1)},${at[b][1].toFixed(1)} ${at[b].map(x => x.toFixed(1))}`);
  svg.append(make("path", {d: way.join(""), fill: "none", stroke: "#9aa7b8",
    "stroke-width": named ? 1.2 : 0.7}));
  G.nodes.forEach((n, i) => {
    const circle = make("circle", {cx: at[i][0], cy: at[i][1], r: radius, fill: heat(n[4] / most),
      stroke: "#7a4a1e"});
    const told = `${n[0]}: ${n[3] > 1 ? plural(n[3], "segment") + ", " : ""}`
      + `${seconds(n[4])}, ${bytes(n[5])}`;
    circle.append(make("title", {}, told));
    svg.append(circle);
    if (!named) return;
    const text = n[0].length > 17 ? n[0].slice(0, 16) + "…" : n[0];
    svg.append(make("text", {x: at[i][0] - radius, y: at[i][1] + 25, "font-size": 11,
      fill: "#1c2430"}, n[3] > 1 ? `${text} ×${number(n[3])}` : text));
  });
}

// Tables
table("kinds", [["Tasks of a segment"], ["Segments", "n"], ["Computed", "n"], ["Mean", "n"],
  ["Longest", "n"], ["Written", "n"]], D.kinds.map(k => [k[0], number(k[1]), seconds(k[2]),
  seconds(k[2] / k[1]), seconds(k[3]), bytes(k[4])]));
table("slowest", [["Segment"], ["Computed", "n"], ["Written", "n"], ["Executor"]],
  D.slowest.map(s => [s[0], seconds(s[1]), bytes(s[2]), s[3]]));
table("traffic", [["Inputs and outputs"], ["Bytes", "n"]],
  [["outputs written", bytes(S.written)], ...D.traffic.map(t => ["inputs " + t[0], bytes(t[1])])]);
if (D.cost) {
  $("cost-section").hidden = false;
  table("cost", [["What"], ["Quantity", "n"], ["Unit"], ["Dollars", "n"]],
    D.cost.lines.map(c => [c[0], number(+c[1].toPrecision(4)), c[2], dollars(c[3])]));
  const here = D.cost.billed ? "" : "Nothing was billed: on Lambda it would have cost about this. ";
  $("cost-note").textContent = here + `Together ${dollars(D.cost.dollars)}; prices of ${D.cost.dated}.`;
}
const E = D.edges;
$("edges-note").textContent = plural(E.count, "edge")
  + (E.single ? "." : ", counted by the key prefixes of both ends.");
table("edges", [["From"], ["To"], ...(E.single ? [] : [["Edges", "n"]]), ["Way"], ["Size", "n"],
  ["Why", "w"]], E.rows.map(r => [r[0], r[1], ...(E.single ? [] : [number(r[2])]), r[3],
  bytes(r[4]), r[5]]));
const X = D.executors;
$("executors-note").textContent = `${plural(X.count, "Executor")}: `
  + X.reasons.map(r => `${number(r[1])} ${r[0]}`).join(", ")
  + (X.count > X.rows.length ? `; the first ${X.rows.length} are listed.` : ".");
table("executors", [["Executor"], ["Segments", "n"], ["Time", "n"], ["Where"],
  ["Started by", "w"]], X.rows.map(r => [r[0], number(r[1]), seconds(r[2]), r[3], r[4]]));

arrange();
parallel();
graph();
let before = innerWidth;
addEventListener("resize", () => { if (innerWidth !== before) { before = innerWidth; later();
  parallel(); } });
$("main").dataset.ready = performance.now().toFixed(0);
$("main").setAttribute("aria-busy", "false");
})();
