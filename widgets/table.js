// What the workbench's table of runs and the page about a folder of runs have in common: to sort, and to find.

function inOrder(one, other) {
  const difference = Number(one) - Number(other);
  return Number.isNaN(difference) ? String(one).localeCompare(String(other), undefined, { numeric: true }) : difference;
}

// `items` by what `valueOf` gives of each; "" is not known, and last either way.
function sorted(items, valueOf, down) {
  const known = items.filter((item) => valueOf(item) !== "");
  known.sort((a, b) => (down ? -1 : 1) * inOrder(valueOf(a), valueOf(b)));
  return [...known, ...items.filter((item) => valueOf(item) === "")];
}

// Have `head` say that its column is sorted, the other way round the second time; whether that is downwards.
function turn(head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  return down;
}

// Whether all words of `wanted` are in `text`.
function has(text, wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every((word) => text.toLowerCase().includes(word));
}
