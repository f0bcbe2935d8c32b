// Shows the sampled answers that are asked for. Without it the page shows all of them.
const form = document.getElementById("filter");
const shown = document.getElementById("shown");
const answers = [...document.querySelectorAll(".answers > li")];

function update() {
  const { prompt, state } = Object.fromEntries(new FormData(form));
  for (const answer of answers) {
    answer.hidden = Boolean((prompt && answer.dataset.prompt !== prompt) || (state && answer.dataset.state !== state));
  }
  const count = answers.filter((answer) => !answer.hidden).length;
  shown.textContent = `${count} of ${answers.length} shown`;
}

if (form) {
  form.hidden = false;
  form.addEventListener("input", update);
  update();
}
