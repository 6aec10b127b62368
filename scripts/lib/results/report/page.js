// Sorting by a column's name, and copying the file's path. Without this script the page shows all the same, best variant first.
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

const copy = document.getElementById("copy");
copy.hidden = false;
copy.addEventListener("click", async () => {
  const path = document.getElementById("file");
  getSelection().selectAllChildren(path);
  // Some browsers have no clipboard for a page from disk: the path then stays selected, to be copied by hand.
  const done = await navigator.clipboard?.writeText(path.textContent).then(() => true, () => false);
  document.getElementById("copied").textContent = done ? "Copied" : "Selected: press Ctrl+C";
});

const enlarged = document.getElementById("enlarged");
if (enlarged) {
  const cards = [...document.querySelectorAll(".gallery .card")];
  const isOther = document.getElementById("of-fp32");
  const other = document.getElementById("other");
  let number = 0;

  const show = (next) => {
    number = (next + cards.length) % cards.length;
    const card = cards[number].cloneNode(true);
    card.removeAttribute("id");
    card.style.setProperty("--ratio", card.querySelector(".stage").style.getPropertyValue("--ratio"));
    card.querySelector(".enlarge").remove();
    document.getElementById("stage").replaceChildren(card);
    other.setAttribute("aria-pressed", isOther.checked);
  };

  cards.forEach((card, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.ariaLabel = `Enlarge ${card.querySelector("figcaption a").textContent}`;
    button.addEventListener("click", () => { show(place); enlarged.showModal(); });
    card.querySelector(".stage").append(button);
  });
  document.getElementById("before").addEventListener("click", () => show(number - 1));
  document.getElementById("after").addEventListener("click", () => show(number + 1));
  document.getElementById("shut").addEventListener("click", () => enlarged.close());
  other.addEventListener("click", () => { isOther.checked = !isOther.checked; show(number); });
  enlarged.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft") show(number - 1);
    if (key === "ArrowRight") show(number + 1);
  });
  // Beside the image.
  enlarged.addEventListener("click", ({ target }) => { if (target === enlarged) enlarged.close(); });
}

// Paper cannot be unfolded.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
