// The catalogue's filters: the list follows what is typed and chosen, and the address with it.
const form = document.getElementById("filter");
let asked = 0;
let waiting = 0;

async function show(address, { scroll = false, keep = true } = {}) {
  const mine = ++asked;
  const into = document.getElementById("found");
  into.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (!answer.ok || new URL(answer.url).pathname !== "/learnwares") throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== asked) return;
    into.replaceWith(document.adoptNode(page.getElementById("found")));
    if (keep) history.replaceState(null, "", address);
    if (scroll) document.getElementById("found").scrollIntoView();
  } catch {
    if (mine === asked) location.assign(address);
  }
}

function address() {
  const fields = [...new FormData(form)].filter(([, value]) => value);
  return `/learnwares?${new URLSearchParams(fields)}`;
}

form.addEventListener("submit", (event) => { event.preventDefault(); show(address()); });
form.addEventListener("change", (event) => {
  // Words are followed as they are typed; a list that came once more when they lose the focus would take the link
  // away that is being clicked.
  if (event.target !== form.elements.words) show(address());
});
form.elements.words.addEventListener("input", () => {
  clearTimeout(waiting);
  const sort = form.elements.sort;
  if (form.elements.words.value && sort.value === "newest") sort.value = "best";
  waiting = setTimeout(() => show(address()), 200);
});
document.addEventListener("click", (event) => {
  const link = event.target.closest(".numbered a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(link.href, { scroll: true });
});
