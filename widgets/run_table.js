// The table of runs. What it shows is the model's, so a page that opens late needs nothing else; what a person does goes
// to the kernel as a message. Names, tags and notes are set as text, never as HTML: they are other people's.

const COLUMNS = {
  name: ["name", "name of the run; press one below to watch it above"],
  method: ["method", "the method of distillation"],
  pair: ["teacher → student", "the networks"],
  last: ["last", "accuracy or mIoU of the last student"],
  mu: ["mean over rounds (μ)", "mean accuracy or mIoU of all evaluated rounds so far; no forecast"],
  state: ["state", "how the run stands"],
  tags: ["tags", "tags that a person gave the run"],
  note: ["note", "what a person noted on the run"],
};
const SHOWN = ["rows", "watched", "marked", "hidden"];
const SETTLED_MS = 300; // until a form that is folded is
const LONGEST_NAME = 32; // characters that are shown of one

function make(tag, properties = {}, ...children) {
  const { aria = {}, ...others } = properties;
  const made = Object.assign(document.createElement(tag), others);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  made.append(...children);
  return made;
}

function shortened(text) {
  const half = (LONGEST_NAME - 1) >> 1;
  return text.length > LONGEST_NAME ? `${text.slice(0, half)}…${text.slice(-half)}` : text;
}

// What a column says of a run; "" is not known.
function said(row, column) {
  if (column === "tags") return row.tags.join(", ");
  return row[column] ?? "";
}

function shown(row, column) {
  const value = said(row, column);
  return typeof value === "number" ? value.toFixed(3) : value;
}

// One run: a row of the table, and below it while it is edited a form.
class Line {
  constructor(name, table) {
    Object.assign(this, { name, table, form: null });
    this.mark = make("input", { type: "checkbox", title: "show it on the page Compare", aria: { label: `compare ${name}` } });
    this.mark.addEventListener("change", () => table.note(name, this.mark.checked));
    this.watch = make("button", { type: "button", className: "name", textContent: shortened(name), title: name });
    if (this.watch.textContent !== name) this.watch.setAttribute("aria-label", name);
    this.watch.addEventListener("click", () => table.watch(name));
    this.watch.addEventListener("keydown", (event) => table.step(this, event));
    this.edit = make("button", { type: "button", textContent: "⋯", title: "name, note, tags, delete" });
    this.edit.setAttribute("aria-label", `change ${name}`);
    this.edit.addEventListener("click", () => (this.form ? this.fold() : this.unfold()));
    this.cells = Object.fromEntries(Object.keys(COLUMNS).map((column) => [column, make("td", { className: column })]));
    this.cells.name.append(this.watch);
    const ends = [make("td", {}, this.mark), make("td", {}, this.edit)];
    this.body = make("tr", {}, ends[0], ...Object.values(this.cells), ends[1]);
    this.fold();
  }

  get rows() {
    return this.form ? [this.body, this.form] : [this.body];
  }

  // Whether it stays in sight, whatever a person looks for.
  get isKept() {
    return Boolean(this.form) || this.mark.checked || this.body.classList.contains("watched");
  }

  show(row, watched, marked, hidden) {
    this.row = row;
    this.text = Object.keys(COLUMNS).filter((each) => !hidden.includes(each)).map((each) => shown(row, each)).join(" ");
    for (const [column, cell] of Object.entries(this.cells)) {
      cell.hidden = hidden.includes(column);
      if (column !== "name") this.fill(cell, column, shown(row, column));
    }
    this.body.dataset.state = row.state;
    this.body.classList.toggle("watched", watched);
    if (watched) this.watch.setAttribute("aria-current", "true");
    else this.watch.removeAttribute("aria-current");
    this.mark.checked = marked;
  }

  fill(cell, column, text) {
    if (cell.dataset.text === text) return;
    cell.dataset.text = text;
    cell.title = text && (this.about()[column] || text);
    const tags = this.row.tags.map((each) => make("span", { className: "tag", textContent: each }));
    cell.replaceChildren(...(column === "tags" ? tags : [text]));
  }

  // What a cell does not say itself.
  about() {
    const { why, metric, networks } = this.row;
    return { state: why, last: metric, mu: metric, pair: networks };
  }

  unfold() {
    this.edit.setAttribute("aria-expanded", "true");
    this.form = make("tr", { className: "form" }, make("td", { colSpan: Object.keys(COLUMNS).length + 2 }, this.fields()));
    this.table.arrange();
    this.form.querySelector("input").focus();
  }

  fold() {
    this.edit.setAttribute("aria-expanded", "false");
    this.form?.remove();
    this.form = null;
  }

  // Back to the button, as Escape does.
  leave() {
    this.fold();
    this.edit.focus();
  }

  fields() {
    const field = (name, value, size) => make("input", { type: "text", name, value, size, autocomplete: "off" });
    const inputs = {
      to: field("to", this.name.split("/").at(-1), 34),
      note: field("note", this.row.note, 40),
      tags: field("tags", this.row.tags.join(", "), 20),
    };
    const labels = { to: "name", note: "note", tags: "tags, with commas between" };
    const all = Object.entries(inputs).map(([name, input]) => make("label", {}, `${labels[name]} `, input));
    const save = make("button", { type: "submit", textContent: "Save" });
    const close = make("button", { type: "button", textContent: "Close" });
    const last = make("span", { className: "delete" });
    const form = make("form", { aria: { label: `change ${this.name}` } }, ...all, save, close, last);
    close.addEventListener("click", () => this.leave());
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.leave();
      if (event.key !== "Enter" || event.target.type !== "text") return;
      event.preventDefault();
      form.requestSubmit(); // JupyterLab keeps Enter from doing it
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const values = Object.entries(inputs).map(([name, input]) => [name, input.value]);
      this.table.tell("change", { name: this.name, ...Object.fromEntries(values) });
    });
    offer(last, "Delete", `Move ${this.name} to the bin? `, () => this.table.tell("delete", { name: this.name }));
    return form;
  }
}

// A button in `place` that takes two presses.
function offer(place, text, question, action) {
  const ask = make("button", { type: "button", textContent: text });
  const sure = make("button", { type: "button", textContent: "Confirm" });
  const not = make("button", { type: "button", textContent: "Cancel" });
  ask.addEventListener("click", () => {
    place.replaceChildren(make("span", { role: "alert", textContent: question }), sure, not);
    sure.focus();
  });
  sure.addEventListener("click", action);
  not.addEventListener("click", () => {
    place.replaceChildren(ask);
    ask.focus();
  });
  place.replaceChildren(ask);
}

// What was deleted, folded away until somebody looks for it.
class Bin {
  constructor(table) {
    Object.assign(this, { table, names: [] });
    this.count = make("summary");
    this.list = make("ul", { aria: { label: "runs in the bin" } });
    this.last = make("div", { className: "delete" });
    this.el = make("details", { className: "bin" }, this.count, this.list, this.last);
  }

  show(names) {
    if (String(names) === String(this.names) && names.length === this.names.length && names.length) return;
    this.names = names;
    this.el.hidden = !names.length;
    this.count.textContent = `bin (${names.length})`;
    this.list.replaceChildren(...names.map((name) => this.line(name)));
    const question = names.length === 1 ? "Erase this run for good? " : `Erase these ${names.length} runs for good? `;
    offer(this.last, "Empty the bin", question, () => this.table.tell("empty", { names: this.names }));
  }

  line(name) {
    const back = make("button", { type: "button", textContent: "Bring back" });
    back.setAttribute("aria-label", `bring back ${name}`);
    back.addEventListener("click", () => this.table.tell("restore", { name }));
    return make("li", {}, make("span", { textContent: shortened(name), title: name }), back);
  }
}

class Table {
  constructor(model, el) {
    Object.assign(this, { model, el, lines: new Map(), bin: new Bin(this) });
    el.classList.add("dfkd-run-table");
    el.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes keys that are pressed on a button here for its own
    this.find = make("input", { type: "search", placeholder: "as in: fast seed0", autocomplete: "off" });
    this.find.addEventListener("input", () => this.set("wanted", this.find.value));
    this.count = make("span", { role: "status" });
    this.undo = make("button", { type: "button", textContent: "Undo" });
    this.undo.addEventListener("click", () => this.tell("undo", {}));
    this.status = make("span", { role: "status" });
    this.alert = make("span", { role: "alert", className: "alert" });
    this.heads = Object.fromEntries(Object.keys(COLUMNS).map((column) => [column, this.head(column)]));
    const ends = ["compare", "change"].map((text) => make("th", { scope: "col", textContent: text }));
    this.body = make("tbody");
    const head = make("thead", {}, make("tr", {}, ends[0], ...Object.values(this.heads), ends[1]));
    el.append(
      make("div", { className: "above" }, make("label", {}, "find ", this.find), this.count, this.menu()),
      make("div", { className: "said" }, this.status, this.alert, this.undo),
      make("div", { className: "scrolls" }, make("table", { aria: { label: "runs" } }, head, this.body)),
      this.bin.el,
    );
  }

  head(column) {
    const [text, title] = COLUMNS[column];
    const button = make("button", { type: "button", textContent: text, title: `${title}. Press to sort by this column.` });
    const head = make("th", { scope: "col" }, button);
    button.addEventListener("click", () => {
      this.set("sort", [column, turn(head) ? "descending" : "ascending"]);
    });
    return head;
  }

  menu() {
    const names = Object.keys(COLUMNS).filter((column) => column !== "name");
    const box = (name) => make("input", { type: "checkbox", aria: { label: `column ${COLUMNS[name][0]}` } });
    this.boxes = Object.fromEntries(names.map((name) => [name, box(name)]));
    const change = () => this.set("hidden", names.filter((name) => !this.boxes[name].checked));
    for (const box of Object.values(this.boxes)) box.addEventListener("change", change);
    const labels = names.map((name) => make("label", {}, this.boxes[name], ` ${COLUMNS[name][0]}`));
    return make("details", {}, make("summary", { textContent: "columns" }), ...labels);
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  tell(what, given) {
    this.model.send({ do: what, ...given });
  }

  note(name, marked) {
    const others = this.model.get("marked").filter((each) => each !== name);
    this.set("marked", marked ? [...others, name] : others);
  }

  // What is watched is shown above, maybe out of sight; once it is there it is brought into view.
  watch(name) {
    this.tell("watch", { name });
    const show = () => this.el.closest(".widget-tab")?.querySelector(".dfkd-bar")?.scrollIntoView({ block: "start" });
    if (this.model.get("watched") === name) {
      show();
      return;
    }
    const shown = () => {
      this.model.off("change:watched", shown);
      setTimeout(show, SETTLED_MS);
    };
    this.model.on("change:watched", shown);
  }

  // The arrow keys go from name to name.
  step(line, event) {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const seen = this.order.filter((each) => !each.body.hidden);
    seen[seen.indexOf(line) + way]?.watch.focus();
  }

  draw() {
    const [rows, watched, marked, hidden] = SHOWN.map((name) => this.model.get(name));
    for (const [column, head] of Object.entries(this.heads)) head.hidden = hidden.includes(column);
    for (const [column, box] of Object.entries(this.boxes)) box.checked = !hidden.includes(column);
    const before = this.lines;
    this.lines = new Map(rows.map((row) => [row.name, before.get(row.name) ?? new Line(row.name, this)]));
    for (const [name, line] of before) if (!this.lines.has(name)) line.rows.forEach((each) => each.remove());
    for (const row of rows) {
      this.lines.get(row.name).show(row, row.name === watched, marked.includes(row.name), hidden);
    }
    this.arrange();
  }

  // Order and filter, moving nothing that is in its place, for what is moved loses the focus.
  arrange() {
    const focused = document.activeElement;
    const lines = [...this.lines.values()];
    const [column, order] = this.model.get("sort");
    for (const [name, head] of Object.entries(this.heads)) {
      if (name === column) head.setAttribute("aria-sort", order);
      else head.removeAttribute("aria-sort");
    }
    this.order = column ? sorted(lines, (line) => said(line.row, column), order === "descending") : lines;
    let place = this.body.firstChild;
    for (const row of this.order.flatMap((line) => line.rows)) {
      if (row === place) place = place.nextSibling;
      else this.body.insertBefore(row, place);
    }
    const wanted = this.model.get("wanted");
    if (this.find.value !== wanted && document.activeElement !== this.find) this.find.value = wanted;
    // those of lessons are many, and whoever looks for them says so
    const aside = has(wanted, "lesson") ? [] : lines.filter((line) => line.name.startsWith("lessons/") && !line.isKept);
    for (const line of lines) line.body.hidden = aside.includes(line) || (!line.form && !has(line.text, wanted));
    const seen = lines.filter((line) => !line.body.hidden).length;
    const others = aside.length ? `, and ${aside.length} of lessons (look for "lessons")` : "";
    const text = lines.length ? `${seen} of ${lines.length - aside.length} runs${others}` : "no run yet";
    if (this.count.textContent !== text) this.count.textContent = text;
    if (this.body.contains(focused) && document.activeElement !== focused) focused.focus();
  }

  say() {
    const [text, alert, deleted] = ["said", "alert", "deleted"].map((name) => this.model.get(name));
    this.status.textContent = alert ? "" : text;
    this.alert.textContent = alert ? text : "";
    this.undo.hidden = !deleted;
    this.undo.setAttribute("aria-label", `Undo: bring back ${deleted}`);
  }

  // The page grows shorter when it is the watched run that went, and what had the focus would be out of view.
  focusUndo() {
    this.undo.focus();
    const keep = () => document.activeElement === this.undo && this.undo.scrollIntoView({ block: "center" });
    for (const delay of [0, 400, 1200]) setTimeout(keep, delay);
  }

  // What was asked for is done: the form has served, and the focus goes to what came of it.
  answer({ done, now }) {
    this.lines.get(done)?.fold();
    const line = this.lines.get(now);
    if (line) line.edit.focus();
    else if (!this.undo.hidden) this.focusUndo();
  }
}

function render({ model, el }) {
  const table = new Table(model, el);
  const hears = {
    ...Object.fromEntries(SHOWN.map((name) => [`change:${name}`, () => table.draw()])),
    ...Object.fromEntries(["wanted", "sort"].map((name) => [`change:${name}`, () => table.arrange()])),
    "change:binned": () => table.bin.show(model.get("binned")),
    ...Object.fromEntries(["said", "alert", "deleted"].map((name) => [`change:${name}`, () => table.say()])),
    "msg:custom": (message) => table.answer(message),
  };
  for (const [name, heard] of Object.entries(hears)) model.on(name, heard);
  table.draw();
  table.bin.show(model.get("binned"));
  table.say();
  if (model.get("address")) history.replaceState(null, "", model.get("address"));
  return () => {
    for (const [name, heard] of Object.entries(hears)) model.off(name, heard);
  };
}

export default { render };
