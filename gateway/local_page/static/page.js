// The page is whole without this script; it only keeps the numbers fresh.
const byId = (id) => document.getElementById(id);
const put = (node, text) => { if (node && node.textContent !== text) node.textContent = text; };

async function refresh() {
  if (document.hidden) return;
  let told;
  try {
    const answer = await fetch("/live.json", { cache: "no-store" });
    if (!answer.ok) return;
    told = await answer.json();
  } catch {
    put(byId("light-says"), "The gateway does not answer. These numbers are old.");
    return;
  }
  byId("light").className = "light " + told.lamp.kind;
  put(byId("light-title"), told.lamp.title);
  put(byId("light-says"), told.lamp.says);
  put(byId("waiting"), told.waiting.toLocaleString("en-GB"));
  put(byId("waiting-word"), told.waiting === 1 ? "reading" : "readings");
  for (const meter of told.meters) {
    const tile = document.querySelector(`[data-meter="${meter.name}"]`);
    if (!tile) continue;
    put(tile.querySelector(".w"), meter.power);
    put(tile.querySelector(".says"), meter.says);
    if (meter.spark) tile.querySelector(".line").setAttribute("d", meter.spark);
  }
}
setInterval(refresh, 2000);
