// Queries one after the other, each with the documents of both systems in an order that says nothing of them.

import { call } from "./api.js";
import { hitElement, keys } from "./hits.js";

const by = (id) => document.getElementById(id);
let query = null;
let grades = {};

export async function next(after) {
  const path = after === undefined ? "/judge" : `/judge?after=${encodeURIComponent(after)}`;
  await shown(async () => {
    const task = await call(path);
    query = task.query;
    grades = {};
    by("to-judge").hidden = query === null;
    const progress = `${task.graded} of ${task.queries} queries have grades.`;
    if (query === null) {
      by("judge-status").textContent = `${progress} ${task.graded === task.queries ? "All queries are graded." : "This was the last query."}`;
      return;
    }
    by("judge-query").textContent = query;
    by("judge-hits").replaceChildren(
      ...task.hits.map((hit, place) =>
        hitElement(hit, { number: place + 1, side: "judge", grade: null, onGrade: (of, value) => (grades[of.doc_id] = value) }),
      ),
    );
    by("judge-status").textContent = `${progress} ${task.hits.length} document${task.hits.length === 1 ? "" : "s"} to grade.`;
    by("judge-query").focus();
  });
}

async function save() {
  if (Object.keys(grades).length === 0) {
    say("Grade at least one document, or skip the query.");
    return;
  }
  await shown(async () => {
    await call("/judge", { query, grades });
    await next();
  });
}

async function shown(work) {
  say("");
  try {
    await work();
  } catch (error) {
    say(error.message);
  }
}

function say(text) {
  by("judge-message").textContent = text;
  by("judge-message").hidden = text === "";
}

keys(by("judge-hits"));
by("judge-save").addEventListener("click", save);
by("judge-skip").addEventListener("click", () => next(query));
