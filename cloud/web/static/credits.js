// A slate: what the votes on it cost together, against the credits everyone has.
const shown = document.querySelector("#credits");
if (shown) {
  const limit = +shown.dataset.limit, boxes = [...document.querySelectorAll(".slate input[type=number]")];
  const update = () => {
    const spent = boxes.reduce((sum, box) => sum + (+box.value || 0) ** 2, 0);
    shown.textContent = spent + " of " + limit + " credits spent" + (spent > limit ? ", take some votes back" : "");
    shown.classList.toggle("over", spent > limit);
  };
  boxes.forEach(box => box.addEventListener("input", update));
  update();
}
