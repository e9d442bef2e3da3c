// FID over the years, one point a system; a click, or Enter, says where a figure is printed.
import { count, panel, text } from "./shared.js";

const WIDTH = 760;
const HEIGHT = 330;
const LEFT = 40;
const BOTTOM = 28;
const COLOURS = { "zero-shot": "#4f8fdc", trained: "#e0803a" };

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const points = get("points");
  const kinds = Object.keys(COLOURS);
  const [first, last, top] = [get("first"), get("last"), get("top")];
  const x = (when) => LEFT + ((WIDTH - LEFT - 60) * (when - first)) / (last - first);
  const y = (fid) => 10 + (HEIGHT - BOTTOM - 10) * (1 - fid / top);
  const root = panel(
    "timeline",
    get,
    `<div class="chips">${kinds
      .map((kind) => `<button type="button" aria-pressed="true">${kind}</button>`)
      .join("")}</div><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="group" ` +
      'aria-label="FID over the years"></svg><div class="note" role="status"></div>',
  );
  const svg = root.querySelector("svg");
  const note = root.querySelector(".note");
  const hidden = new Set();
  let chosen = get("chosen");

  function axes() {
    let parts = "";
    for (let fid = 0; fid <= top; fid += 10) {
      parts += `<path class="grid" d="M${LEFT} ${y(fid)}H${WIDTH}"/>`;
      parts += `<text x="${LEFT - 6}" y="${y(fid) + 4}" text-anchor="end">${fid}</text>`;
    }
    for (let year = Math.ceil(first); year <= last; year += 1) {
      parts += `<text x="${x(year)}" y="${HEIGHT - 8}" text-anchor="middle">${year}</text>`;
    }
    return parts;
  }

  // other papers' figures for the same system: a line from the lowest to the highest
  function conflict(p) {
    const all = [p.fid, ...p.also.map(([, fid]) => fid)];
    if (all.length === 1) return "";
    const ticks = p.also.map(([, fid]) => `M${x(p.when) - 5} ${y(fid)}h10`).join("");
    const line = `M${x(p.when)} ${y(Math.min(...all))}V${y(Math.max(...all))}${ticks}`;
    return `<path d="${line}" stroke="${COLOURS[p.kind]}" stroke-width="2" fill="none"/>`;
  }

  function mark(p, i) {
    const [cx, cy, colour] = [x(p.when), y(p.fid), COLOURS[p.kind]];
    const shape =
      p.kind === "trained"
        ? `<rect x="${cx - 5}" y="${cy - 5}" width="10" height="10" fill="${colour}"/>`
        : `<circle cx="${cx}" cy="${cy}" r="5.5" fill="${colour}"/>`;
    const ring = `<circle cx="${cx}" cy="${cy}" r="9" fill="none" stroke="${colour}"/>`;
    const name = i === chosen || p.named ? text(p.name) : "";
    const says = `${text(p.name)}, FID ${p.fid}, ${p.kind}`;
    return (
      `<g class="point${i === chosen ? " chosen" : ""}" data-i="${i}" tabindex="0" ` +
      `role="button" aria-label="${says}">${conflict(p)}${p.reranked ? ring : ""}${shape}` +
      `<text x="${cx + (p.left ? -11 : 11)}" y="${cy + 4}" ` +
      `text-anchor="${p.left ? "end" : "start"}">${name}</text></g>`
    );
  }

  function where(p) {
    if (!p.page) return "";
    const file = location.pathname.endsWith(".html")
      ? p.page.replace(/^\d+_/, "") + ".html"
      : p.page + ".ipynb";
    return ` &middot; <a href="../readings/${file}">reading ${p.reading}</a>`;
  }

  function say(p) {
    const year = Math.floor(p.when);
    const others = p.also.map(([source, fid]) => `${fid} (${text(source)})`);
    const more = [p.size && `${p.size} weights`, p.data, p.reranked && "reranked by a judge"];
    note.innerHTML =
      `<b>${text(p.name)}</b>, ${year}, ${p.kind}: FID ${p.fid} (${text(p.source)})` +
      (others.length ? `<br><b>printed elsewhere:</b> ${others.join("; ")}` : "") +
      `<br>${more.filter(Boolean).map(text).join(" &middot; ")}${where(p)}`;
  }

  function show(focus = false) {
    const drawn = points.map((p, i) => (hidden.has(p.kind) ? "" : mark(p, i)));
    svg.innerHTML = axes() + drawn.join("");
    say(points[chosen]);
    svg.dataset.chosen = points[chosen].name;
    if (focus) svg.querySelector(`[data-i="${chosen}"]`)?.focus();
    count(svg);
  }

  function choose(event) {
    const point = event.target.closest(".point");
    if (!point) return;
    chosen = Number(point.dataset.i);
    show(true);
  }

  svg.addEventListener("click", choose);
  svg.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(event);
  });
  root.querySelectorAll(".chips button").forEach((button, i) => {
    button.addEventListener("click", () => {
      if (!hidden.delete(kinds[i])) hidden.add(kinds[i]);
      button.setAttribute("aria-pressed", !hidden.has(kinds[i]));
      show();
    });
  });
  show();
  el.replaceChildren(root);
}

export default { render };
