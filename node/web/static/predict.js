// The form of a prediction: errors come without a new page, so that files need not be chosen again.
"use strict";

const predict = document.getElementById("predict");
sendBy(predict, document.getElementById("go"), () => "This node is reading your rows and making a plan…", (said) => {
  location.assign(said.page);
});
