// The commands for a run, folded away: each is shown as text, and a button beside it copies it.
async function copy(text) {
  if (navigator.clipboard?.writeText) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // a page that is not served securely has no clipboard
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser does not allow it");
}

function row(name, text) {
  const [box, head, button, said, shown] = ["div", "b", "button", "span", "pre"].map((tag) =>
    document.createElement(tag),
  );
  head.textContent = name;
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy the command for ${name}`);
  button.className = "jupyter-button";
  button.style.margin = "0 8px";
  said.setAttribute("role", "status");
  shown.textContent = text;
  shown.style.cssText = "white-space: pre-wrap; overflow-wrap: anywhere; margin: 2px 0 8px; line-height: 1.35";
  button.addEventListener("click", () =>
    copy(text).then(
      () => (said.textContent = "copied"),
      (error) => (said.textContent = `not copied (${error.message}); select the text instead`),
    ),
  );
  box.append(head, button, said, shown);
  return box;
}

function render({ model, el }) {
  const [fold, summary, rows] = ["details", "summary", "div"].map((tag) => document.createElement(tag));
  summary.textContent = "The command for this";
  fold.append(summary, rows);
  el.append(fold);
  const draw = () => {
    const commands = Object.entries(model.get("commands"));
    fold.hidden = commands.length === 0;
    rows.replaceChildren(...commands.map(([name, text]) => row(name, text)));
  };
  model.on("change:commands", draw);
  draw();
  return () => model.off("change:commands", draw);
}

export default { render };
