// Calls of the service this page comes from; a key is asked for when one is wanted, and kept while the tab is open.

const KEY = "acclimate-key";
const keyForm = document.getElementById("key-form");

export class Refused extends Error {}

export async function call(path, body) {
  for (;;) {
    const headers = { accept: "application/json" };
    const key = sessionStorage.getItem(KEY);
    if (key) headers.authorization = `Bearer ${key}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    let answer;
    try {
      // relative to the page, which may lie below a path of another service
      answer = await fetch(`.${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch {
      throw new Refused("The service does not answer. Is it still running?");
    }
    if (answer.status === 401) {
      // unless another call was given a key while this one was under way
      if (sessionStorage.getItem(KEY) === key) await newKey();
      continue;
    }
    const value = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Refused(value.error || `The service answered ${answer.status}.`);
    return value;
  }
}

let asking = null; // one question, however many calls wait for its answer

function newKey() {
  asking ??= new Promise((resolve) => {
    keyForm.hidden = false;
    keyForm.elements[0].focus();
    keyForm.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        // a header can carry bytes only
        const bytes = new TextEncoder().encode(keyForm.elements[0].value);
        sessionStorage.setItem(KEY, String.fromCharCode(...bytes));
        keyForm.reset();
        keyForm.hidden = true;
        asking = null;
        resolve();
      },
      { once: true },
    );
  });
  return asking;
}
