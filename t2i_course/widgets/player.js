// A slider over frames: Player (all frames are here), Scrub (the kernel draws the position
// asked for), SamplerPlayer (a sampler's steps come as they are done).
import { bitmap, count, kernel, panel, rich, text, viewName } from "./shared.js";

const GAP = 12; // between the pictures of a frame, in screen pixels
const icon = (path) =>
  `<svg viewBox="0 0 16 16" width="12" height="12" fill="currentColor" aria-hidden="true">` +
  `<path d="${path}"/></svg>`;
const PLAY = icon("M3 1l11 7-11 7z");
const PAUSE = icon("M3 1h4v14H3zM9 1h4v14H9z");

function layout(get, width, height) {
  const panels = get("panels");
  const names = panels.map((name) => `<span>${rich(name)}</span>`).join("");
  const columns = `grid-template-columns:repeat(${panels.length},1fr)`;
  const options = (choices) => choices.map((c) => `<option>${text(c)}</option>`).join("");
  const selects = get("controls").map(
    ({ name, choices }) =>
      `<label>${rich(name)}<select aria-label="${text(name)}">` +
      `${options(choices)}</select></label>`,
  );
  return (
    selects.join("") +
    `<div class="view" style="width:${width}px">` +
    (panels.some(Boolean) ? `<div class="names" style="${columns}">${names}</div>` : "") +
    `<canvas width="${width}" height="${height}" role="img"></canvas></div>` +
    `<div class="bar"><button type="button"></button>` +
    `<input type="range" min="0" step="1"><output></output></div>`
  );
}

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const view = viewName();
  const [w, h] = get("picture");
  const scale = get("scale");
  const P = get("panels").length;
  const root = panel(
    get("kind"),
    get,
    layout(get, P * w * scale + (P - 1) * GAP, h * scale),
  );
  const [canvas, slider, out, button] = ["canvas", "input", "output", "button"].map(
    (name) => root.querySelector(name),
  );
  const selects = [...root.querySelectorAll("select")];
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  slider.setAttribute("aria-label", get("name") || get("title") || "frame");

  let frames = get("frames") || [];
  const decoded = []; // sheets of a saved page, as they are asked for
  let wish = 0; // number of the newest question
  let drawn = 0; // ... of the answer that is on the canvas
  let flight = null; // the question the kernel works on
  let next = null; // the newest wish while it does
  let playing = false;
  let gone = false;
  let onDraw = () => {};
  let last = get("index"); // for the guess where the slider goes next
  let stride = 0;
  let quick = false;

  const labels = () => get("labels");
  const choice = () => selects.map((s) => s.selectedIndex);
  const cache = new Map();
  const key = (i, c) => `${i}|${c}`;

  function remember(i, c, picture) {
    cache.set(key(i, c), picture);
    if (cache.size > 400) cache.delete(cache.keys().next().value);
  }

  // frame i of a saved page: a file of its own, or cut from a sheet of all that row's
  async function stored(row, i) {
    const sheets = get("sheets");
    if (!sheets) return frames[row]?.[i] && bitmap(frames[row][i]);
    decoded[row] ??= bitmap(sheets[row], "image/avif");
    const sheet = await decoded[row];
    const height = sheet.height / labels().length;
    return createImageBitmap(sheet, 0, i * height, sheet.width, height);
  }

  function fit() {
    const n = Math.max(1, labels().length);
    slider.max = n - 1;
    slider.disabled = button.disabled = n < 2;
    out.style.minWidth = Math.max(...labels().map((s) => s.length), 1) + "ch";
  }

  function tell(sentence) {
    out.textContent = sentence;
    out.setAttribute("aria-busy", "false");
    onDraw();
  }

  // `number` keeps a late answer from covering a newer one
  function draw(picture, i, number) {
    if (number < drawn) return;
    drawn = number;
    const width = picture.width / P;
    for (let p = 0; p < P; p++) {
      const x = p * (w * scale + GAP);
      pen.drawImage(
        picture,
        p * width,
        0,
        width,
        picture.height,
        x,
        0,
        w * scale,
        h * scale,
      );
    }
    const label = labels()[i] ?? String(i);
    out.innerHTML = rich(label);
    slider.setAttribute("aria-valuetext", label);
    canvas.setAttribute("aria-label", [get("title"), label].filter(Boolean).join(", "));
    canvas.dataset.index = i;
    count(canvas);
    onDraw();
  }

  async function show(i, c = choice()) {
    const number = ++wish;
    const known = cache.get(key(i, c));
    if (i !== last) {
      stride = i - last;
      last = i;
    }
    if (known) {
      next = null;
      draw(known, i, number);
      return guess();
    }
    if (get("live")) return ask(i, c, number);
    const picture = await stored(c[0] || 0, i);
    if (!picture) return;
    remember(i, c, picture);
    if (!gone) draw(picture, i, number);
  }

  function ask(i, c, number) {
    const busy = flight && performance.now() - flight.since < 60000;
    if (busy && !questions.lost()) {
      next = [i, c, number];
      return;
    }
    flight = { i, c, number, since: performance.now() };
    if (number) out.setAttribute("aria-busy", "true");
    questions.ask({ view, seq: number, index: i, choice: c });
  }

  // a quick fn: have the next position ready before it is asked for
  function guess() {
    const i = last + stride;
    const c = choice();
    const inside = stride && i >= 0 && i <= Number(slider.max);
    if (get("live") && quick && !flight && inside && !cache.has(key(i, c))) ask(i, c, 0);
  }

  async function answer(message, buffers) {
    if (message.reset) {
      cache.clear();
      return show(Number(slider.value));
    }
    if (message.view !== view || !flight || message.seq !== flight.number) return;
    const { i, c, since } = flight;
    let number = flight.number;
    flight = null;
    quick = performance.now() - since < 120;
    out.setAttribute("aria-busy", "false");
    if (next) {
      // ask before decoding: the kernel need not wait for us
      const [ni, nc, wanted] = next;
      next = null;
      if (key(ni, nc) === key(i, c)) number = wanted;
      else ask(ni, nc, wanted);
    }
    if (message.error) return number ? tell(message.error) : undefined;
    const picture = await bitmap(buffers[0]);
    remember(i, c, picture);
    if (number && !gone) draw(picture, i, number);
    guess();
  }

  // a sampler runs: its newest frame, or all of them at the end
  function streamed() {
    const all = get("frames")[0] || [];
    const n = labels().length;
    const follow = Number(slider.value) >= Number(slider.max);
    if (!frames[0]) frames = [[]];
    if (all.length) frames = [all];
    else if (n) frames[0][n - 1] = get("tail");
    fit();
    if (follow && n) {
      slider.value = n - 1;
      show(n - 1);
    }
  }

  function icons() {
    button.innerHTML = playing ? PAUSE : PLAY;
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
  }

  async function play() {
    playing = true;
    icons();
    if (Number(slider.value) >= Number(slider.max)) slider.value = -1;
    while (playing && !gone && Number(slider.value) < Number(slider.max)) {
      const begin = performance.now();
      slider.value = Number(slider.value) + 1;
      const shown = new Promise((done) => (onDraw = done));
      show(Number(slider.value));
      await shown;
      onDraw = () => {};
      const rest = get("interval") - (performance.now() - begin);
      await new Promise((done) => setTimeout(done, Math.max(0, rest)));
    }
    playing = false;
    icons();
  }

  const questions = kernel(model, answer, tell);
  slider.addEventListener("input", () => {
    playing = false;
    show(Number(slider.value));
  });
  selects.forEach((s) => s.addEventListener("change", () => show(Number(slider.value))));
  button.addEventListener("click", () => (playing ? (playing = false) : play()));
  model.on("change:labels", streamed);
  model.on("change:frames", streamed);

  fit();
  slider.value = get("index");
  icons();
  const first = get("first");
  if (first && (first.byteLength || first.length)) {
    const picture = await bitmap(first);
    remember(get("index"), choice(), picture);
    draw(picture, get("index"), ++wish);
  } else if (frames.length || get("sheets")) await show(Number(slider.value));
  else streamed();
  el.replaceChildren(root); // only now: the picture that stood here stays until ours is drawn
  return () => {
    gone = true;
    playing = false;
    questions.close();
    model.off("change:labels", streamed);
    model.off("change:frames", streamed);
  };
}

export default { render };
