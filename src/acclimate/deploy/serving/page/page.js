// The search box, the two lists beside each other, and what people say of them.

import { call } from "./api.js";
import { element, hitElement, keys, movedElement, whyElement } from "./hits.js";
import { next } from "./judge.js";

const by = (id) => document.getElementById(id);
const SIDES = ["left", "right"];
const SEED = Math.floor(Math.random() * 2 ** 31); // of the sides, for as long as the page is open
let shown = null; // the comparison on the page
let isBlind = false; // nobody has seen yet which system is where
let searches = 0; // an answer to any but the last one comes too late

async function start() {
  const health = await call("/health");
  by("facts").textContent = `${health.documents.toLocaleString()} document${health.documents === 1 ? "" : "s"} · system: ${health.system} · verdict: ${health.verdict}`;
  for (const [id, chosen] of [["first", health.compared[0]], ["second", health.compared[1]]]) {
    by(id).replaceChildren(...health.systems.map((name) => element("option", { value: name, textContent: name, selected: name === chosen })));
  }
  const given = new URLSearchParams(location.search);
  if (given.get("q")) {
    by("query").value = given.get("q");
    await search();
  }
}

async function search() {
  const query = by("query").value.trim();
  if (!query) return;
  const number = ++searches;
  say("");
  by("status").textContent = "Searching…";
  try {
    const body = { query, systems: [by("first").value, by("second").value], blind: by("blind").checked, seed: SEED };
    const [comparison, grades] = await Promise.all([
      call("/compare", { ...body, chars: 4000 }),
      call(`/feedback?query=${encodeURIComponent(query)}`),
    ]);
    if (number !== searches) return;
    history.replaceState(null, "", `?q=${encodeURIComponent(query)}`);
    isBlind = body.blind;
    show(comparison, grades);
  } catch (error) {
    if (number !== searches) return;
    by("results").hidden = true;
    by("status").textContent = "";
    say(error.message);
  }
}

function show(comparison, grades) {
  shown = comparison;
  for (const side of SIDES) {
    const { hits } = comparison[side];
    const items = hits.map((hit) => {
      const item = hitElement(hit, { number: hit.rank, side, grade: grades[hit.doc_id], onGrade: keepGrade });
      item.querySelector("h3").append(movedElement(hit, comparison.depth));
      item.querySelector(".open")?.addEventListener("toggle", () => keepClick(hit, side), { once: true });
      return item;
    });
    by(side).querySelector(".hits").replaceChildren(...items);
    if (!items.length) by(side).querySelector(".hits").append(element("li", { className: "hint", textContent: "No document contains a word of the query." }));
  }
  for (const button of by("vote").querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
  by("vote").querySelector(".question").textContent = "Which is better?";
  name();
  by("results").hidden = false;
  const counts = SIDES.map((side) => comparison[side].hits.length);
  by("status").textContent = `${counts[0]} and ${counts[1]} documents, ${comparison.shared} in common.`;
}

// Headings, and what would give the systems away: what their parts say.
function name() {
  for (const side of SIDES) {
    const { system, hits } = shown[side];
    const title = side === "left" ? "Left" : "Right";
    by(`${side}-name`).replaceChildren(title, ...(isBlind ? [] : [element("small", { textContent: ` · ${system}` })]));
    for (const [place, item] of [...by(side).querySelectorAll(".hit")].entries()) {
      item.querySelector(".reasons")?.remove();
      if (!isBlind) item.querySelector(".extras").append(whyElement(hits[place], hits));
    }
  }
}

async function vote(preference) {
  const given = { kind: "preference", query: shown.query, preference, blind: isBlind, seed: shown.seed };
  await kept({ ...given, left: shown.left.system, right: shown.right.system }, () => {
    for (const button of by("vote").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.vote === preference));
    }
    isBlind = false;
    name();
    const better = preference === "same" ? "Both are equal" : `${shown[preference].system} is better`;
    by("vote").querySelector(".question").textContent = "Saved.";
    by("status").textContent = `Saved: ${better}. Left was ${shown.left.system}, right ${shown.right.system}.`;
  });
}

async function keepGrade(hit, grade) {
  await kept({ kind: "grade", query: shown.query, doc_id: hit.doc_id, grade }, () => {
    for (const item of document.querySelectorAll("#sides .hit")) {
      if (item.dataset.doc === hit.doc_id) item.querySelector(`input[value="${grade}"]`).checked = true;
    }
    by("status").textContent = `Saved: grade ${grade} for ${hit.title || hit.doc_id}.`;
  });
}

async function keepClick(hit, side) {
  const given = { kind: "click", query: shown.query, doc_id: hit.doc_id, system: shown[side].system, rank: hit.rank };
  await kept(given, () => {});
}

// `then` is of the comparison that was said something of: another may be on the page by now.
async function kept(given, then) {
  const comparison = shown;
  say("");
  try {
    await call("/feedback", given);
    if (shown === comparison) then();
  } catch (error) {
    say(error.message);
  }
}

function say(text) {
  by("message").textContent = text;
  by("message").hidden = text === "";
}

function twins(event, isOn) {
  const item = event.target.closest?.(".hit");
  if (!item) return;
  for (const other of document.querySelectorAll("#sides .hit")) {
    if (other !== item && other.dataset.doc === item.dataset.doc) other.classList.toggle("twin", isOn);
  }
}

function view(name) {
  for (const each of ["search", "judge"]) {
    by(`${each}-view`).hidden = each !== name;
    by(`view-${each}`).setAttribute("aria-pressed", String(each === name));
  }
  if (name === "judge") next();
  else by("query").focus();
}

by("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
for (const button of by("vote").querySelectorAll("button")) button.addEventListener("click", () => vote(button.dataset.vote));
for (const button of by("side-switch").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    by("sides").dataset.shown = button.dataset.side;
    for (const each of by("side-switch").querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button));
  });
}
for (const side of SIDES) keys(by(side), vote);
for (const [kind, isOn] of [["focusin", true], ["mouseover", true], ["focusout", false], ["mouseout", false]]) {
  by("sides").addEventListener(kind, (event) => twins(event, isOn));
}
by("view-search").addEventListener("click", () => view("search"));
by("view-judge").addEventListener("click", () => view("judge"));
start().catch((error) => say(error.message));
