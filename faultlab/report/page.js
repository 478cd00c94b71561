"use strict";
const filters = document.getElementById("filters");

if (filters) {
  const rows = [...document.querySelectorAll("[data-mode]")];
  const groups = [...document.querySelectorAll(".group")];
  const every = new Set(rows.map((row) => row.dataset.mode)).size;
  const fields = ["family", "severity", "status"];

  const matches = (row) =>
    fields.every((name) => !filters.elements[name].value || row.dataset[name] === filters.elements[name].value) &&
    (!filters.elements.who.value || row.dataset.who.split(" ").includes(filters.elements.who.value)) &&
    row.textContent.toLowerCase().includes(filters.elements.text.value.trim().toLowerCase());

  const apply = () => {
    const shown = new Set();
    for (const row of rows) {
      row.hidden = !matches(row);
      if (!row.hidden) shown.add(row.dataset.mode);
    }
    for (const group of groups) group.hidden = !group.querySelector("[data-mode]:not([hidden])");
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
