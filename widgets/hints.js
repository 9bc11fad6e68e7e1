// ipywidgets draws a slider without a name for those who hear the page, and shows the tooltip of a text, a list or a box to
// tick only where it has no description. A slider gets the text that stands beside it; the others get their tooltip.
const PARTS = "label, input, select, textarea, [role=slider]";
const SETTLED_MS = 100;

function controls(model) {
  const children = model.get("children");
  return children ? children.flatMap(controls) : model.get("description") && model.get("tooltip") ? [model] : [];
}

async function explain(model) {
  for (const view of await Promise.all(Object.values(model.views ?? {}))) {
    for (const part of view.el.querySelectorAll(PARTS)) {
      if (part.title !== model.get("tooltip")) part.title = model.get("tooltip");
    }
  }
}

function name(root) {
  for (const handle of root.querySelectorAll(".widget-slider .noUi-handle:not([aria-label])")) {
    const text = handle.closest(".widget-slider").querySelector(".widget-label")?.textContent;
    if (text) handle.setAttribute("aria-label", text);
  }
}

function render({ model, el }) {
  el.style.display = "none";
  const heard = new Set();
  let watch, timer;
  const serve = async () => {
    timer = undefined;
    name(el.closest(".widget-tab") ?? document.body);
    const box = model.get("box") && (await model.widget_manager.get_model(model.get("box")));
    for (const each of box ? controls(box) : []) {
      if (!heard.has(each)) each.on("change:tooltip", explain);
      heard.add(each);
      await explain(each);
    }
  };
  const soon = () => (timer ??= setTimeout(serve, SETTLED_MS)); // what is drawn anew, as when its options change
  const begin = setTimeout(() => {
    const root = el.closest(".widget-tab") ?? document.body; // it is in no page before
    watch = new MutationObserver(soon);
    watch.observe(root, { childList: true, subtree: true });
    soon();
  });
  return () => {
    clearTimeout(begin);
    clearTimeout(timer);
    watch?.disconnect();
    for (const each of heard) each.off("change:tooltip", explain);
  };
}

export default { render };
