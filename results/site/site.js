// What pages do beyond showing: the theme, tables that can be sorted and filtered, numbers of charts in a tooltip.
"use strict";

// The theme: that of the system unless one was chosen. Before the page is drawn, so that it does not flash.
const THEME = "kmodels-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosenTheme() {
  try { return localStorage.getItem(THEME); } catch { return null; }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

if (["light", "dark"].includes(chosenTheme())) document.documentElement.dataset.theme = chosenTheme();

function addThemeButton() {
  const button = document.createElement("button");
  button.className = "theme";
  button.type = "button";
  const say = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem(THEME, theme); } catch { /* it holds for this page only */ }
    say();
  });
  system.addEventListener("change", say);
  say();
  document.querySelector("header.top").append(button);
}

// Tables

function makeSortable(table) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(table, head, column));
  });
}

function sortBy(table, head, column) {
  const numeric = head.classList.contains("number");
  const before = head.getAttribute("aria-sort");
  // The best is what one looks for first.
  const order = before ? (before === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
  table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const key = (row) => {
    const cell = row.cells[column];
    if (!numeric) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);  // no number: last in both orders
    return sign * (numeric ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  });
  body.append(...rows.map(([, row]) => row));
}

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 12) return;
  const box = document.createElement("div");
  box.className = "filter";
  const label = document.createElement("label");
  label.textContent = "Filter ";
  const input = document.createElement("input");
  input.type = "search";
  input.setAttribute("aria-controls", table.id);
  label.append(input);
  const shown = document.createElement("span");
  shown.setAttribute("role", "status");
  box.append(label, shown);
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${rows.length} rows`;
  };
  input.addEventListener("input", filter);
  filter();
  table.closest(".wide").before(box);
}

// Charts: one tooltip for all.

let tip;

function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(Math.max(x - width / 2, 4), document.documentElement.clientWidth - width - 4);
  const above = y - height - 14;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 4 ? above : y + 18}px`;
}

function hideTip() { tip.hidden = true; }

function tipAt(element) {
  const box = element.getBoundingClientRect();
  showTip(element.dataset.tip, box.left + box.width / 2, box.top);
}

// Arrow keys, Home and End move an index from 0 to last; others leave it.
function moved(event, index, last) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const to = step ? index + step : { Home: 0, End: last }[event.key];
  if (to === undefined) return null;
  event.preventDefault();
  return Math.min(Math.max(to, 0), last);
}

function addTips(root) {
  root.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-tip]");
    if (mark) showTip(mark.dataset.tip, event.clientX, event.clientY);
  });
  root.addEventListener("pointermove", (event) => {
    const mark = event.target.closest("[data-tip]");
    if (mark) showTip(mark.dataset.tip, event.clientX, event.clientY);
  });
  root.addEventListener("pointerout", (event) => { if (event.target.closest("[data-tip]")) hideTip(); });
  root.addEventListener("focusin", (event) => { if (event.target.matches("svg.row[data-tip]")) tipAt(event.target); });
  root.addEventListener("focusout", hideTip);
  root.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
}

function makeLines(chart) {
  const data = JSON.parse(chart.dataset.lines);
  const cursor = chart.querySelector(".cursor");
  let index = -1;
  const at = (x) => data.left + (data.right - data.left) * (x - 1) / (data.last - 1);
  const show = (to, clientY) => {
    index = to;
    const x = at(data.x[index]);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    const lines = data.series.filter((one) => one.values[index] !== null)
      .map((one) => `${one.name}: ${one.values[index]}`);
    const box = chart.getBoundingClientRect();
    showTip([`epoch ${data.x[index]}`, ...lines].join("\n"), box.left + x * box.width / chart.viewBox.baseVal.width,
      clientY ?? box.top + 10);
  };
  const hide = () => { cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9); hideTip(); };
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const x = (event.clientX - box.left) * chart.viewBox.baseVal.width / box.width;
    const epoch = 1 + (x - data.left) * (data.last - 1) / (data.right - data.left);
    let best = 0;
    data.x.forEach((one, i) => { if (Math.abs(one - epoch) < Math.abs(data.x[best] - epoch)) best = i; });
    show(best, event.clientY);
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const to = moved(event, index, data.x.length - 1);
    if (to !== null) show(to);
  });
}

function makeMarks(chart) {
  const marks = [...chart.querySelectorAll("[data-tip]")];
  let index = -1;
  const mark = (to) => {
    marks[index]?.classList.remove("current");
    index = to;
    marks[index]?.classList.add("current");
  };
  chart.addEventListener("keydown", (event) => {
    const to = moved(event, index, marks.length - 1);
    if (to === null) return;
    mark(to);
    tipAt(marks[to]);
  });
  chart.addEventListener("blur", () => mark(-1));
}

// A confusion matrix as a table: arrow keys move over its cells.
function makeCells(region) {
  const rows = [...region.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
  moveOver(region, rows.length, (i, j) => {
    region.querySelector(".current")?.classList.remove("current");
    const cell = rows[i]?.[j];
    if (!cell) return;
    cell.classList.add("current");
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
    tipAt(cell);
  });
}

// One of many classes is a picture, with its counts beside it.
function makeMatrix(box) {
  const { names, counts } = JSON.parse(box.dataset.matrix);
  const rows = counts.split(";").map((row) => row.split(",").map(Number));
  const totals = rows.map((row) => row.reduce((sum, n) => sum + n, 0));
  const spot = document.createElement("span");
  spot.className = "spot";
  spot.hidden = true;
  box.append(spot);
  const show = (i, j) => {
    spot.hidden = !names[i] || !names[j];
    if (spot.hidden) { hideTip(); return; }
    const side = 100 / names.length;
    spot.style.cssText = `left:${j * side}%;top:${i * side}%;width:${side}%;height:${side}%`;
    const share = totals[i] ? (100 * rows[i][j] / totals[i]).toFixed(1) : "0.0";
    const what = i === j ? `${names[i]}: right` : `${names[i]} taken for ${names[j]}`;
    const at = box.getBoundingClientRect();
    showTip(`${what}\n${rows[i][j]} of ${totals[i]} images, ${share} %`,
      at.left + (j + .5) * at.width / names.length, at.top + i * at.height / names.length);
  };
  const cell = (at, start, size) => Math.floor((at - start) / size * names.length);
  box.addEventListener("pointermove", (event) => {
    const at = box.getBoundingClientRect();
    show(cell(event.clientY, at.top, at.height), cell(event.clientX, at.left, at.width));
  });
  box.addEventListener("pointerleave", () => show(-1, -1));
  moveOver(box, names.length, show);
}

function moveOver(element, size, show) {
  let [i, j] = [0, -1];
  element.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const within = (n) => Math.min(Math.max(n, 0), size - 1);
    [i, j] = [within(i + step[0]), within(j + step[1])];
    show(i, j);
  });
  element.addEventListener("blur", () => { [i, j] = [0, -1]; show(-1, -1); });
}

// On paper, what is folded is shown.
function unfoldForPrint() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
}

document.addEventListener("DOMContentLoaded", () => {
  tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  addThemeButton();
  document.querySelectorAll("table.sortable").forEach((table) => { makeSortable(table); makeFilterable(table); });
  addTips(document.body);
  document.querySelectorAll("svg.lines").forEach(makeLines);
  document.querySelectorAll("svg.marks").forEach(makeMarks);
  document.querySelectorAll(".wide:has(> .confusion)").forEach(makeCells);
  document.querySelectorAll(".matrix").forEach(makeMatrix);
  unfoldForPrint();
});
