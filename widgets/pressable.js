// Elements from plain values, [tag, attributes, ...children]. A text becomes a text node, so no name in it is markup.

function build(node) {
  if (!Array.isArray(node)) return document.createTextNode(node);
  const [tag, attributes, ...children] = node;
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.map(build));
  return made;
}

function render({ model, el }) {
  // JupyterLab would take Enter and the arrows for its own.
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  const named = (name) => [...el.querySelectorAll("[data-press]")].find((each) => each.dataset.press === name);
  const draw = () => {
    const focused = el.contains(document.activeElement) ? document.activeElement : null;
    const before = focused?.dataset.press;
    el.replaceChildren(...model.get("content").map(build));
    // Whoever pressed what is gone now goes on where the new elements say.
    if (focused) (named(before) ?? el.querySelector("[data-focus]"))?.focus();
  };
  const press = (event) => {
    const found = event.target.closest("[data-press]");
    if (found && !found.disabled) model.send({ press: found.dataset.press });
  };
  const key = (event) => {
    const found = [...el.querySelectorAll("[data-key]")].find((each) => each.dataset.key === event.key);
    if (!found) return;
    event.preventDefault();
    found.focus();
    found.click();
  };
  model.on("change:content", draw);
  el.addEventListener("click", press);
  el.addEventListener("keydown", key);
  draw();
  return () => {
    model.off("change:content", draw);
    el.removeEventListener("click", press);
    el.removeEventListener("keydown", key);
  };
}

export default { render };
