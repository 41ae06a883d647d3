// One learnware: code is copied by a button, a package's progress and predictions come without a new page.
"use strict";

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

for (const button of document.querySelectorAll(".take-copy")) {
  const code = button.closest(".snippet").querySelector("pre");
  const words = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = button.dataset.copied;
    } catch { // not over plain HTTP from elsewhere
      select(code);
      button.textContent = button.dataset.select;
    }
    setTimeout(() => { button.textContent = words; }, 2500);
  });
}

const fetched = document.getElementById("fetch");
if (fetched.dataset.events) follow(fetched.dataset.events, fetched, () => {});

const trying = document.getElementById("trying");
if (trying) {
  const button = document.getElementById("go");
  const into = document.getElementById("tried");
  sendBy(trying, button, () => button.dataset.telling, (said) => {
    tell("");
    into.innerHTML = said.html;
    into.focus({ preventScroll: true });
    into.scrollIntoView({ block: "nearest" });
  }, () => into.replaceChildren());
}
