// Links that have the kernel send a file: it needs no address of the server, so it works in JupyterLab and in Voilà.

function save(name, buffers) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(buffers));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function render({ model, el }) {
  const asked = new Set(); // another page of the same kernel hears the answers too
  const link = (name) => {
    const made = document.createElement("a");
    made.href = "#";
    made.textContent = name;
    made.style.cssText = "margin-right: 16px; text-decoration: underline; color: var(--jp-content-link-color, #3f86d8)";
    made.addEventListener("click", (event) => {
      event.preventDefault();
      const id = crypto.getRandomValues(new Uint32Array(1))[0];
      asked.add(id);
      model.send({ name, id });
    });
    return made;
  };
  const refusal = document.createElement("div");
  refusal.setAttribute("role", "alert");
  refusal.style.cssText = "line-height: 1.35";
  const draw = () => {
    const files = model.get("files");
    el.replaceChildren(...(files.length ? ["Download: ", ...files.map(link)] : []), refusal);
  };
  const answer = (message, buffers) => {
    if (!asked.delete(message.id)) return;
    refusal.textContent = message.refused ?? "";
    if (!message.refused) save(message.name, buffers);
  };
  model.on("change:files", draw);
  model.on("msg:custom", answer);
  draw();
  return () => {
    model.off("change:files", draw);
    model.off("msg:custom", answer);
  };
}

export default { render };
