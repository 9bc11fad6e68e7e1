// A page with figures and tables that sort and filter, offline: plotly.js is in it, packed, and unpacked here; so is
// table.js, before this.
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

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const [head, body] = [button.closest("th"), button.closest("table").tBodies[0]];
    body.append(...sorted([...body.rows], (row) => row.cells[head.cellIndex].dataset.value, turn(head)));
  });
}
const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  const rows = [...document.querySelectorAll("#runs tbody tr")];
  for (const row of rows) row.hidden = !has(row.textContent, filter.value);
  document.getElementById("shown").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} runs`;
});
draw();
