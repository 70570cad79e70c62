// What the page holds, and its maps. The three scripts of the page run as one function, in the order of `page.SCRIPTS`.
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const PAGE = 20;
const FEW = 2; // on a narrow page, where nobody asked for them: what comes below is not far
const MISSING = -32768;
const SHARES = 65534;
const RIGHT_TO_LEFT = new Set(["ar", "fa", "he", "ur", "yi", "ps", "sd", "ug", "dv", "ckb"]);
const ARRAYS = { int16: Int16Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };

// What `xtl.publish.pack` packed: base64, gzip, then the length of the JSON, the JSON, the arrays.
async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const start = 4 + new DataView(buffer).getUint32(0, true);
  const content = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
  const body = buffer.slice(start);
  for (const [name, place] of Object.entries(content.arrays)) {
    content.arrays[name] = new ARRAYS[place.kind](body, place.start, place.length);
  }
  return content;
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const signed = (value, digits = 3) =>
  !Number.isFinite(value) ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

const plain = (value) => signed(value).replace(/^\+|^−(?=0\.000$)/, "");

if (typeof DecompressionStream === "undefined") {
  sortTables();
  cues();
  return;
}
const { sections, arrays: maps } = await unpack("overview");
const loaded = new Map();
const load = (index) => {
  if (!loaded.has(index)) loaded.set(index, unpack(`section-${index}`));
  return loaded.get(index);
};
const cards = $$(".card").map((node) => ({
  node,
  maps: $$(".map", node),
  top: node.classList.contains("top"),
  section: Number(node.dataset.section),
  module: Number(node.dataset.module),
  at: null,
}));
const filters = $("form.filters");
let picked = null;
let opened = 0;

const measureOf = (index) => {
  const chosen = filters.elements.measure.value;
  return sections[index].measures.includes(chosen) ? chosen : sections[index].measures[0];
};

function valueOf(index, measure, m, i, j) {
  const { sources, targets } = sections[index];
  return maps[`${index}/${measure}`][(m * sources.length + i) * targets.length + j];
}

// Real minus control at a cell, and its p-value; null without a control.
function twinOf(index, measure, m, i, j) {
  const { sources, targets } = sections[index];
  const at = (m * sources.length + i) * targets.length + j;
  const twin = maps[`${index}/${measure}/twin`];
  return twin ? { value: twin[at], p: maps[`${index}/${measure}/p`][at] } : null;
}

function twinWords(card, i, j) {
  const measure = measureOf(card.section);
  const twin = twinOf(card.section, measure, card.module, i, j);
  if (!twin || !Number.isFinite(twin.value)) return null;
  const p = !Number.isFinite(twin.p) ? "not tested" : twin.p < 0.001 ? "p < 0.001" : `p = ${twin.p.toFixed(3)}`;
  const value = measure === "gain" ? `${signed(twin.value)} ${sections[card.section].unit}` : `${signed(100 * twin.value, 0)} points`;
  return `real minus control ${value} (${p})`;
}

// The best cell of a map by what is shown, or null.
function bestOf(card) {
  const { sources, targets } = sections[card.section];
  let best = null;
  for (let i = 0; i < sources.length; i++) {
    for (let j = 0; j < targets.length; j++) {
      const value = valueOf(card.section, measureOf(card.section), card.module, i, j);
      if (Number.isFinite(value) && (best === null || value > best.value)) best = { i, j, value };
    }
  }
  return best;
}

function inWords(index, measure, value) {
  if (!Number.isFinite(value)) return "no value";
  if (measure === "gain") return `mean gain ${signed(value)} ${sections[index].unit}`;
  if (measure === "accuracy") return `accuracy ${signed(100 * value, 0)} points`;
  return `${Math.round(100 * value)}% of answers changed`;
}

function describe(card, i, j) {
  const { sources, targets, modules, measures } = sections[card.section];
  const values = measures.map((measure) => inWords(card.section, measure, valueOf(card.section, measure, card.module, i, j)));
  const twin = twinWords(card, i, j);
  return `${modules[card.module]}, source layer ${sources[i]} → target layer ${targets[j]}\n${values.join("; ")}${twin ? `\n${twin}` : ""}`;
}

// Filters: cards, rows of the summary and findings follow the same choices.
function filter() {
  const chosen = ["model", "task", "direction", "module"].map((name) => {
    const select = filters.elements[name];
    return [name, select.value === "" ? null : select.selectedOptions[0].textContent];
  });
  const named = (text) => (text === "" ? "not named" : text);
  let shown = 0;
  const visible = new Set();
  for (const card of cards) {
    const measure = measureOf(card.section);
    for (const one of $$("[data-measure]", card.node)) one.hidden = one.dataset.measure !== measure;
    for (const twin of $$(".twin", card.node)) twin.hidden = !$(`[data-measure="${measure}"]`, twin);
    const best = bestOf(card);
    if (best && best.value > 0) mark(card, "best", best.i, best.j);
    else for (const map of card.maps) $(".best", map).hidden = true;
    if (card.top) continue;
    const fits = chosen.every(([name, value]) => value === null || named(card.node.dataset[`${name}Name`]) === value);
    card.node.hidden = !fits;
    if (fits) {
      shown += 1;
      visible.add(`${card.section} ${card.module}`).add(`${card.section}`);
    }
  }
  for (const block of $$(".block")) block.hidden = !$(".card:not([hidden])", block);
  for (const row of $$("[data-row]")) row.hidden = !visible.has(row.dataset.row);
  for (const words of $$("[data-words]")) words.hidden = !visible.has(words.dataset.words);
  const inUse = new Set(cards.filter((card) => card.top || !card.node.hidden).map((card) => measureOf(card.section)));
  for (const bar of $$(".bar")) bar.hidden = !inUse.has(bar.dataset.measure);
  $("#none").hidden = shown > 0;
  const all = cards.filter((card) => !card.top).length;
  $("#shown").textContent = shown === all ? `${shown} maps` : `${shown} of ${all} maps`;
  cards.forEach(label);
}

function label(card) {
  for (const map of card.maps) {
    const image = $(`picture[data-measure="${measureOf(card.section)}"] img`, map);
    if (image) map.setAttribute("aria-label", `${image.alt}. Arrow keys move, Enter opens a cell.`);
  }
}

// A map: hover and arrow keys say what a cell is, click and Enter open it.
function cellAt(card, map, event) {
  const box = map.getBoundingClientRect();
  const { sources, targets } = sections[card.section];
  const j = Math.floor(((event.clientX - box.left - map.clientLeft) / map.clientWidth) * targets.length);
  const row = Math.floor(((event.clientY - box.top - map.clientTop) / map.clientHeight) * sources.length);
  const within = (value, n) => Math.min(Math.max(value, 0), n - 1);
  return [sources.length - 1 - within(row, sources.length), within(j, targets.length)];
}

function mark(card, name, i, j) {
  const { sources, targets } = sections[card.section];
  for (const map of card.maps) {
    const span = $(`.${name}`, map);
    span.hidden = false;
    Object.assign(span.style, {
      left: `${(100 * j) / targets.length}%`,
      bottom: `${(100 * i) / sources.length}%`,
      width: `${100 / targets.length}%`,
      height: `${100 / sources.length}%`,
    });
  }
}

function hideTip() {
  $("#tip").hidden = true;
  for (const span of $$(".map .cursor")) span.hidden = true;
}

for (const [card, map] of cards.flatMap((card) => card.maps.map((map) => [card, map]))) {
  map.tabIndex = 0;
  map.setAttribute("role", "application");
  map.setAttribute("aria-roledescription", "heat map");
  map.addEventListener("pointermove", (event) => {
    const [i, j] = cellAt(card, map, event);
    mark(card, "cursor", i, j);
    const tip = $("#tip");
    tip.textContent = describe(card, i, j);
    tip.hidden = false;
    const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const below = event.clientY + 18;
    const top = below + tip.offsetHeight > window.innerHeight ? event.clientY - tip.offsetHeight - 12 : below;
    Object.assign(tip.style, { left: `${Math.max(left, 4)}px`, top: `${Math.max(top, 4)}px` });
  });
  map.addEventListener("pointerleave", hideTip);
  map.addEventListener("click", (event) => open(card, ...cellAt(card, map, event)));
  map.addEventListener("blur", hideTip);
  map.addEventListener("keydown", (event) => {
    const { sources, targets } = sections[card.section];
    let [i, j] = card.at ?? [0, 0];
    const moves = {
      ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1],
      Home: [0, -targets.length], End: [0, targets.length], PageUp: [sources.length, 0], PageDown: [-sources.length, 0],
    };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(card, i, j, "key");
    } else if (event.key in moves) {
      event.preventDefault();
      if (card.at) {
        i = Math.min(Math.max(i + moves[event.key][0], 0), sources.length - 1);
        j = Math.min(Math.max(j + moves[event.key][1], 0), targets.length - 1);
      }
      card.at = [i, j];
      mark(card, "cursor", i, j);
      $("#spoken").textContent = describe(card, i, j);
    }
  });
}
