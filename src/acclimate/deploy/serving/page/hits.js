// Documents as the page shows them. Whatever comes from a document is put in as text, never as HTML.

const MEANINGS = ["not relevant", "related", "partial answer", "full answer"];

export function element(tag, properties = {}, ...children) {
  const { aria = {}, data = {}, ...others } = properties;
  const made = Object.assign(document.createElement(tag), others);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

export function marked(pieces) {
  return pieces.map(([text, isMatch]) => (isMatch ? element("mark", { textContent: text }) : text));
}

// A document with its grade; `side` is where it stands, and what else is shown of it is added by `show`.
export function hitElement(hit, { number, side, grade, onGrade }) {
  const title = hit.marked_title?.length ? marked(hit.marked_title) : [hit.title || hit.doc_id];
  const heading = element(
    "h3",
    {},
    element("span", { className: "rank", textContent: `${number}.` }),
    element("span", { className: "title" }, ...title),
  );
  const item = element("li", { className: "hit", tabIndex: 0, data: { doc: hit.doc_id, side } }, heading);
  if (hit.title && hit.title !== hit.doc_id) item.append(element("p", { className: "id", textContent: hit.doc_id }));
  item.append(element("p", { className: "text" }, ...marked(hit.marked_text)));
  const shown = hit.marked_text.map(([text]) => text).join("");
  const extras = element("div", { className: "extras" });
  if (hit.text.length > shown.length + 20) extras.append(wholeText(hit));
  item.append(extras, gradeField(hit, side, grade, onGrade));
  return item;
}

function wholeText(hit) {
  return element(
    "details",
    { className: "open" },
    element("summary", { textContent: "More" }),
    element("div", { className: "whole", textContent: hit.text, tabIndex: 0 }),
  );
}

function gradeField(hit, side, grade, onGrade) {
  const choices = MEANINGS.map((meaning, value) => {
    const input = element("input", {
      type: "radio",
      name: `grade-${side}-${hit.doc_id}`,
      value,
      checked: grade === value,
      title: meaning,
      aria: { label: `${value}: ${meaning}` },
    });
    input.addEventListener("change", () => onGrade(hit, value));
    return element("label", {}, input, element("span", { textContent: value }));
  });
  return element("fieldset", { className: "grade" }, element("legend", { textContent: "Grade" }), ...choices);
}

// How far a document moved from the other side to this one.
export function movedElement(hit, depth) {
  const by = hit.other_rank === null ? null : hit.other_rank - hit.rank;
  const [text, label, kind] =
    by === null
      ? ["new", `not in the other side's top ${depth}`, "up"]
      : by > 0
        ? [`▲ ${by}`, `${by} higher than on the other side (rank ${hit.other_rank})`, "up"]
        : by < 0
          ? [`▼ ${-by}`, `${-by} lower than on the other side (rank ${hit.other_rank})`, "down"]
          : ["=", "same rank on the other side", "same"];
  return element(
    "span",
    { className: `moved ${kind}`, title: label },
    element("span", { textContent: text, aria: { hidden: "true" } }),
    element("span", { className: "unseen", textContent: label }),
  );
}

// What each part of a system says of a document, with where that lies between the list's lowest and highest.
export function whyElement(hit, hits) {
  const rows = Object.entries(hit.members).map(([name, score]) => {
    const scores = hits.map((other) => other.members[name]).filter((value) => value !== undefined);
    const low = Math.min(...scores);
    const high = Math.max(...scores);
    const meter = element("meter", { min: 0, max: 1, value: high > low ? (score - low) / (high - low) : 1 });
    meter.setAttribute("aria-label", `${name}, relative to the lowest and highest score of this list`);
    return element(
      "tr",
      {},
      element("th", { scope: "row", textContent: name }),
      element("td", { textContent: score.toFixed(3) }),
      element("td", {}, meter),
    );
  });
  const total = element(
    "tr",
    {},
    element("th", { scope: "row", textContent: "total" }),
    element("td", { textContent: hit.score.toFixed(3) }),
    element("td"),
  );
  return element(
    "details",
    { className: "reasons" },
    element("summary", { textContent: "Why" }),
    element("table", { className: "why" }, element("tbody", {}, ...rows, total)),
  );
}

// Keys that work while a document, or something in it, has the focus.
export function keys(list, onVote = () => {}) {
  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const item = event.target.closest(".hit");
    const items = [...list.querySelectorAll(".hit")].filter((each) => each.offsetParent !== null);
    const place = items.indexOf(item);
    const inGrades = event.target.type === "radio";
    if (event.key === "j" || event.key === "k") {
      (items[place + (event.key === "j" ? 1 : -1)] ?? item).focus();
    } else if (/^[0-3]$/.test(event.key)) {
      const choice = item.querySelector(`input[value="${event.key}"]`);
      choice.checked = true;
      choice.dispatchEvent(new Event("change"));
      if (inGrades) choice.focus();
    } else if ("[=]".includes(event.key)) {
      onVote({ "[": "left", "=": "same", "]": "right" }[event.key]);
    } else {
      return;
    }
    event.preventDefault();
  });
}
