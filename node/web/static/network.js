// The network as it changes: the node sends parts of the page, which it has rendered and escaped, when something happens.
"use strict";

const room = document.getElementById("network");
const followed = document.getElementById("followed");
const said = document.getElementById("said").dataset;

// Whoever had the focus in a part keeps it.
function replace(id, html) {
  const part = document.getElementById(id);
  if (!part) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.innerHTML = html;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function tell(text) {
  if (followed.textContent !== text) followed.textContent = text;
}

if (followed) {
  const stream = new EventSource(room.dataset.events);
  stream.addEventListener("open", () => {
    room.classList.add("followed");
    tell(room.dataset.live);
  });
  stream.addEventListener("parts", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) replace(id, html);
  });
  stream.addEventListener("error", () => {
    room.classList.remove("followed");
    tell(stream.readyState === EventSource.CLOSED ? said.gone : said.lost);
  });
  addEventListener("pagehide", () => stream.close());
}
