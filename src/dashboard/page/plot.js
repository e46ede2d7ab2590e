"use strict";
// Plots: lines over the last rounds, and strips of votes. A plot is drawn anew whenever there is something new; it knows
// nothing about clocks.

const SVG = "http://www.w3.org/2000/svg";

function draw(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

// Scales: a number to where it stands; the place of zero and of the ticks follow from it.

const SCALES = {
  linear: { to: (v) => v, ticks: linearTicks },
  // Powers of ten to both sides, and a straight piece through zero.
  both: { to: (v) => Math.sign(v) * Math.log10(1 + Math.abs(v) / 100), ticks: bothTicks },
  log: { to: (v) => Math.log10(Math.max(v, 1)), ticks: logTicks },
};

function linearTicks(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const ticks = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) ticks.push(Math.abs(v) < step / 1e6 ? 0 : v);
  return ticks;
}

function logTicks(low, high) {
  const powers = [];
  for (let k = Math.floor(Math.log10(Math.max(low, 1))); 10 ** k <= high * 1.0001; k++) powers.push(10 ** k);
  let ticks = powers;
  if (high < low * 200) ticks = powers.flatMap((p) => [p, 2 * p, 5 * p]);
  return thin(ticks.filter((v) => v >= low * 0.999 && v <= high * 1.001), 6);
}

function bothTicks(low, high) {
  const most = Math.max(Math.abs(low), Math.abs(high));
  let powers = [];
  for (let v = 100; v <= most * 1.0001; v *= 10) powers.push(v);
  powers = thin(powers, 4);
  return [...powers.map((v) => -v).reverse(), 0, ...powers].filter((v) => v >= low && v <= high);
}

// Every so manieth, so that no more than `most` are left; the largest stays.
function thin(ticks, most) {
  const step = Math.ceil(ticks.length / most);
  return ticks.filter((_, index) => (ticks.length - 1 - index) % step === 0);
}

const STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];

function timeTicks(from, width) {
  const step = STEPS.find((s) => from / s <= Math.max(2, width / 80)) || 14400;
  const ticks = [];
  for (let ago = 0; ago <= from; ago += step) ticks.push(ago);
  return ticks;
}

function ago(seconds) {
  if (seconds === 0) return "now";
  if (seconds < 60) return `−${seconds} s`;
  if (seconds < 3600) return `−${+(seconds / 60).toFixed(1)} min`;
  return `−${+(seconds / 3600).toFixed(1)} h`;
}

// The frame of a plot: its caption, its picture, and a line that says what is under the pointer.
function makeFigure(parent, title, key, onPoint) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const heading = document.createElement("h3");
  heading.textContent = title;
  const note = document.createElement("span");
  note.className = "key";
  note.textContent = key;
  caption.append(heading, note);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("role", "img");
  const output = document.createElement("output");
  output.setAttribute("aria-live", "off");
  figure.append(caption, svg, output);
  parent.append(figure);
  const frame = { svg, output, title, from: 60, left: 0, right: 1 };
  svg.addEventListener("pointermove", (event) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    onPoint(((frame.right - x) / (frame.right - frame.left)) * frame.from);
  });
  svg.addEventListener("pointerleave", () => onPoint(null));
  return frame;
}

function begin(frame, height, left, from) {
  const { svg } = frame;
  const width = Math.max(svg.parentElement.clientWidth - 26, 200);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren();
  Object.assign(frame, { from, left, right: width - 8, top: 8, bottom: height - 20 });
  frame.x = (seconds) => frame.right - (seconds / from) * (frame.right - frame.left);
  for (const seconds of timeTicks(from, frame.right - left)) {
    const x = frame.x(seconds);
    draw(svg, "line", { class: "grid", x1: x, x2: x, y1: frame.top, y2: frame.bottom });
    const anchor = seconds === 0 ? "end" : x < left + 16 ? "start" : "middle";
    draw(svg, "text", { x: seconds === 0 ? x + 6 : x, y: height - 5, "text-anchor": anchor }, ago(seconds));
  }
}

function end(frame, marks, cursor) {
  const { svg, top, bottom } = frame;
  for (const mark of marks) {
    if (mark.ago > frame.from) continue;
    const x = frame.x(mark.ago);
    const line = draw(svg, "line", { class: "mark", x1: x, x2: x, y1: top, y2: bottom });
    draw(line, "title", {}, mark.text);
  }
  if (cursor !== null && cursor >= 0 && cursor <= frame.from) {
    const x = frame.x(cursor);
    draw(svg, "line", { class: "cursor", x1: x, x2: x, y1: top, y2: bottom });
  }
}

// lines: [{name, style, points: [[ago, value or null]], bands: [[ago, half width or null]], dim}]
function drawLines(frame, { lines, scale, format, from, marks, cursor, floor, gap }) {
  const { to, ticks } = SCALES[scale];
  const values = [], halves = [];
  for (const line of lines) {
    for (const [, value] of line.points) if (value !== null) values.push(value);
    for (const [, half] of line.bands || []) if (half !== null) halves.push(half);
  }
  // A band that was wide once, when a client joined, need not fit.
  if (halves.length) values.push(2 * halves.sort((a, b) => a - b)[Math.floor(halves.length / 2)]);
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) [low, high] = scale === "log" ? [1e3, 1e6] : [-1, 1];
  if (scale === "both") {
    high = Math.max(Math.abs(low), Math.abs(high), 100);
    low = -high;
  } else if (scale === "log") {
    low = Math.max(low * 0.8, 1);
    high = Math.max(high * 1.25, low * 4);
  } else {
    const room = Math.max((high - low) * 0.1, floor || 0);
    [low, high] = [low - room, high + room];
  }
  const labels = ticks(low, high).map((value) => [value, format(value)]);
  const longest = Math.max(...labels.map(([, label]) => label.length), 3);
  begin(frame, 190, 14 + longest * 6.6, from);
  const { svg, left, right, top, bottom, x } = frame;
  const [a, b] = [to(low), to(high)];
  const y = (value) => Math.min(Math.max(bottom - ((to(value) - a) / (b - a)) * (bottom - top), top), bottom);
  // Those at the ends and at zero first; what has no room beside them is left out.
  const places = [];
  labels.sort(([v], [w]) => (w === 0) - (v === 0) || Math.abs(w) - Math.abs(v));
  for (const [value, label] of labels) {
    if (places.some((place) => Math.abs(place - y(value)) < 13)) continue;
    places.push(y(value));
    draw(svg, "line", { class: value === 0 ? "zero" : "grid", x1: left, x2: right, y1: y(value), y2: y(value) });
    draw(svg, "text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, label);
  }
  for (const line of lines) {
    const dim = line.dim ? " dim" : "";
    for (const piece of pieces(line.bands || [], gap)) {
      const upper = piece.map(([t, half]) => `${x(t).toFixed(1)},${y(half).toFixed(1)}`);
      const lower = piece.map(([t, half]) => `${x(t).toFixed(1)},${y(-half).toFixed(1)}`).reverse();
      draw(svg, "polygon", { class: `band ${line.style}${dim}`, points: [...upper, ...lower].join(" ") });
    }
    for (const piece of pieces(line.points, gap)) {
      const points = piece.map(([t, value]) => `${x(t).toFixed(1)},${y(value).toFixed(1)}`);
      if (points.length === 1) points.push(points[0]);
      draw(svg, "polyline", { class: `line ${line.style}${dim}`, points: points.join(" ") });
    }
  }
  end(frame, marks, cursor);
}

// Parts of a line without anything unknown, and without a longer time, between its points.
function pieces(points, gap) {
  const found = [];
  let piece = [], last = null;
  for (const point of points) {
    if (point[1] === null || (last !== null && last - point[0] > gap)) {
      if (piece.length) found.push(piece);
      piece = [];
    }
    if (point[1] !== null) piece.push(point);
    last = point[0];
  }
  if (piece.length) found.push(piece);
  return found;
}

// rows: [{name, cells: [[from ago, to ago, look]]}]; a look is a class and the part of the height that it takes.
function drawStrips(frame, { rows, from, marks, cursor }) {
  const height = Math.max(rows.length * 17, 150);
  const step = height / Math.max(rows.length, 1);
  const longest = Math.min(Math.max(...rows.map((row) => row.name.length), 3), 14);
  begin(frame, height + 30, 14 + longest * 6.6, from);
  const { svg, left, top, x } = frame;
  rows.forEach((row, index) => {
    const middle = top + step * (index + 0.5);
    const name = row.name.length > longest ? `${row.name.slice(0, longest - 1)}…` : row.name;
    draw(svg, "text", { x: left - 6, y: middle + 4, "text-anchor": "end" }, name);
    for (const [start, stop, look] of row.cells) {
      const tall = Math.min(step * 0.7, 22) * look.part;
      const begins = Math.max(x(Math.min(start, from)), left);
      const width = Math.max(x(Math.max(stop, 0)) - begins - 0.5, 1);
      draw(svg, "rect", { class: look.style, x: begins, y: middle - tall / 2, width, height: tall });
    }
  });
  end(frame, marks, cursor);
}
