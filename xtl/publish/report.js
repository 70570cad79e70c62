"use strict";
(async function () {
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

  // The panel: the instances of one cell.
  const OUTCOMES = {
    fixed: "wrong → right",
    broken: "right → wrong",
    kept: "right → right",
    wrong: "wrong → wrong",
    changed: "answer changed",
    same: "answer unchanged",
  };

  // How a cell is opened: "click", "key" (with the focus), or "quiet", where nobody asked: the page stays where it is.
  async function open(card, i, j, how = "click") {
    const ticket = ++opened;
    const section = sections[card.section];
    card.at = [i, j];
    for (const span of $$(".map .picked")) span.hidden = true;
    const same = cards.filter((one) => one.section === card.section && one.module === card.module);
    for (const one of same) mark(one, "picked", i, j);
    const data = await load(card.section);
    if (ticket !== opened) return;
    const { sources, targets, modules } = section;
    const size = modules.length * sources.length * targets.length;
    const cell = (card.module * sources.length + i) * targets.length + j;
    const { gain, correct, text, option } = data.arrays;
    const after = (at, n) => Array.from(option.subarray(at * data.n_options, at * data.n_options + n), share);
    const instances = data.rows.map((row, k) => {
      const at = k * size + cell;
      const raw = gain ? gain[at] : MISSING;
      const found = {
        row,
        gain: raw === MISSING ? null : raw * data.step,
        correct: correct ? Boolean(correct[at]) : null,
        text: text ? data.texts[text[at]] : null,
        after: option && row.options ? after(at, row.options.length) : null,
      };
      if (found.correct !== null && row.correct !== undefined) {
        found.outcome = row.correct ? (found.correct ? "kept" : "broken") : found.correct ? "fixed" : "wrong";
      } else if (text) found.outcome = found.text === row.text ? "same" : "changed";
      return found;
    });
    const beside = window.matchMedia("(min-width: 64rem)").matches;
    picked = { card, section, instances, outcome: "all", shown: how === "quiet" && !beside ? FEW : PAGE };
    const name = section.name ? `, ${section.name}` : "";
    $("#panel-title").textContent = `${modules[card.module]} ${sources[i]} → ${targets[j]}${name}`;
    $("#panel-words").textContent = cellWords(card, i, j);
    more(card, i, j);
    $("#panel-body").hidden = false;
    $("#back").hidden = how === "quiet";
    $("#panel").classList.add("filled");
    $("#panel").classList.toggle("opened", how !== "quiet");
    $("#panel").dataset.cell = `${card.section} ${card.module} ${i} ${j}`;
    outcomes();
    list();
    cellTable(card);
    if (how === "quiet") return;
    try {
      history.replaceState(null, "", linkTo(card, i, j));
    } catch {
      // a page inside another one may have no address of its own
    }
    $("#panel").scrollTop = 0;
    if (how === "key") $("#panel-title").focus({ preventScroll: true });
    if (!beside || how === "key" || card.top) $("#panel").scrollIntoView({ block: beside && !card.top ? "nearest" : "start" });
  }

  const NOT_KEPT = "Which option the model chose was not kept: run it again with --details options (Python: details=\"options\").";

  // Below the words: what is not known, and a link that opens the page here.
  function more(card, i, j) {
    const link = element("a", "Link to this cell", { href: linkTo(card, i, j), id: "link" });
    const missing = sections[card.section].chosen === "left out" ? [`${NOT_KEPT} `] : [];
    $("#panel-more").replaceChildren(...missing, link);
  }

  // A cell as a fragment of the page's address: names and layers, so that a page that is made again knows it too.
  function linkTo(card, i, j) {
    const { model, task, direction, modules, sources, targets } = sections[card.section];
    const parts = [direction, modules[card.module], sources[i], targets[j], task, model];
    return `#cell=${parts.map(encodeURIComponent).join(",")}`;
  }

  function linked() {
    let parts;
    try {
      parts = location.hash.startsWith("#cell=") ? location.hash.slice(6).split(",").map(decodeURIComponent) : [];
    } catch {
      return null; // no address that this page makes
    }
    const [direction, module, source, target, task = "", model = ""] = parts;
    const index = sections.findIndex((one) => one.direction === direction && one.task === task && one.model === model);
    if (index < 0) return null;
    const m = sections[index].modules.indexOf(module);
    const i = sections[index].sources.findIndex((layer) => String(layer) === source);
    const j = sections[index].targets.findIndex((layer) => String(layer) === target);
    const card = cards.find((one) => !one.top && one.section === index && one.module === m);
    return card && i >= 0 && j >= 0 ? { card, i, j } : null;
  }

  function openLinked() {
    const cell = linked();
    if (!cell) return false;
    open(cell.card, cell.i, cell.j, "key");
    cell.card.node.scrollIntoView({ block: "nearest" });
    return true;
  }

  const share = (steps) => (steps > SHARES ? NaN : steps / SHARES);
  const percent = (value) => (!Number.isFinite(value) ? "–" : value > 0 && value < 0.005 ? "<1%" : `${Math.round(100 * value)}%`);
  const likeliest = (values) => values.reduce((best, value, k) => (value > (values[best] ?? -1) ? k : best), 0);

  // Each option with its probability before and after; the chosen one is bold.
  function optionTable(row, after) {
    const [chosen, then] = [likeliest(row.before), likeliest(after)];
    const table = element("table", undefined, { class: "options" });
    const head = table.createTHead().insertRow();
    for (const name of ["option", "vanilla", "transplanted"]) head.append(element("th", name, { scope: "col" }));
    const body = table.createTBody();
    row.options.forEach((option, k) => {
      const line = body.insertRow();
      line.append(element("th", option === row.gold ? `${option} ✓` : option, { scope: "row", dir: "auto" }));
      for (const [values, best] of [[row.before, chosen], [after, then]]) {
        const text = percent(values[k]);
        line.append(element("td", text, { class: k === best ? "number chosen" : "number" }));
      }
    });
    return table;
  }

  function cellWords(card, i, j) {
    const { n, kept, vanilla, measures, unit } = sections[card.section];
    const parts = measures.map((measure) => inWords(card.section, measure, valueOf(card.section, measure, card.module, i, j)));
    if (vanilla !== null && measures.includes("accuracy")) {
      const right = vanilla + Math.round(n * valueOf(card.section, "accuracy", card.module, i, j));
      parts.push(`right: ${right} of ${n}, vanilla ${vanilla} of ${n}`);
    }
    const twin = twinWords(card, i, j);
    if (twin) parts.push(twin);
    const best = bestOf(card);
    if (best && best.i === i && best.j === j && best.value > 0) parts.push("the best cell of its map, in-sample");
    if (kept < n) parts.push(`the page holds the first ${kept} of ${n} instances`);
    const words = parts.join("; ");
    return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
  }

  function outcomes() {
    const counts = new Map([["all", picked.instances.length]]);
    for (const name of Object.keys(OUTCOMES)) {
      const count = picked.instances.filter((found) => found.outcome === name).length;
      const turns = name === "fixed" || name === "broken"; // these two are told even where there are none
      if (count || (turns && picked.instances.some((found) => found.correct !== null))) counts.set(name, count);
    }
    const fieldset = $("#outcomes");
    fieldset.replaceChildren(element("legend", "Instances"));
    for (const [name, count] of counts) {
      const radio = element("input", undefined, { type: "radio", name: "outcome", value: name });
      radio.checked = name === "all";
      radio.addEventListener("change", () => {
        picked.outcome = name;
        picked.shown = PAGE;
        list();
      });
      const wrapper = element("label");
      wrapper.append(radio, `${OUTCOMES[name] ?? "all"} (${count})`);
      fieldset.append(wrapper);
    }
  }

  function list() {
    const wanted = $("#find").value.trim().toLocaleLowerCase();
    const order = { down: -1, up: 1, as: 0 }[$("#order").value];
    const found = picked.instances.filter((one) => {
      if (picked.outcome !== "all" && one.outcome !== picked.outcome) return false;
      const { row } = one;
      const texts = [row.example, row.source, row.target, row.gold, row.text, one.text, ...(row.options ?? [])];
      return !wanted || texts.some((value) => value && value.toLocaleLowerCase().includes(wanted));
    });
    if (order) found.sort((a, b) => order * ((a.gain ?? -Infinity) - (b.gain ?? -Infinity)) || 0);
    const shown = found.slice(0, picked.shown);
    $("#instances").replaceChildren(...shown.map(article));
    $("#count").textContent = found.length
      ? `${shown.length} of ${found.length} shown`
      : "No instance matches.";
    $("#more").hidden = shown.length === found.length;
  }

  function article(one) {
    const { row } = one;
    const [from, to] = picked.section.languages;
    const made = element("article", undefined, { class: "instance" });
    const head = element("h4", row.example);
    if (one.outcome) head.append(element("span", OUTCOMES[one.outcome], { class: `outcome ${one.outcome}` }));
    if (one.gain !== null) head.append(element("span", `gain ${signed(one.gain)} ${picked.section.unit}`, { class: "soft" }));
    const lines = element("dl");
    const add = (name, value, language, kind = "") => {
      if (value === null || value === undefined || value === "") return;
      const options = { dir: RIGHT_TO_LEFT.has((language ?? "").split("-")[0]) ? "rtl" : "auto" };
      if (language) options.lang = language;
      if (kind) options.class = kind;
      lines.append(element("dt", name), element("dd", value, options));
    };
    add("source prompt", row.source, from, "prompt");
    add("target prompt", row.target, to, "prompt");
    add("gold", row.gold, to, "gold");
    const chosen = one.after && row.before ? [[row.before, likeliest(row.before)], [one.after, likeliest(one.after)]] : null;
    if (chosen) add("chosen", chosen.map(([values, k]) => `${row.options[k]} (${percent(values[k])})`).join(" → "), to, "choice");
    if (one.text !== null) {
      add("vanilla says", row.text.trim() || "(nothing)", to, "vanilla");
      add("transplanted", one.text.trim() || "(nothing)", to, "transplanted");
    } else if (row.score !== undefined && row.score !== null && one.gain !== null) {
      add("score", `${plain(row.score)} vanilla, ${plain(row.score + one.gain)} transplanted${chosen ? "" : " (no answers were generated)"}`);
    }
    made.append(head, lines);
    if (chosen) made.append(optionTable(row, one.after));
    return made;
  }

  function cellTable(card) {
    const details = $("#cell-table");
    const box = $(".scroll", details);
    const draw = () => {
      const { sources, targets, modules } = sections[card.section];
      const measure = measureOf(card.section);
      const table = element("table");
      const what = measure === "gain" ? "mean gain" : "in per cent";
      table.append(element("caption", `${modules[card.module]}: rows are source layers, columns target layers; ${what}.`));
      const head = element("tr");
      head.append(element("th", "source", { scope: "col" }));
      for (const layer of targets) head.append(element("th", layer, { scope: "col", class: "number" }));
      table.append(element("thead"));
      table.tHead.append(head);
      const body = table.createTBody();
      sources.forEach((layer, i) => {
        const row = body.insertRow();
        row.append(element("th", layer, { scope: "row" }));
        targets.forEach((_, j) => {
          const value = valueOf(card.section, measure, card.module, i, j);
          row.append(element("td", measure === "gain" ? signed(value, 2) : signed(100 * value, 0), { class: "number" }));
        });
      });
      box.replaceChildren(table);
    };
    box.replaceChildren();
    details.ontoggle = () => details.open && draw();
    if (details.open) draw();
  }

  // Tables: a click on a head sorts by it; numbers by value, the rest by text.
  function sortTables() {
    for (const table of $$("table.sortable")) {
      $$("thead th", table).forEach((head, column) => {
        const button = element("button", head.textContent, { type: "button" });
        head.replaceChildren(button);
        button.addEventListener("click", () => {
          const descending = head.getAttribute("aria-sort") !== "descending";
          for (const other of $$("thead th", table)) other.removeAttribute("aria-sort");
          head.setAttribute("aria-sort", descending ? "descending" : "ascending");
          const key = (row) => {
            const cell = row.cells[column];
            if (!("value" in cell.dataset)) return cell.textContent.trim();
            return cell.dataset.value === "" ? null : Number(cell.dataset.value);
          };
          const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
          rows.sort(([a], [b]) => {
            if (a === null || b === null) return (a === null) - (b === null); // unknown values stay last
            const way = descending ? -1 : 1;
            return way * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
          });
          table.tBodies[0].append(...rows.map(([, row]) => row));
        });
      });
    }
  }

  // Where a table is wider than its frame, a line says that there is more.
  function cues() {
    for (const cue of $$(".cue")) {
      const frame = cue.nextElementSibling;
      const rest = frame.scrollWidth - frame.clientWidth;
      cue.hidden = rest < 4;
      frame.classList.toggle("more", rest - frame.scrollLeft > 4);
      frame.onscroll = cues;
    }
  }

  for (const button of $$("button.cell")) {
    button.addEventListener("click", () => {
      const [section, module, i, j] = button.dataset.cell.split(" ").map(Number);
      const card = cards.find((one) => !one.top && one.section === section && one.module === module);
      card.node.scrollIntoView({ block: "nearest" });
      open(card, i, j, "key");
    });
  }
  filters.addEventListener("change", () => {
    filter();
    if (picked) cellTable(picked.card);
  });
  filters.addEventListener("submit", (event) => event.preventDefault());
  $("#find").addEventListener("input", () => {
    picked.shown = PAGE;
    list();
  });
  $("#order").addEventListener("change", list);
  $("#back").addEventListener("click", () => {
    picked.card.node.scrollIntoView({ block: "center" });
    picked.card.maps[0].focus({ preventScroll: true });
  });
  $("#more").addEventListener("click", () => {
    picked.shown += PAGE;
    list();
  });
  $("#panel-words").textContent = "Click a cell of a map, or a best cell in the table, to see its instances here.";
  window.addEventListener("hashchange", openLinked);
  window.addEventListener("resize", cues);
  sortTables();
  filter();
  cues();
  const first = cards.find((card) => card.top) ?? cards[0];
  const best = first && bestOf(first);
  if (!openLinked() && best) open(first, best.i, best.j, "quiet");
  document.documentElement.dataset.ready = "yes";
})();
