"use strict";
// The page: asks the dashboard once a second, and shows what it says. Whatever comes from there goes into the page as text
// only: members choose their names themselves.

const $ = (id) => document.getElementById(id);
const state = { instance: null, overview: null, samples: [], newestSample: 0, events: [], newestEvent: 0, hidden: new Set(), cursor: null };
const OWN = 0;
const STYLES = 8;
const DRAWN_AT_FIRST = 8;

// Asking

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(8000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function update() {
  try {
    let overview = await ask("/api/overview");
    if (overview.instance !== state.instance) {
      Object.assign(state, { instance: overview.instance, samples: [], newestSample: 0, events: [], newestEvent: 0 });
      state.hidden.clear();
    }
    const [history, events] = await Promise.all([ask(`/api/history?since=${state.newestSample}`), ask(`/api/events?since=${state.newestEvent}`)]);
    state.samples.push(...history.samples);
    state.samples.splice(0, state.samples.length - 600);
    state.newestSample = history.newest;
    state.events.push(...events.events);
    state.events.splice(0, state.events.length - 500);
    if (events.newest !== state.newestEvent) showEvents();
    state.newestEvent = events.newest;
    state.overview = overview;
    show();
  } catch {
    health(false, "no answer");
    trouble("The dashboard does not answer. This page shows what it knew, and goes on asking.");
  }
}

async function run() {
  for (;;) {
    if (!document.hidden) await update();
    await new Promise((done) => setTimeout(done, 1000));
  }
}

// Words and figures

const UNITS = [[1, "ns"], [1e3, "µs"], [1e6, "ms"], [1e9, "s"]];

function span(ns, sign = false) {
  if (ns === null || ns === undefined) return "–";
  const size = Math.abs(ns);
  const plus = ns < 0 ? "−" : sign && ns > 0 ? "+" : "";
  if (size < 1000) return `${plus}${Math.round(size)} ns`;
  if (size >= 60e9) return plus + (size >= 86400e9 ? `${(size / 86400e9).toFixed(1)} d` : size >= 3600e9 ? `${(size / 3600e9).toFixed(1)} h` : `${(size / 60e9).toFixed(1)} min`);
  const [factor, unit] = UNITS.findLast(([factor]) => size >= factor * 0.9995);
  const value = size / factor;
  return `${plus}${value < 99.95 ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
}

// For axes: no digits that say nothing.
function tick(ns) {
  if (ns === 0) return "0";
  const plus = ns < 0 ? "−" : "";
  const size = Math.abs(ns);
  if (size >= 60e9) return span(ns);
  const [factor, unit] = UNITS.findLast(([factor]) => size >= factor);
  return `${plus}${+(size / factor).toPrecision(3)} ${unit}`;
}

const ppm = (ppb) => (ppb === null || ppb === undefined ? "–" : `${ppb < 0 ? "−" : "+"}${Math.abs(ppb / 1e3).toFixed(3)}`);
const words = (name) => (name || "–").replaceAll("_", " ");

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function health(good, line) {
  const pill = $("health");
  if (pill.textContent !== line) pill.textContent = line;
  pill.className = `pill ${good ? "good" : "bad"}`;
}

function trouble(line) {
  const box = $("trouble");
  if (box.textContent !== line) box.textContent = line;
  box.hidden = !line;
}

// Members and their colours

function label(member) {
  return member.name || member.address || "–";
}

function members() {
  const { node, members } = state.overview;
  if (node && node.role === "client") {
    return [{ id: OWN, name: "this client", address: "", presence: "present", plotted: true }];
  }
  return members;
}

function plotted() {
  return members().filter((member) => member.plotted).sort((a, b) => a.id - b.id);
}

const look = (id) => {
  const index = id === OWN ? 0 : id - 1;
  return `c${index % STYLES} d${Math.floor(index / STYLES) % 4}`;
};

function swatch(id) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 10");
  svg.setAttribute("class", "swatch");
  svg.setAttribute("aria-hidden", "true");
  const line = draw(svg, "line", { class: `line ${look(id)}`, x1: 1, x2: 23, y1: 5, y2: 5 });
  line.setAttribute("stroke-width", 3);
  return svg;
}

// The parts of the page

function show() {
  const { overview } = state;
  const { node } = overview;
  health(overview.healthy, overview.healthy ? overview.health : node ? overview.health : "no answer");
  trouble(node ? (overview.healthy ? "" : sentence(overview.health)) : `${sentence(overview.no_answer)} This page shows what was known, and goes on asking.`);
  document.title = `${overview.healthy ? "" : "! "}meantime`;
  if (node) {
    const time = node.time.replace("T", " ").replace(/\.(\d)\d*Z$/, ".$1 UTC");
    $("time").textContent = `${node.role} · cluster ${node.cluster.slice(0, 8)} · ${time}`;
    showTiles(node);
  } else {
    $("time").textContent = "";
  }
  document.body.classList.toggle("stale", !node);
  showLegend();
  showTable();
  showPlots();
}

const sentence = (line) => (line ? line[0].toUpperCase() + line.slice(1) + "." : "");

function showTiles(node) {
  const tiles = [];
  if (node.role === "server") {
    const standby = node.replica && node.replica.role === "standby";
    if (node.replica) tiles.push(...replicaTiles(node.replica));
    // What a standby server's own rounds find is no vote.
    if (!standby) tiles.push(...roundTiles(node));
    if (node.undecided && !standby) tiles.push(["No cluster time", words(node.undecided), "meantime status says what to do"]);
    tiles.push(["The server's own clock", span(node.own_bound_ns), node.excluded ? `left out: ${words(node.excluded)}` : `off at most; ${words(node.state)}`]);
    if (node.upstream) tiles.push(["Follows the server above", words(node.upstream.state), node.upstream.upstream_fault ? `refused: ${words(node.upstream.upstream_fault)}` : node.upstream.registered ? `${node.upstream.server}, level ${node.upstream.server_level ?? "–"}` : "not registered there"]);
    tiles.push(["Rate over the server's oscillator", `${ppm(node.frequency_ppb)} ppm`, `timestamps: ${words(node.timestamps)}`]);
  } else {
    tiles.push(["Off at most", span(node.bound_ns), "guaranteed"]);
    tiles.push(["Estimated error", span(node.error_ns), "one standard deviation"]);
    tiles.push(["State", words(node.state), node.holdover ? words(node.holdover) : `server ${node.server || "not found"}`]);
    if (node.servers.length) {
      const followed = node.servers.find((server) => server.followed);
      const heard = node.servers.filter((server) => server.role).length;
      tiles.push(["Follows", followed ? `server ${followed.rank}` : "none", `${followed ? `${followed.name || followed.address}, term ${followed.term ?? "–"}; ` : ""}${heard} of ${node.servers.length} servers heard`]);
    }
    tiles.push(["Rate over the oscillator", `${ppm(node.frequency_ppb)} ppm`, `timestamps: ${words(node.timestamps)}`]);
  }
  $("tiles").replaceChildren(...tiles.map(([name, value, note]) => {
    const tile = element("div");
    const figure = element("dd", value);
    figure.append(element("small", note));
    tile.append(element("dt", name), figure);
    return tile;
  }));
}

function roundTiles(node) {
  const round = node.last_round || {};
  const lost = state.overview.members.filter((member) => member.presence === "lost").length;
  return [
    ["Any two covered clocks differ by at most", span(round.largest_bound_ns), `guaranteed as the round ended; ${round.covered ?? "–"} covered, ${round.not_covered ?? "–"} not`],
    ["Agreeing clocks are within", span(round.spread_ns), `${words(round.outcome)}`],
    ["Members", `${round.members ?? "–"}`, `${round.heard ?? "–"} heard, ${round.agreeing ?? "–"} agree${lost ? `, ${lost} lost` : ""}`],
    ["Round", `${round.round ?? "–"}`, `${span(round.ago_ns)} ago, one each ${span(node.interval_ns)}`],
  ];
}

function replicaTiles(replica) {
  const count = (of) => replica.others.filter(of).length;
  const silent = count((server) => !server.role);
  const distrusted = count((server) => server.distrusted);
  const servers = `${silent ? `; ${silent} servers silent` : ""}${distrusted ? `; ${distrusted} servers distrusted` : ""}`;
  return [
    [`Server ${replica.rank} of ${replica.servers}`, words(replica.role), standing(replica)],
    ["Members that it hears", `${replica.members}`, `of ${Math.max(replica.members, replica.known_members)} known${servers}`],
  ];
}

// What a server of several does in which term.
function standing(replica) {
  const term = `term ${replica.term}`;
  if (replica.role === "active") return `${term}; ${replica.standbys} standby servers`;
  if (replica.term_of === replica.rank) return `was active last itself, ${term}, and follows none`;
  const other = replica.others.find((server) => server.rank === replica.term_of);
  if (!other) return "has heard no active server yet";
  const does = { served: "follows", lost: "has lost", distrusted: "distrusts" }[replica.service] || words(replica.service);
  return `${does} server ${other.rank} (${other.name || other.address}), ${term}`;
}

let legendOf = "";

function showLegend() {
  const all = plotted();
  const key = JSON.stringify(all.map((member) => [member.id, label(member)]));
  if (key === legendOf) return;
  const known = new Set(legendOf ? JSON.parse(legendOf).map(([id]) => id) : []);
  all.forEach((member, index) => {
    if (!known.has(member.id) && index >= DRAWN_AT_FIRST) state.hidden.add(member.id);
  });
  legendOf = key;
  $("legend").replaceChildren(...all.map((member) => {
    const button = element("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(!state.hidden.has(member.id)));
    button.append(swatch(member.id), element("bdi", label(member)));
    button.title = `${member.address} – click to hide or show`;
    button.addEventListener("click", () => {
      if (!state.hidden.delete(member.id)) state.hidden.add(member.id);
      button.setAttribute("aria-pressed", String(!state.hidden.has(member.id)));
      showPlots();
    });
    for (const [event, id] of [["pointerenter", member.id], ["pointerleave", null], ["focus", member.id], ["blur", null]]) {
      button.addEventListener(event, () => { state.raised = id; showPlots(); });
    }
    return button;
  }));
}

const GOOD = new Set(["synchronized", "present", "in"]);

function showTable() {
  const { node, members_total } = state.overview;
  const rows = members();
  // Of a standby server's clients the active server's vote judges.
  const judges = !node || !node.replica || node.replica.role === "active";
  $("members").replaceChildren(...rows.map((member) => {
    const row = element("tr");
    row.dataset.presence = member.presence;
    row.dataset.name = member.name;
    const gone = member.presence === "lost" || member.presence === "left";
    if (gone) row.className = "gone";
    const name = element("th");
    name.scope = "row";
    if (member.plotted) name.append(swatch(member.id));
    name.append(element("bdi", member.name || "(no name)"));
    const own = member.id === OWN ? node : null;
    const standing = member.presence === "present" ? words((own || member).state) : member.presence;
    const looks = gone ? (member.presence === "lost" ? "bad" : "") : member.presence === "silent" ? "warn" : GOOD.has(standing) ? "good" : "warn";
    const last = (own && own.last_correction) || {};
    const figures = own
      ? [span(last.added_ns === undefined ? null : -last.added_ns, true), span(own.bound_ns), span(last.delay_ns), ppm(own.frequency_ppb)]
      : gone ? ["–", "–", "–", "–"]
      : [span(member.offset_ns, true), span(member.bound_ns), span(member.delay_ns), ppm(member.frequency_ppb)];
    const uncovered = judges && !gone && !own && member.coverage !== "covered";
    const standingInVote = member.vote === "out" ? `out: ${words(member.excluded)}` : words(member.vote);
    const vote = gone || own || !judges ? "–" : uncovered && member.vote !== "out" ? `${standingInVote}; not covered: ${words(member.coverage)}` : standingInVote;
    const heard = (member.heard_rounds || "").slice(8 - Math.min(member.rounds ?? 0, 8));
    const rounds = element("td", gone ? "" : heard.replaceAll("1", "●").replaceAll("0", "○"), "rounds");
    rounds.setAttribute("aria-label", own ? "" : `heard in ${member.heard ?? 0} of ${member.rounds ?? 0} rounds`);
    const silence = gone ? `gone ${span(member.gone_s * 1e9)}` : span(own ? own.heard_ago_ns : member.heard_ago_ns);
    row.append(name, element("td", standing, looks), element("td", vote, member.vote === "out" && !gone ? "bad" : uncovered ? "warn" : ""),
      ...figures.map((figure) => element("td", figure, "figure")), rounds, element("td", silence, "figure"), element("td", member.address));
    return row;
  }));
  const left = members_total - rows.length;
  $("more").textContent = rows.length === 0 ? "No member is registered." : left > 0 ? `${left} more are not shown; those in trouble come first.` : "";
}

function showEvents() {
  $("no-events").hidden = state.events.length > 0;
  $("events").replaceChildren(...state.events.slice(-100).reverse().map((event) => {
    const line = element("li", undefined, event.level);
    const time = element("time", event.time ? event.time.replace("T", " ").replace(/\.\d+Z$/, "") : "–");
    if (event.time) time.dateTime = event.time;
    line.append(time, element("span", event.text));
    return line;
  }));
}

// Plots

const frames = {};
for (const [name, title, key] of [
  ["offset", "Offset from the cluster's time", "before each correction; shaded: the bound"],
  ["bound", "Guaranteed bound", "logarithmic"],
  ["delay", "Round-trip delay", "logarithmic"],
  ["frequency", "Rate over its oscillator", "ppm"],
  ["agreement", "The whole cluster", "upper: largest bound; lower: spread"],
  ["votes", "Votes", "full: in; red: out; grey: no vote; thin: not heard"],
]) {
  frames[name] = makeFigure($("plots"), title, key, (at) => { state.cursor = at; showPlots(); });
}

const PART = {
  in: { style: "v-good", part: 1 }, agreed: { style: "v-good", part: 1 }, synchronized: { style: "v-good", part: 1 },
  out: { style: "v-bad", part: 1 }, lost: { style: "v-bad", part: 0.18 }, left: { style: "v-none", part: 0.1 }, unheard: { style: "v-none", part: 0.3 }, none: { style: "v-none", part: 0.6 },
};
const UNSURE = { style: "v-warn", part: 0.6 };

function showPlots() {
  const { samples, overview, cursor } = state;
  if (!overview) return;
  // Ages by the node's oscillator; the last answer is as old as nothing that is drawn.
  const newest = samples.length ? samples[samples.length - 1].raw_ns : 0;
  const now = overview.node ? Math.max(overview.node.raw_ns, newest) : newest;
  const age = (sample) => (now - sample.raw_ns) / 1e9;
  const oldest = samples.length ? Math.max(age(samples[0]), 20) : 60;
  const from = Math.min(Number($("window").value) || oldest, Math.max(oldest * 1.02, 60));
  const seen = samples.filter((sample) => age(sample) >= 0 && age(sample) <= from);
  const interval = ((overview.node && overview.node.interval_ns) || 5e9) / 1e9;
  const gap = Math.max(3.5 * interval, 6);
  const shown = plotted().filter((member) => !state.hidden.has(member.id));
  const series = new Map(shown.map((member) => [member.id, []]));
  for (const sample of seen) {
    const there = new Set();
    for (const clock of sample.clocks) {
      if (!series.has(clock[0])) continue;
      there.add(clock[0]);
      series.get(clock[0]).push([age(sample), clock]);
    }
    for (const [id, list] of series) if (!there.has(id)) list.push([age(sample), [id, null, null, null, null, null]]);
  }
  const marks = state.overview.node ? warnings(now) : [];
  const common = { from, marks, cursor, gap };
  const raised = shown.some((member) => member.id === state.raised) ? state.raised : null;
  const lines = (column, band) => shown.map((member) => ({
    name: label(member),
    style: look(member.id),
    dim: raised !== null && raised !== member.id,
    points: series.get(member.id).map(([t, clock]) => [t, clock[column]]),
    // Shades of many on top of each other show nothing.
    bands: band && (shown.length <= 8 || raised === member.id) ? series.get(member.id).map(([t, clock]) => [t, clock[band]]) : undefined,
  }));
  const told = (list, format) => list.map((line) => [line.name, at(line.points, cursor, gap), format]);
  const plot = (name, list, scale, format, axis, floor) => {
    drawLines(frames[name], { lines: list, scale, format: axis, floor, ...common });
    tell(frames[name], told(list, format));
  };
  plot("offset", lines(1, 2), "both", (v) => span(v, true), tick);
  plot("bound", lines(2), "log", span, tick);
  plot("delay", lines(3), "log", span, tick);
  plot("frequency", lines(4).map((line) => ({ ...line, points: line.points.map(([t, v]) => [t, v === null ? null : v / 1e3]) })), "linear", (v) => `${ppm(v * 1e3)} ppm`, (v) => `${+v.toPrecision(6)}`.replace("-", "−"), 0.02);
  const whole = [["largest bound", "c0 d0", "largest_bound_ns"], ["spread", "c1 d0", "spread_ns"]].map(([name, style, field]) => ({
    name, style, points: seen.map((sample) => [age(sample), sample[field] ?? null]),
  }));
  plot("agreement", whole, "log", span, tick);
  const strips = shown.map((member) => strip(label(member), series.get(member.id).map(([t, clock]) => [t, clock[5]]), interval));
  const rounds = strip("cluster", seen.map((sample) => [age(sample), sample.outcome]), interval);
  drawStrips(frames.votes, { rows: [rounds, ...strips], ...common });
  const rows = [["cluster", seen.map((sample) => [age(sample), sample.outcome])], ...shown.map((member) => [label(member), series.get(member.id).map(([t, clock]) => [t, clock[5]])])];
  tell(frames.votes, rows.map(([name, points]) => [name, at(points, cursor, gap), words]));
}

// Neighbours that look the same are one.
function strip(name, points, interval) {
  const cells = [];
  points.forEach(([t, word], index) => {
    if (word === null) return;
    const next = index + 1 < points.length ? points[index + 1][0] : t - interval;
    const stop = Math.max(next, t - 3 * interval);
    const part = PART[word] || UNSURE;
    const last = cells[cells.length - 1];
    if (last && last[2] === part && Math.abs(last[1] - t) < 0.01) last[1] = stop;
    else cells.push([t, stop, part]);
  });
  return { name, cells };
}

function at(points, cursor, gap) {
  const wanted = cursor ?? 0;
  let best = null;
  for (const [t, value] of points) {
    if (value !== null && Math.abs(t - wanted) < gap && (best === null || Math.abs(t - wanted) <= Math.abs(best[0] - wanted))) best = [t, value];
  }
  return best && best[1];
}

function tell(frame, values) {
  const known = values.filter(([, value]) => value !== null);
  const when = state.cursor === null ? "now" : `${Math.round(state.cursor)} s ago`;
  const line = known.length ? `${when}: ${known.map(([name, value, format]) => `${name} ${format(value)}`).join(", ")}` : "";
  frame.output.textContent = line;
  frame.svg.setAttribute("aria-label", `${frame.title}. ${line || "Nothing is known yet."}`);
}

// Warnings of the node as marks at the time when they happened, which the cluster's clock tells.
function warnings(now) {
  const time = Date.parse(state.overview.node.time);
  return state.events.filter((event) => event.level === "warning" && event.time)
    .map((event) => ({ ago: (time - Date.parse(event.time)) / 1000, text: event.text }))
    .filter((mark) => mark.ago >= 0);
}

$("window").addEventListener("change", showPlots);
new ResizeObserver(() => showPlots()).observe($("plots"));
run();
