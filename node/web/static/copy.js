// Buttons that copy what they name; where the browser forbids it (plain HTTP from elsewhere), that is selected instead.
const SAYING = 2500; // ms for which a button says what it has done

for (const button of document.querySelectorAll("[data-copies]")) {
  const source = document.getElementById(button.dataset.copies);
  const words = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = button.dataset.done;
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = button.dataset.select;
    }
    setTimeout(() => { button.textContent = words; }, SAYING);
  });
}
