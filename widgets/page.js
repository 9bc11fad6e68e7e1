// A page with figures and tables that sort and filter, offline: plotly.js is in it, packed, and unpacked here.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function text(id) {
  return document.getElementById(id).textContent;
}

async function draw() {
  const script = document.createElement("script");
  script.textContent = await unpack(text("plotly"));
  document.head.append(script);
  const config = JSON.parse(text("config"));
  for (const place of document.querySelectorAll("[data-figure]")) {
    const figure = JSON.parse(text(place.dataset.figure));
    await Plotly.newPlot(place, figure.data, figure.layout, config);
  }
  document.body.dataset.drawn = "yes";
}

function compare(one, other) {
  const [a, b] = [one, other].map((cell) => cell.dataset.value);
  if (a === "" || b === "") return (a === "") - (b === "");
  return Number.isNaN(Number(a) - Number(b)) ? a.localeCompare(b) : Number(a) - Number(b);
}

function sort(head) {
  const [table, place] = [head.closest("table"), head.cellIndex];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  const known = rows.filter((row) => row.cells[place].dataset.value !== "");
  known.sort((a, b) => (down ? -1 : 1) * compare(a.cells[place], b.cells[place]));
  table.tBodies[0].append(...known, ...rows.filter((row) => !known.includes(row)));
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sort(button.closest("th")));
}
const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.querySelectorAll("#runs tbody tr")];
  for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  document.getElementById("shown").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} runs`;
});
draw();
