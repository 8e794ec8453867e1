"use strict";
// Whatever comes from the cache gets into the page as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// --- numbers for people ---------------------------------------------------------------------

const count = (n) => n.toLocaleString("en");
function size(bytes) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (bytes < 1000) return (unit === "B" ? bytes.toFixed(0) : bytes.toFixed(1)) + " " + unit;
    bytes /= 1000;
  }
  return bytes.toFixed(1) + " TB";
}
function duration(seconds) {
  if (seconds === null) return "";
  for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [0.001, "ms"]])
    if (Math.abs(seconds) >= length) return String(Number((seconds / length).toPrecision(3))) + " " + unit;
  return "0 s";
}
function moment(at) {
  const made = new Date(at * 1000);
  return isNaN(made) ? "" : made.toISOString().slice(0, 16).replace("T", " ");
}
const entries = (n) => (n === 1 ? "1 entry" : count(n) + " entries");
const share = (part, whole) => (whole ? (100 * part / whole).toFixed(1) + " %" : "–");

// --- the top --------------------------------------------------------------------------------

function showTop() {
  $("place").textContent = data.place;
  const parts = [data.backend];
  if (data.namespace) parts.push("namespace " + data.namespace);
  parts.push("as of " + moment(data.at) + " UTC");
  $("about").textContent = parts.join(" · ");
  document.title = "cacheness · " + data.place;
  const of = data.totals;
  const tiles = [
    ["Entries", count(of.entries), count(of.expired) + " expired, " + count(of.pinned) + " pinned"],
    ["Stored", size(of.stored_bytes), size(of.logical_bytes) + " before compression"],
    ["Hit rate", of.hits + of.misses ? share(of.hits, of.hits + of.misses) : "–", count(of.hits) + " hits, " + count(of.misses) + " misses"],
    ["Time saved", duration(of.seconds_saved), "by hits, less their reading"],
    ["Never hit", size(of.never_hit_bytes), entries(of.never_hit)],
    ["Superseded", size(of.superseded_bytes), "by newer code of a function"],
  ];
  for (const [name, value, more] of tiles) {
    const tile = element("div", "tile");
    tile.append(element("div", "name", name), element("div", "value", value), element("div", "more", more));
    $("tiles").append(tile);
  }
  $("footer").textContent = "Made by cacheness " + data.version + ". This file is whole: it asks no network for anything.";
}

// --- switches -------------------------------------------------------------------------------

function makeSwitch(where, names, choose) {
  const buttons = names.map((name) => {
    const button = element("button", "", name);
    button.type = "button";
    button.addEventListener("click", () => press(button));
    where.append(button);
    return button;
  });
  function press(chosen) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button === chosen));
    choose(chosen.textContent);
  }
  press(buttons[0]);
}

// --- the treemap ----------------------------------------------------------------------------

const COLOURS = 8;

function largest(groups) {
  const all = groups.filter((of) => of.stored_bytes > 0).sort((a, b) => b.stored_bytes - a.stored_bytes);
  const shown = all.slice(0, 24);
  const rest = all.slice(24);
  if (rest.length)
    shown.push({name: rest.length + " more", stored_bytes: rest.reduce((sum, of) => sum + of.stored_bytes, 0),
      entries: rest.reduce((sum, of) => sum + of.entries, 0), rest: true});
  return shown;
}
// Squarified: a row takes cells as long as that makes its worst one less oblong.
function squarify(items, x, y, width, height) {
  const total = items.reduce((sum, of) => sum + of.stored_bytes, 0);
  const scale = total ? width * height / total : 0;
  const placed = [];
  let row = [];
  const areaOf = (cells) => cells.reduce((sum, of) => sum + of.stored_bytes * scale, 0);
  function worst(cells) {
    const side = Math.min(width, height), area = areaOf(cells);
    return Math.max(...cells.map((of) => {
      const one = of.stored_bytes * scale, length = one * side / area, depth = area / side;
      return Math.max(length / depth, depth / length);
    }));
  }
  function place() {
    const area = areaOf(row), upright = width >= height, depth = area / (upright ? height : width);
    let offset = 0;
    for (const of of row) {
      const length = of.stored_bytes * scale / depth;
      placed.push(upright ? {of, x, y: y + offset, width: depth, height: length} : {of, x: x + offset, y, width: length, height: depth});
      offset += length;
    }
    if (upright) { x += depth; width -= depth; } else { y += depth; height -= depth; }
    row = [];
  }
  for (const item of items) {
    if (row.length && worst(row) < worst([...row, item])) place();
    row.push(item);
  }
  if (row.length) place();
  return placed;
}
function showSpace(kind) {
  const map = $("treemap"), legend = $("space-legend");
  map.replaceChildren();
  legend.replaceChildren();
  const items = largest(data.groups[kind]);
  if (!items.length) {
    map.append(element("p", "empty", "Nothing is stored by " + kind.toLowerCase() + "."));
    return;
  }
  const width = 1000, height = 1000 * map.clientHeight / Math.max(map.clientWidth, 320);
  const total = data.totals.stored_bytes;
  squarify(items, 0, 0, width, height).forEach(({of, x, y, width: w, height: h}, number) => {
    const cell = element("div", "cell");
    cell.setAttribute("role", "listitem");
    cell.style.cssText = `left:${x / 10}%;top:${100 * y / height}%;width:${w / 10}%;height:${100 * h / height}%;` +
      `background:var(--c${of.rest || number >= COLOURS ? 8 : number})`;
    const told = size(of.stored_bytes) + " · " + share(of.stored_bytes, total) + " · " + entries(of.entries);
    cell.title = of.name + "\n" + told;
    const name = element("b", "", of.name);
    name.dir = "auto";
    // In thousandths of the width, which is some 800 pixels.
    const readable = w > 75 && h > 40;
    if (readable) cell.append(name);
    if (readable && h > 64) cell.append(element("span", "", w > 290 ? told : size(of.stored_bytes)));
    map.append(cell);
    if (number < COLOURS && (!readable || w < 220)) {
      const line = element("li"), dot = element("i", "dot"), text = element("span", "", of.name + " · " + size(of.stored_bytes));
      dot.style.background = `var(--c${number})`;
      text.dir = "auto";
      line.append(dot, text);
      legend.append(line);
    }
  });
}

// --- integrity ------------------------------------------------------------------------------

function showIntegrity() {
  const where = $("integrity"), found = data.integrity;
  const verdict = element("div", "verdict");
  const mood = !found ? "warn" : found.ok ? "good" : "bad";
  const words = element("div");
  words.append(
    element("b", mood, !found ? "Not verified" : found.ok ? "All well" : count(found.faults) + (found.faults === 1 ? " problem" : " problems")),
    element("small", "", !found ? "made with --no-verify" : count(found.entries) + " payloads compared with their checksums"));
  verdict.append(element("span", "sign " + mood, mood === "good" ? "✓" : mood === "bad" ? "!" : "–"), words);
  where.append(verdict);
  if (!found) return;
  const list = element("ul", "counts");
  for (const [kind, number] of found.counts) {
    const line = element("li", number ? "" : "none");
    line.append(element("span", "", kind), element("span", "", count(number)));
    list.append(line);
  }
  where.append(list);
  if (found.problems.length) {
    const problems = element("ul", "problems");
    for (const [name, detail] of found.problems) problems.append(element("li", "", name + ": " + detail));
    where.append(problems);
  }
}

// --- day by day -----------------------------------------------------------------------------

function everyDay(days) {
  if (!days.length) return [];
  const by = new Map(days.map((of) => [of.name, of]));
  const last = Date.parse(days[days.length - 1].name), filled = [];
  let at = Math.max(Date.parse(days[0].name), last - 89 * 86400000);
  for (; at <= last; at += 86400000) {
    const name = new Date(at).toISOString().slice(0, 10);
    filled.push(by.get(name) || {name, hits: 0, misses: 0, seconds_saved: 0, entries: 0, stored_bytes: 0});
  }
  while (filled.length < 14) {
    const name = new Date(Date.parse(filled[0].name) - 86400000).toISOString().slice(0, 10);
    filled.unshift({name, hits: 0, misses: 0, seconds_saved: 0, entries: 0, stored_bytes: 0});
  }
  return filled;
}
function barChart(title, days, parts, tell) {
  const width = 1160, height = 132, left = 66, top = 22, bottom = 20;
  const chart = drawn("svg", {viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": title});
  const most = Math.max(...days.map((day) => parts.reduce((sum, part) => sum + Math.max(part.of(day), 0), 0)), 0) || 1;
  const step = (width - left) / days.length, inner = height - top - bottom;
  chart.append(drawn("text", {x: 0, y: 12, class: "title"}, title));
  for (const part of [0, 0.5, 1]) {
    const y = top + inner * (1 - part);
    chart.append(drawn("line", {x1: left, x2: width, y1: y, y2: y, class: "rule"}));
    chart.append(drawn("text", {x: left - 8, y: y + 4, "text-anchor": "end"}, tell(most * part)));
  }
  days.forEach((day, number) => {
    const group = drawn("g", {class: "day"});
    const told = parts.map((part) => part.name + " " + part.tell(part.of(day))).join(", ");
    group.append(drawn("title", {}, day.name + ": " + told));
    let y = top + inner;
    for (const part of parts) {
      const high = inner * Math.max(part.of(day), 0) / most;
      y -= high;
      const wide = Math.min(step * 0.72, 34);
      group.append(drawn("rect", {x: left + (number + 0.5) * step - wide / 2, y, width: wide, height: high, rx: Math.min(2.5, high / 2), fill: `var(${part.colour})`}));
    }
    group.append(drawn("rect", {x: left + number * step, y: top, width: step, height: inner, fill: "transparent"}));
    chart.append(group);
    const every = Math.ceil(days.length / 10);
    if ((days.length - 1 - number) % every === 0)
      chart.append(drawn("text", {x: left + (number + 0.5) * step, y: height - 4, "text-anchor": "middle"}, day.name.slice(5)));
  });
  return chart;
}
function showDays() {
  const days = everyDay(data.days), where = $("days");
  if (!days.length) {
    where.append(element("p", "empty", "Nothing was read yet."));
    return;
  }
  const hits = {name: "hits", colour: "--bar", of: (day) => day.hits, tell: count};
  const misses = {name: "misses", colour: "--bar-off", of: (day) => day.misses, tell: count};
  const saved = {name: "saved", colour: "--c1", of: (day) => day.seconds_saved, tell: duration};
  const stored = {name: "stored", colour: "--c3", of: (day) => day.stored_bytes, tell: size};
  where.append(
    barChart("Reads", days, [hits, misses], (n) => count(Math.round(n))),
    barChart("Time saved", days, [saved], duration),
    barChart("Stored, and still there", days, [stored], size));
  for (const part of [hits, misses]) {
    const line = element("li"), dot = element("i", "dot");
    dot.style.background = `var(${part.colour})`;
    line.append(dot, element("span", "", "reads: " + part.name));
    $("time-legend").append(line);
  }
}

// --- tables ---------------------------------------------------------------------------------

const PAGE = 100;

class Rows {
  // columns: {name, of: row → what it sorts by, number, show: (row, cell) → fills the cell}
  constructor(where, columns, rows, search, first) {
    Object.assign(this, {where, columns, rows, search, needle: "", shown: PAGE});
    [this.sorted, this.down] = first;
    search.addEventListener("input", () => {
      this.needle = search.value.trim().toLowerCase();
      this.shown = PAGE;
      this.draw();
    });
    this.texts = new Map(rows.map((row) => [row, row.search.toLowerCase()]));
  }
  use(rows, sorted, down) {
    Object.assign(this, {rows, sorted, down, shown: PAGE});
    this.draw();
  }
  sortBy(number) {
    this.down = this.sorted === number ? !this.down : Boolean(this.columns[number].number);
    this.sorted = number;
    this.draw();
    this.where.querySelectorAll("th button")[number].focus();
  }
  found() {
    const {of} = this.columns[this.sorted], sign = this.down ? -1 : 1;
    return this.rows.filter((row) => this.texts.get(row).includes(this.needle)).sort((a, b) => {
      const one = of(a), other = of(b);
      if (one === null || other === null) return (one === null) - (other === null);
      return sign * (one < other ? -1 : one > other ? 1 : 0);
    });
  }
  draw() {
    const found = this.found(), table = element("table"), head = element("tr"), body = element("tbody");
    this.columns.forEach((column, number) => {
      const cell = element("th", column.number ? "number" : ""), button = element("button", "", column.name);
      cell.scope = "col";
      if (number === this.sorted) {
        cell.setAttribute("aria-sort", this.down ? "descending" : "ascending");
        const arrow = element("span", "", this.down ? "↓" : "↑");
        arrow.setAttribute("aria-hidden", "true");
        button.append(arrow);
      }
      button.type = "button";
      button.addEventListener("click", () => this.sortBy(number));
      cell.append(button);
      head.append(cell);
    });
    for (const row of found.slice(0, this.shown)) {
      const line = element("tr");
      for (const column of this.columns) {
        const cell = element("td", column.number ? "number" : column.className || "");
        cell.dir = "auto";
        column.show(row, cell);
        line.append(cell);
      }
      body.append(line);
    }
    const top = element("thead"), scroll = element("div", "scroll");
    top.append(head);
    table.append(top, body);
    scroll.append(table);
    const below = element("div", "below");
    this.where.replaceChildren(scroll, below);
    if (!found.length) below.append(element("span", "", this.needle ? "Nothing like that is here." : "None."));
    else below.append(element("span", "", count(Math.min(this.shown, found.length)) + " of " + count(found.length)));
    if (found.length > this.shown) {
      const more = element("button", "more-rows", "Show more");
      more.type = "button";
      more.addEventListener("click", () => { this.shown += 5 * PAGE; this.draw(); });
      below.append(more);
    }
  }
}
const plain = (name, of, more = {}) => ({name, of, show: (row, cell) => { cell.textContent = of(row); }, ...more});
const numeric = (name, of, tell) => ({name, of, number: true, show: (row, cell) => { cell.textContent = of(row) === null ? "" : tell(of(row)); }});
const withMore = (name, of, more, className) => ({name, of, className, show: (row, cell) => {
  cell.textContent = of(row);
  const below = more(row);
  if (below) {
    const small = element("small", "", below);
    small.dir = "auto";
    cell.append(small);
  }
}});

function showEntries() {
  const most = Math.max(1, ...data.entries.map((row) => row.stored_bytes));
  for (const row of data.entries)
    row.search = [row.key, row.params, row.value, row.of, row.prefix, row.handler, row.tags, row.description, row.state].join(" ");
  const columns = [
    withMore("Key", (row) => row.key, (row) => row.params, "key"),
    withMore("Value", (row) => row.value, (row) => [row.handler, row.description].filter(Boolean).join(" · ")),
    withMore("Of", (row) => row.of || row.prefix, (row) => [row.of && row.prefix, row.tags].filter(Boolean).join(" · ")),
    {name: "Size", number: true, of: (row) => row.stored_bytes, show: (row, cell) => {
      cell.textContent = size(row.stored_bytes);
      const gauge = element("div", "gauge");
      gauge.style.width = 100 * row.stored_bytes / most + "%";
      cell.append(gauge);
    }},
    numeric("Hits", (row) => row.hits, count),
    numeric("Took", (row) => row.cost_seconds, duration),
    numeric("Stored", (row) => row.created_at, moment),
    numeric("Last read", (row) => (row.hits ? row.accessed_at : null), moment),
    {name: "State", of: (row) => row.state, show: (row, cell) => cell.append(element("span", "state " + row.state, row.state))},
  ];
  const rows = new Rows($("entries"), columns, data.entries, $("entries-search"), [3, true]);
  makeSwitch($("entries-switch"), ["Biggest", "Oldest", "Never hit"], (name) => {
    if (name === "Biggest") rows.use(data.entries, 3, true);
    else if (name === "Oldest") rows.use(data.entries, 6, false);
    else rows.use(data.entries.filter((row) => !row.hits), 3, true);
  });
  if (data.entries.length < data.totals.entries) {
    const left = element("p", "empty", "The table holds " + count(data.entries.length) + " of " + count(data.totals.entries) +
      " entries: the biggest, the oldest, and the biggest that were never hit.");
    $("entries").after(left);
  }
}
function showFunctions() {
  const rows = data.groups.Function.map((of) => ({...of, search: of.name}));
  new Rows($("functions"), [
    plain("Function", (row) => row.name, {className: "key"}),
    numeric("Entries", (row) => row.entries, count),
    numeric("Size", (row) => row.stored_bytes, size),
    numeric("Hits", (row) => row.hits, count),
    numeric("Misses", (row) => row.misses, count),
    numeric("Hit rate", (row) => (row.hits + row.misses ? row.hits / (row.hits + row.misses) : null), (part) => share(part, 1)),
    numeric("Time saved", (row) => row.seconds_saved, duration),
  ], rows, $("functions-search"), [6, true]).draw();
}
function showPlugins() {
  const rows = data.plugins.map((of) => ({...of, search: [of.kind, of.name, of.distribution, of.types].join(" ")}));
  new Rows($("plugins"), [
    plain("Kind", (row) => row.kind),
    plain("Name", (row) => row.name, {className: "key"}),
    plain("From", (row) => row.distribution),
    numeric("Priority", (row) => row.priority, String),
    numeric("Entries", (row) => row.entries, count),
    plain("For", (row) => row.types),
  ], rows, $("plugins-search"), [0, false]).draw();
  for (const failure of data.plugin_failures) $("plugins").after(element("p", "bad", failure));
}

showTop();
makeSwitch($("space-switch"), ["Function", "Handler", "Prefix"], showSpace);
showIntegrity();
showDays();
showEntries();
showFunctions();
showPlugins();
