// Shows the model's whole figure at every change, so a page that opens late, or again, needs nothing but the model.

// One plotly.js for all charts of a page; the kernel sends the copy that the Python package brought.
async function plotly(model) {
  if (!globalThis.dfkdPlotly) {
    const source = await new Promise((resolve) => {
      const listen = (message, buffers) => {
        if (message !== "plotly.js") return;
        model.off("msg:custom", listen);
        resolve(new TextDecoder().decode(buffers[0]));
      };
      model.on("msg:custom", listen);
      model.send("plotly.js");
    });
    const module = { exports: {} };
    // A RequireJS of the page must not be found: it would take the library for itself.
    new Function("module", "exports", "define", source)(module, module.exports, undefined);
    globalThis.dfkdPlotly ??= module.exports;
  }
  return globalThis.dfkdPlotly;
}

// The figure's text is a grey that reads on any ground; here it takes the color of the page's text, which reads best.
const GREY = /#7f7f7f/g;
// What plotly's column of tools needs at the right edge; in a smaller margin it would lie on the data.
const TOOLBAR_PX = 34;

function inPageColors(figure, color) {
  const layout = JSON.parse(JSON.stringify(figure.layout).replace(GREY, color));
  const bar = { bgcolor: "rgba(0, 0, 0, 0)", color: "rgba(128, 128, 128, 0.6)", activecolor: color };
  layout.modebar = { ...layout.modebar, ...bar };
  layout.margin = { ...layout.margin, r: Math.max(layout.margin?.r ?? 80, TOOLBAR_PX) };
  const data = figure.data.map((trace) => {
    const inks = {};
    for (const ink of ["line", "textfont"]) {
      if (trace[ink]) inks[ink] = JSON.parse(JSON.stringify(trace[ink]).replace(GREY, color));
    }
    return { ...trace, ...inks };
  });
  return { ...figure, data, layout };
}

async function render({ model, el }) {
  el.style.width = "100%";
  el.style.minHeight = `${model.get("figure").layout.height}px`;
  const Plotly = await plotly(model);
  let ink = "";
  const draw = () => {
    ink = getComputedStyle(el).color;
    const { data, layout, config } = inPageColors(model.get("figure"), ink || "#7f7f7f");
    el.style.minHeight = `${layout.height}px`;
    return Plotly.react(el, data, layout, config);
  };
  // A chart that was hidden, or whose column grew, has another width; one that was in no page yet had no color.
  const watch = new ResizeObserver(() => {
    if (!el.offsetParent || !el.data) return;
    if (ink === getComputedStyle(el).color) Plotly.Plots.resize(el);
    else draw();
  });
  const theme = new MutationObserver(() => draw());
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  model.on("change:figure", draw);
  await draw();
  watch.observe(el);
  return () => {
    model.off("change:figure", draw);
    watch.disconnect();
    theme.disconnect();
    Plotly.purge(el);
  };
}

export default { render };
