"use strict";

const report = JSON.parse(document.getElementById("report-data").textContent);
const config = { responsive: true, displaylogo: false };
const body = document.querySelector("#layers tbody");
const rows = Array.from(body.rows);
const headers = Array.from(document.querySelectorAll("#layers th"));

for (const [id, figure] of Object.entries(report.figures)) {
  Plotly.newPlot(id, figure.data, figure.layout, config);
}

function select(group) {
  for (const row of rows) {
    row.setAttribute("aria-selected", String(row.dataset.group === String(group)));
  }
  const layer = report.layers[group];
  document.getElementById("selected").textContent = "Selected layer: " + layer.title;
  document.getElementById("details").textContent = layer.details;
  const mapping = document.getElementById("mapping");
  mapping.replaceChildren();
  for (const key of layer.pictures) {
    const place = document.createElement("div");
    mapping.append(place);
    // Plotly writes into what it is given, and several layers share a picture.
    const figure = structuredClone(report.pictures[key]);
    Plotly.newPlot(place, figure.data, figure.layout, config);
  }
}

function sortBy(column) {
  const ascending = headers[column].getAttribute("aria-sort") !== "ascending";
  headers.forEach((header) => header.removeAttribute("aria-sort"));
  headers[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const number = headers[column].dataset.kind === "number";
  const key = (row) => (number ? Number(row.cells[column].dataset.value) : row.cells[column].textContent);
  const order = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
  body.append(...rows.slice().sort((a, b) => (ascending ? order(a, b) : order(b, a))));
}

function filter() {
  const wanted = document.getElementById("filter").value.toLowerCase();
  let shown = 0;
  for (const row of rows) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("count").textContent = `${shown} of ${rows.length} rows`;
}

headers.forEach((header, column) => header.firstElementChild.addEventListener("click", () => sortBy(column)));
document.getElementById("filter").addEventListener("input", filter);
for (const row of rows) {
  row.addEventListener("click", () => select(row.dataset.group));
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter") select(row.dataset.group);
  });
}
for (const id of ["roofline", "energy-of-layers", "timeline"]) {
  document.getElementById(id).on("plotly_click", (event) => {
    const group = event.points[0].customdata;
    if (group !== undefined) select(group);
  });
}
filter();
