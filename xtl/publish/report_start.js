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
