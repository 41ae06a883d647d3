// A prediction as it goes, and at its end the report in its place.
"use strict";

const reuse = document.getElementById("reuse");
follow(reuse.dataset.events, reuse, () => {
  if (!document.getElementById("doing")) {
    const title = reuse.querySelector("h1");
    title.tabIndex = -1;
    if (document.activeElement === document.body) title.focus();
    document.title = reuse.dataset.title;
    document.querySelector(".forget button").textContent = reuse.dataset.forget;
  } else if (status.textContent && status.textContent !== said.gone) location.reload();
});
