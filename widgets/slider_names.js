// ipywidgets draws a slider without a name for those who hear the page. It gets the text that stands beside it.
function name(root) {
  for (const handle of root.querySelectorAll(".widget-slider .noUi-handle:not([aria-label])")) {
    const text = handle.closest(".widget-slider").querySelector(".widget-label")?.textContent;
    if (text) handle.setAttribute("aria-label", text);
  }
}

function render({ el }) {
  el.style.display = "none";
  let watch;
  const timer = setTimeout(() => {
    const root = el.closest(".widget-tab") ?? document.body; // it is in no page before
    watch = new MutationObserver(() => name(root)); // a slider whose options change is drawn anew
    watch.observe(root, { childList: true, subtree: true });
    name(root);
  });
  return () => {
    clearTimeout(timer);
    watch?.disconnect();
  };
}

export default { render };
