// The year carpet: one pixel per quarter hour, straight into ImageData, scaled by the style sheet.
// Data is a row of 16-bit little-endian numbers, watts per interval, bought positive; -32768 is missing.
const canvas = document.querySelector("canvas[data-carpet]");
if (canvas) {
  const days = +canvas.dataset.days, slots = +canvas.dataset.slots, start = Date.parse(canvas.dataset.start);
  const scale_w = +canvas.dataset.scale, readout = document.querySelector("#readout");
  const missing = -32768;
  let values = null, mode = "net", day = Math.floor(days / 2), slot = Math.floor(slots / 2);
  const colour = text => [1, 3, 5].map(i => parseInt(text.slice(i, i + 2), 16));
  const draw = () => {
    if (!values) return;
    const style = getComputedStyle(document.documentElement);
    const ramp = [0, 1, 2, 3, 4].map(i => colour(style.getPropertyValue("--hm" + i).trim()));
    const blank = colour(style.getPropertyValue("--surface").trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3"));
    const context = canvas.getContext("2d"), image = context.createImageData(days, slots);
    for (let d = 0; d < days; d++) for (let q = 0; q < slots; q++) {
      const at = ((slots - 1 - q) * days + d) * 4;
      let watt = values[d * slots + q], rgb = blank;
      if (watt !== missing) {
        if (mode === "import") watt = Math.max(0, watt);
        const signed = Math.sign(watt) * Math.sqrt(Math.min(1, Math.abs(watt) / scale_w));
        const place = Math.min(3.999, Math.max(0, (1 - signed) * 2)), i = place | 0, f = place - i;
        rgb = ramp[i].map((from, j) => from + (ramp[i + 1][j] - from) * f);
      }
      image.data.set([rgb[0], rgb[1], rgb[2], 255], at);
    }
    context.putImageData(image, 0, 0);
  };
  const say = () => {
    const when = new Date(start + day * 864e5), watt = values[day * slots + slot], minutes = slot * 1440 / slots;
    const clock = String(Math.floor(minutes / 60)).padStart(2, "0") + ":" + String(minutes % 60).padStart(2, "0");
    const date = when.toLocaleDateString(document.documentElement.lang, { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
    const what = watt === missing ? "no reading" : (watt >= 0 ? "bought " : "sold ") + (Math.abs(watt) / 1000).toFixed(2) + " kW";
    readout.textContent = date + ", " + clock + ": " + what;
  };
  canvas.addEventListener("pointermove", event => {
    if (!values) return;
    const box = canvas.getBoundingClientRect();
    day = Math.min(days - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * days)));
    slot = Math.min(slots - 1, Math.max(0, slots - 1 - Math.floor((event.clientY - box.top) / box.height * slots)));
    say();
  });
  canvas.addEventListener("keydown", event => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!move || !values) return;
    event.preventDefault();
    day = (day + move[0] + days) % days;
    slot = (slot + move[1] + slots) % slots;
    say();
  });
  document.querySelectorAll("button[data-mode]").forEach(button => button.addEventListener("click", () => {
    mode = button.dataset.mode;
    button.parentElement.querySelectorAll("button").forEach(other => other.setAttribute("aria-pressed", other === button));
    draw();
  }));
  matchMedia("(prefers-color-scheme:dark)").addEventListener("change", draw);
  fetch(canvas.dataset.carpet).then(answer => answer.ok ? answer.arrayBuffer() : Promise.reject(answer.status)).then(buffer => {
    const view = new DataView(buffer);
    values = Int16Array.from({ length: buffer.byteLength / 2 }, (_, i) => view.getInt16(i * 2, true));
    canvas.tabIndex = 0;
    draw();
  }).catch(() => { readout.textContent = "The picture could not be loaded. The table below has the figures."; });
}
