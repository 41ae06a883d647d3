// What the pages with a script share: the node's words and parts of a page come without a new page.
// Every piece of HTML in here was rendered, and escaped, by the node.
"use strict";

const status = document.getElementById("status");
const said = document.getElementById("said").dataset; // what is said by none but scripts, in the page's language
let stream = null;

function tell(text) {
  if (status.textContent !== text) status.textContent = text;
}

// Replace or extend an element; whoever had the focus in it keeps it.
function put(part) {
  tell(part.status);
  const into = part.into && document.getElementById(part.into);
  if (!into) return;
  if (part.how === "append") {
    into.insertAdjacentHTML("beforeend", part.html);
    return;
  }
  const focused = into.contains(document.activeElement) ? document.activeElement.id : "";
  into.innerHTML = part.html;
  if (focused) document.getElementById(focused)?.focus();
}

// The browser itself connects anew, and sends Last-Event-ID.
function follow(url, into, ended) {
  stream?.close();
  stream = new EventSource(url);
  into.setAttribute("aria-busy", "true");
  const end = () => {
    stream.close();
    into.removeAttribute("aria-busy");
    ended();
  };
  stream.addEventListener("part", (event) => put(JSON.parse(event.data)));
  stream.addEventListener("end", (event) => { put(JSON.parse(event.data)); end(); });
  stream.addEventListener("broken", (event) => { tell(JSON.parse(event.data).status); end(); });
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) return tell(said.lost);
    tell(said.gone);
    end();
  });
}

// Errors beside their fields; the first takes the focus. Some are in English on every page.
function showErrors(form, errors, english = []) {
  let first = null;
  for (const place of form.querySelectorAll(".error")) {
    const name = place.id.replace(/-error$/, "");
    const field = document.getElementById(name);
    place.textContent = errors[name] ?? "";
    place.lang = english.includes(name) ? "en" : document.documentElement.lang;
    if (!field) continue;
    if (errors[name]) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    if (errors[name] && !first) first = field;
  }
  first?.closest("details")?.setAttribute("open", "");
  first?.focus();
}

// Send a form with its files: to `taken` what the node says, unless that is errors. What was said of it before is gone
// as it begins, and `begun` takes away what came of it.
function sendBy(form, button, telling, taken, begun = () => {}) {
  async function send() {
    showErrors(form, {});
    begun();
    tell(telling());
    const headers = { Accept: "application/json", "X-CSRF-Token": form.elements.csrf.value };
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers });
    const given = await answer.json();
    showErrors(form, given.errors ?? {}, given.english);
    if (given.errors) tell("");
    else taken(given);
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    for (const file of form.querySelectorAll("input[type=file]")) {
      const [given] = file.files;
      if (!given || given.size <= Number(file.dataset.most)) continue;
      begun();
      showErrors(form, { [file.id]: file.dataset.large });
      return;
    }
    if (form.dataset.busy) return;
    button.setAttribute("aria-disabled", "true");
    form.dataset.busy = "yes";
    try {
      await send();
    } catch {
      showErrors(form, { form: said.silent });
      tell("");
    } finally {
      delete form.dataset.busy;
      button.removeAttribute("aria-disabled");
    }
  });
}

// A file may be dropped anywhere on its field.
function named(file) {
  file.closest(".drop").classList.toggle("filled", file.files.length > 0);
}
for (const drop of document.querySelectorAll(".drop")) {
  const file = drop.querySelector("input[type=file]");
  file.addEventListener("change", () => named(file));
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) {
    drop.addEventListener(name, () => drop.classList.remove("over"));
  }
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    file.files = event.dataTransfer.files;
    named(file);
  });
}

document.documentElement.classList.add("scripted");
