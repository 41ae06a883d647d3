// The policy editor: who can do what, while the policy is edited. All that it shows was rendered by the node.
"use strict";

const PAUSE = 250; // ms after the last key
const form = document.getElementById("policy");
const shown = document.getElementById("preview");
let waiting = 0;
let asked = null;

function tell(errors, english = []) {
  for (const place of form.querySelectorAll(".error")) {
    const name = place.id.replace(/-error$/, "");
    place.textContent = errors[name] ?? "";
    if (english.includes(name)) place.lang = "en";
    else place.removeAttribute("lang");
    const field = document.getElementById(name);
    if (!field || field.type === "radio") continue;
    if (errors[name]) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
}

// The last question wins: one that is under way is dropped.
async function preview() {
  asked?.abort();
  asked = new AbortController();
  const fields = new URLSearchParams(new FormData(form));
  fields.delete("add"); // it is named by its button
  shown.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.dataset.preview, {
      method: "POST", body: fields, headers: { Accept: "application/json" }, signal: asked.signal,
    });
    const said = await answer.json();
    if (said.html) shown.innerHTML = said.html;
    tell(said.errors ?? {}, said.english);
  } catch (error) {
    if (error.name === "AbortError") return;
    tell({ form: document.getElementById("said").dataset.silent });
  }
  shown.removeAttribute("aria-busy");
}

form.addEventListener("input", (event) => {
  if (event.target.id === "add") return;
  document.getElementById("sure")?.remove(); // what was confirmed is another policy
  clearTimeout(waiting);
  waiting = setTimeout(preview, event.target.type === "text" ? PAUSE : 0);
});

document.getElementById("sure")?.focus();
document.documentElement.classList.add("scripted");
