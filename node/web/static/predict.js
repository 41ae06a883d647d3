// The form of a prediction: errors come without a new page, so that files need not be chosen again.
"use strict";

const predict = document.getElementById("predict");
sendBy(predict, document.getElementById("go"), () => predict.dataset.sending, (planned) => {
  location.assign(planned.page);
});
