"use strict";
const filters = document.getElementById("filters");

if (filters) {
  const fields = ["family", "severity", "status"];
  const groups = [...document.querySelectorAll(".group")];
  // Read once: a page may have thousands of rows.
  const rows = [...document.querySelectorAll("[data-mode]")].map((row) => {
    const { mode, who } = row.dataset;
    return { row, mode, who: ` ${who} `, values: fields.map((name) => row.dataset[name]), group: row.closest(".group") };
  });
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
      // What stays as it is costs the browser nothing.
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
  // A browser that goes back to the page fills the fields in again.
  addEventListener("pageshow", apply);

  // A link to a failure mode that is filtered away, or closed, has to lead there all the same.
  const asked = () => {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return ""; // what is no address of anything here must not keep the rest from working
    }
  };
  const reveal = () => {
    const found = document.getElementById(asked());
    if (!found?.matches("details")) return;
    if (found.hidden) filters.reset();
    found.open = true;
    setTimeout(() => found.scrollIntoView());
  };
  addEventListener("hashchange", reveal);
  reveal();
}

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

const score = document.getElementById("score");

if (score) {
  const cases = [...document.querySelectorAll(".case")];
  let guessed = 0;
  let right = 0;
  for (const one of cases) {
    one.addEventListener("change", () => {
      const choices = [...one.querySelectorAll("input")];
      // The first guess counts: by then the answer stands there.
      guessed += 1;
      right += choices.find((choice) => choice.checked).value === "right" ? 1 : 0;
      for (const choice of choices) choice.disabled = true;
      score.value = `${right} of ${guessed} right, ${cases.length - guessed} to go`;
    });
  }
}
