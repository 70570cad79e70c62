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
