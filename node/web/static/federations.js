// Copying an invite: the browser may let a page of this host write to the clipboard; else the line is selected.
"use strict";

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.parentElement.querySelector(".copied").textContent = button.dataset.done;
  } catch {
    getSelection().selectAllChildren(source);
    source.focus();
  }
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
