// The example as it is made.
"use strict";

const making = document.getElementById("making");
if (making?.dataset.events) {
  follow(making.dataset.events, making, () => {
    history.replaceState(null, "", "/welcome#search");
    location.reload();
  });
}
