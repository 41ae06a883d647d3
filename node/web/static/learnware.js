// One learnware: a package's progress and predictions come without a new page.
"use strict";

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
