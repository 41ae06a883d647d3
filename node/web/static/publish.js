// The stepper beyond forms and links: files go in pieces and go on after a break, checks come as they are done.
"use strict";

const PIECE = 4 << 20;
const PAUSE = 2000; // ms before a lost connection is tried again
const TRIES = 60;
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// Send a file piece by piece, from where the node has it; null, or what is wrong with it, by field.
async function sendFile(form, file) {
  const bar = document.getElementById("sent");
  const key = `${file.name}:${file.size}:${file.lastModified}`;
  const query = new URLSearchParams({ key, name: file.name, size: file.size });
  const headers = { Accept: "application/json", "X-CSRF-Token": form.elements.csrf.value };
  bar.hidden = false;
  const show = (received) => {
    bar.value = received / file.size;
    tell(`${form.dataset.sending} ${Math.floor((100 * received) / file.size)}%`);
  };
  for (let tries = 0; tries < TRIES; tries += 1) {
    try {
      let here = await (await fetch(`${form.dataset.file}?${query}`, { headers })).json();
      if (here.errors) return here;
      while (!here.whole) {
        show(here.received);
        query.set("offset", here.received);
        const body = file.slice(here.received, here.received + PIECE);
        here = await (await fetch(`${form.dataset.file}?${query}`, { method: "POST", headers, body })).json();
        if (here.errors) return here;
        tries = 0;
      }
      show(file.size);
      return null;
    } catch {
      tell(form.dataset.again);
      await wait(PAUSE);
    }
  }
  throw new Error("no connection");
}

// Whether the file of the form is at the node, where its field is empty.
function keeps(name) {
  const kept = document.getElementById("kept");
  if (name) kept.querySelector("bdi").textContent = name;
  kept.hidden = !name;
  document.getElementById("gone").hidden = Boolean(name);
}

const give = document.getElementById("give");
if (give) {
  const given = document.getElementById("given");
  give.addEventListener("submit", async (event) => {
    const [file] = given.files;
    if (!file || give.dataset.busy || file.size > Number(given.dataset.most)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    give.dataset.busy = "yes";
    showErrors(give, {});
    document.getElementById("go").setAttribute("aria-disabled", "true");
    let faults = null;
    try {
      faults = await sendFile(give, file);
    } catch {
      faults = { errors: { form: said.silent } };
    }
    delete give.dataset.busy;
    document.getElementById("go").removeAttribute("aria-disabled");
    document.getElementById("sent").hidden = true;
    if (faults) {
      if (faults.errors.given) keeps(null); // the node has refused it, and deleted it
      showErrors(give, faults.errors, faults.english);
      return tell("");
    }
    given.value = ""; // it is there
    keeps(file.name);
    named(given);
    give.requestSubmit();
  });
  sendBy(give, document.getElementById("go"), () => give.dataset.reading, (taken) => location.assign(taken.page));
}

// The description as it reads, a moment after the last key.
const words = document.getElementById("words");
if (words) {
  const shown = document.getElementById("shown");
  let timer = 0;
  document.getElementById("description").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const answer = await fetch(words.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(words)) });
      if (answer.ok) shown.innerHTML = (await answer.text()) || `<p class="quiet">${shown.dataset.empty}</p>`;
    }, 300);
  });
}

const check = document.getElementById("check");
if (check && document.getElementById("status")) {
  sendBy(check, document.getElementById("go"), () => "", (taken) => location.assign(taken.page));
}

// Who could do what, with another federation or policy.
document.getElementById("list")?.addEventListener("change", (event) => {
  if (!["federation", "policy"].includes(event.target.name)) return;
  const chosen = new URLSearchParams(new FormData(document.getElementById("list")));
  for (const name of ["csrf", "sure", "few_rows"]) chosen.delete(name);
  location.replace(`?${chosen}#who`);
});

const checks = document.getElementById("checks");
if (checks?.dataset.events) follow(checks.dataset.events, checks, () => location.reload());
