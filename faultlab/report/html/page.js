"use strict";
const filters = document.getElementById("filters");

if (filters) {
  const fields = ["family", "severity", "status"];
  const groups = [...document.querySelectorAll(".group")];
  // Read once: a page may have thousands of rows.
  const rows = [...document.querySelectorAll("[data-mode]")].map((row) => {
    const { mode, who = "" } = row.dataset;
    return { row, mode, who: ` ${who} `, group: row.closest(".group") };
  });
  // The matrix has a mode's severity; a list outside it has faults of one verdict, which its heading's id names.
  const severities = new Map(rows.filter((one) => one.row.dataset.severity).map(({ row, mode }) => [mode, row.dataset.severity]));
  for (const one of rows) {
    const list = one.row.closest("section[aria-labelledby]").getAttribute("aria-labelledby");
    const verdict = () => one.row.cells[1].textContent.trim().replace(" ", "_");
    const status = one.row.dataset.status ?? (list === "matrix" ? verdict() : list);
    one.values = [one.mode.split(".")[0], severities.get(one.mode), status];
  }
  const every = new Set(rows.map((one) => one.mode)).size;

  const apply = () => {
    const asked = fields.map((name) => filters.elements[name].value);
    const who = filters.elements.who.value;
    const text = filters.elements.text.value.trim().toLowerCase();
    const matches = (one) =>
      asked.every((value, index) => !value || one.values[index] === value) &&
      (!who || one.who.includes(` ${who} `)) &&
      (!text || (one.text ??= one.row.textContent.toLowerCase()).includes(text));
    const shown = new Set();
    const left = new Set();
    for (const one of rows) {
      const hidden = !matches(one);
      // An attribute that does not change costs the browser nothing.
      if (one.row.hidden !== hidden) one.row.hidden = hidden;
      if (!hidden) shown.add(one.mode), left.add(one.group);
    }
    for (const group of groups) group.hidden = !left.has(group);
    filters.elements.shown.value = shown.size === every ? "" : `${shown.size} of ${every} failure modes`;
  };

  filters.addEventListener("input", apply);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(apply));
  filters.addEventListener("keydown", (event) => {
    if (event.key === "Escape") filters.reset();
  });
  filters.hidden = false;
  // A browser that returns to the page restores the fields.
  addEventListener("pageshow", apply);

  // A link to a failure mode that is filtered out, or folded, has to lead there too.
  const asked = () => {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return ""; // an invalid address must not stop the rest of the script
    }
  };
  const reveal = () => {
    const found = document.getElementById(asked());
    if (!found?.matches("[data-mode]")) return;
    if (found.hidden) filters.reset();
    for (let one = found; one; one = one.parentElement?.closest("details")) {
      if (one.matches("details")) one.open = true;
    }
    setTimeout(() => found.scrollIntoView());
  };
  addEventListener("hashchange", reveal);
  reveal();
}

const offer = (paste) => {
  const code = paste.querySelector("code");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  paste.append(button);
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
};
document.querySelectorAll(".paste").forEach(offer);

// Sorting: a click on a column's head, or Enter on it, sorts the rows; a second one reverses them.
const value = (cell) => cell?.dataset.sort ?? cell?.textContent.trim() ?? "";
const compare = (one, other) => {
  const [first, second] = [parseFloat(one), parseFloat(other)];
  if (!Number.isNaN(first) && !Number.isNaN(second)) return first - second;
  return Number.isNaN(first) - Number.isNaN(second) || one.localeCompare(other);
};

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  // A table sorts its bodies where each has the rows of one fault, and else the rows of its only body.
  const units = () => (table.tBodies.length > 1 ? [...table.tBodies] : [...table.tBodies[0].rows]);
  const cell = (unit, index) => (unit.rows ? unit.rows[0] : unit).cells[index];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.ariaSort = down ? "descending" : "ascending";
      const sorted = units().sort((one, other) => compare(value(cell(one, index)), value(cell(other, index))));
      if (down) sorted.reverse();
      for (const unit of sorted) unit.parentElement.append(unit);
    });
  });
}

// The command that runs a fault again is put together where it is asked for: hundreds of them would swell the page.
const silent = document.querySelector("[data-replay]");
const quoted = (id) => (/^[\w@%+=:,./-]+$/.test(id) ? id : `'${id.replaceAll("'", `'"'"'`)}'`);

silent?.addEventListener(
  "toggle",
  ({ target }) => {
    if (!target.matches(".lesson[open]") || target.querySelector(".paste")) return;
    const command = document.createElement("p");
    command.className = "paste";
    const code = document.createElement("code");
    code.textContent = `faultlab replay ${quoted(target.querySelector("small code").textContent)} ${silent.dataset.replay}`;
    command.append("Replay it: ", code);
    target.append(command);
    offer(command);
  },
  true,
);

const score = document.getElementById("score");

if (score) {
  const cases = [...document.querySelectorAll(".case")];
  let guessed = 0;
  let right = 0;
  for (const one of cases) {
    one.addEventListener("change", () => {
      const choices = [...one.querySelectorAll("input")];
      // The first guess counts: after it the answer is shown.
      guessed += 1;
      right += choices.find((choice) => choice.checked).value === "right" ? 1 : 0;
      for (const choice of choices) choice.disabled = true;
      score.value = `${right} of ${guessed} right, ${cases.length - guessed} to go`;
    });
  }
}
