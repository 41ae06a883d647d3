// What the page does beyond forms and links: errors and results come without a new page, and results as they are found.
// Every piece of HTML in here was rendered, and escaped, by the node.
"use strict";

const form = document.getElementById("search");
const results = document.getElementById("results");
const status = document.getElementById("status");
const drop = document.getElementById("drop");
const file = document.getElementById("file");
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
function follow(url) {
  stream?.close();
  stream = new EventSource(url);
  results.setAttribute("aria-busy", "true");
  const end = () => {
    stream.close();
    results.removeAttribute("aria-busy");
    document.documentElement.dataset.search = "ended";
  };
  stream.addEventListener("part", (event) => put(JSON.parse(event.data)));
  stream.addEventListener("end", (event) => { put(JSON.parse(event.data)); end(); });
  stream.addEventListener("broken", (event) => { tell(JSON.parse(event.data).status); end(); });
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) return tell("The connection is lost; trying again…");
    tell("This search cannot be followed any more. Load the page anew.");
    end();
  });
}

function showErrors(errors) {
  let first = null;
  for (const place of form.querySelectorAll(".error")) {
    const name = place.id.replace(/-error$/, "");
    const field = document.getElementById(name);
    place.textContent = errors[name] ?? "";
    if (!field) continue;
    if (errors[name]) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    if (errors[name] && !first) first = field;
  }
  first?.closest("details")?.setAttribute("open", "");
  first?.focus();
}

async function send() {
  const token = form.elements.csrf.value;
  const headers = { Accept: "application/json", "X-CSRF-Token": token };
  tell(file.files.length ? "This node is reading your file…" : "Searching…");
  const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers });
  const said = await answer.json();
  showErrors(said.errors ?? {});
  if (said.errors) return tell("");
  history.pushState(null, "", said.page);
  document.getElementById("kept").innerHTML = said.kept;
  file.value = "";
  named();
  delete document.documentElement.dataset.search;
  if (results.getBoundingClientRect().top > innerHeight / 2) status.scrollIntoView();
  follow(`${said.page}/events`);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const go = document.getElementById("go");
  const [given] = file.files;
  if (given && given.size > Number(file.dataset.most)) {
    showErrors({ file: `Larger than the ${file.dataset.most >> 20} MiB that this page takes; use atoll search --data.` });
    return;
  }
  go.setAttribute("aria-disabled", "true");
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  try {
    await send();
  } catch {
    showErrors({ form: "The node does not answer. Is it running?" });
    tell("");
  } finally {
    delete form.dataset.busy;
    go.removeAttribute("aria-disabled");
  }
});

// Another choice of what is drawn.
async function draw(choose) {
  const query = new URLSearchParams(new FormData(choose));
  const answer = await fetch(`${choose.dataset.picture}?${query}`);
  if (answer.ok) put({ status: status.textContent, into: "picture", how: "replace", html: await answer.text() });
}

document.addEventListener("change", (event) => {
  const choose = event.target.closest("form[data-picture]");
  if (choose) draw(choose);
  if (event.target.closest(".tags")) {
    const count = form.querySelectorAll(".tags input:checked").length;
    document.getElementById("chosen").textContent = count ? `${count} chosen` : "any";
  }
  if (event.target === file) named();
});
document.addEventListener("submit", (event) => {
  const choose = event.target.closest("form[data-picture]");
  if (!choose) return;
  event.preventDefault();
  draw(choose);
});

// A file may be dropped anywhere on its field.
function named() {
  drop.classList.toggle("filled", file.files.length > 0);
}
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
  named();
});

window.addEventListener("popstate", () => location.reload());
document.documentElement.classList.add("scripted");
if (results.dataset.events) follow(results.dataset.events);
