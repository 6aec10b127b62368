// Sorting by the name of a column. Without this script the page shows all the same, best variant first.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, heading));
    heading.append(button);
  }
}

function sort(table, heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const isNumber = heading.dataset.type === "number";
  const value = (row) => {
    const cell = row.cells[heading.cellIndex];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    return isNumber && text !== "" ? Number(text) : text;
  };
  const compare = (a, b) => {
    // A missing value comes last in either direction.
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = isNumber ? a - b : a.localeCompare(b);
    return descending ? -order : order;
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
}

// What is folded on the screen is wanted on paper.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
