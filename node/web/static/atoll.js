// The search page beyond forms and links: results come as they are found.
"use strict";

const form = document.getElementById("search");
const results = document.getElementById("results");
const file = document.getElementById("file");

function followSearch(url) {
  follow(url, results, () => { document.documentElement.dataset.search = "ended"; });
}

sendBy(form, document.getElementById("go"), () => (file.files.length ? form.dataset.reading : form.dataset.sending), (begun) => {
  history.pushState(null, "", begun.page);
  document.getElementById("kept").innerHTML = begun.kept;
  file.value = "";
  named(file);
  delete document.documentElement.dataset.search;
  if (results.getBoundingClientRect().top > innerHeight / 2) status.scrollIntoView();
  followSearch(`${begun.page}/events`);
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
    const told = document.getElementById("chosen");
    told.textContent = count ? told.dataset.some.replace("{count}", count) : told.dataset.any;
  }
});
document.addEventListener("submit", (event) => {
  const choose = event.target.closest("form[data-picture]");
  if (!choose) return;
  event.preventDefault();
  draw(choose);
});

window.addEventListener("popstate", () => location.reload());
if (results.dataset.events) followSearch(results.dataset.events);
