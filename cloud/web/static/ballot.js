// The ballot bar: what the ticked projects cost together, against what the fund holds.
const bar = document.querySelector("#fundbar");
if (bar) {
  const fund = +bar.dataset.fund, decimals = +bar.dataset.decimals, boxes = [...document.querySelectorAll(".approve input")];
  const money = new Intl.NumberFormat(document.documentElement.lang, { style: "currency", currency: bar.dataset.currency, maximumFractionDigits: 0 });
  const rect = (kind, x, width) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    Object.entries({ class: kind, x, y: 0, width: Math.max(0, width), height: 26 }).forEach(([name, value]) => shape.setAttribute(name, value));
    bar.append(shape);
  };
  const update = () => {
    const ticked = boxes.filter(box => box.checked), sum = ticked.reduce((total, box) => total + +box.dataset.cost, 0);
    const whole = Math.max(fund * 1.1, sum * 1.04);
    document.querySelector("#ballot-count").textContent = ticked.length + (ticked.length === 1 ? " project" : " projects") + " supported";
    document.querySelector("#ballot-sum").textContent = money.format(sum / 10 ** decimals);
    bar.replaceChildren();
    let x = 0;
    ticked.forEach(box => { const width = box.dataset.cost / whole * 1000; rect("f-good", x, width - 3); x += width; });
    rect("f-warn", fund / whole * 1000 - 2, 4);
    document.querySelectorAll(".proj").forEach(card => { const box = card.querySelector(".approve input"); if (box) card.classList.toggle("on", box.checked); });
  };
  boxes.forEach(box => box.addEventListener("change", update));
  update();
}
