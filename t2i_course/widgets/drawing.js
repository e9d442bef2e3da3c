// A prompt box whose picture comes step by step: from the kernel, or from a model in the page.
import { bitmap, count, panel, rich, text } from "./shared.js";
import { GAUGE, answering, fetched } from "./live.js";

const GAP = 12; // between the two pictures, in screen pixels

// Two pictures (3, H, W) in [-1, 1] -> one bitmap, side by side.
function strip(pair, side) {
  const image = new ImageData(2 * side, side);
  pair.forEach((picture, p) => {
    for (let at = 0; at < side * side; at++) {
      const to = 4 * (Math.floor(at / side) * 2 * side + p * side + (at % side));
      for (let c = 0; c < 3; c++)
        image.data[to + c] = 127.5 * (picture[c * side * side + at] + 1);
      image.data[to + 3] = 255;
    }
  });
  return createImageBitmap(image);
}

function layout(get, width, height) {
  const number = (name, least, most, step) =>
    `<label>${name} <input type="number" name="${name}" required min="${least}"` +
    ` max="${most}" step="${step}" value="${get(name)}"></label>`;
  const chips = get("examples").map((e) => `<button type="button">${text(e)}</button>`);
  const names = ["x_t", "x0_hat"].map((name) => `<span>${rich(name)}</span>`).join("");
  return (
    `<form class="wish"><label class="prompt"><span>Prompt</span> <input type="text" name="prompt"` +
    ` required maxlength="10000" value="${text(get("prompt"))}"></label>` +
    `<button type="submit" class="go">Draw</button>` +
    `<div class="numbers">${number("seed", 0, Number.MAX_SAFE_INTEGER, 1)}` +
    `${number("guidance", 0, 30, "any")}${number("steps", 1, 1000, 1)}</div></form>` +
    `<div class="chips">${chips.join("")}</div>` +
    `<div class="view" style="width:${width}px">` +
    `<div class="names" style="grid-template-columns:1fr 1fr">${names}</div>` +
    `<canvas width="${width}" height="${height}" role="img"></canvas></div>` +
    `<div class="bar"><input type="range" min="0" step="1" aria-label="step">` +
    `<output></output></div>${GAUGE}`
  );
}

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const side = get("side");
  const wide = side * get("scale");
  const root = panel("drawing", get, layout(get, 2 * wide + GAP, wide));
  const parts = ["form", ".go", "canvas", "input[type=range]", "output", "progress", ".note"];
  const [form, go, canvas, slider, out, gauge, note] = parts.map((name) =>
    root.querySelector(name),
  );
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;

  let frames = []; // {label, picture} of the drawing that is shown
  let words = get("prompt");
  let busy = 0; // number of the drawing that is being made
  let number = 0;

  function show(i) {
    const { label, picture } = frames[i];
    for (const p of [0, 1])
      pen.drawImage(picture, p * side, 0, side, side, p * (wide + GAP), 0, wide, wide);
    slider.value = i;
    out.textContent = label;
    slider.setAttribute("aria-valuetext", label);
    canvas.setAttribute("aria-label", `${words}, ${label}`);
    count(canvas);
  }

  // one more frame; the slider follows where it stood at the end
  function add(label, picture) {
    const follow = !frames.length || Number(slider.value) >= frames.length - 1;
    frames.push({ label, picture });
    slider.max = frames.length - 1;
    if (follow) show(frames.length - 1);
  }

  function rest(sentence) {
    busy = 0;
    gauge.hidden = true;
    go.textContent = "Draw";
    go.disabled = false;
    root.removeAttribute("aria-busy");
    note.textContent = sentence;
  }

  async function stepped(message) {
    const { i, steps, x, x0_hat, data } = message;
    if (!i) {
      frames = [];
      note.textContent = `Drawing in ${steps} steps \u2026`;
    }
    const picture = data ? await bitmap(data) : await strip([x, x0_hat], side);
    if (message.number !== busy) return;
    add(`step ${i + 1} of ${steps}`, picture);
    root.picture = x; // for who wants the numbers
  }

  let queue = Promise.resolve(); // what is heard is done in the order it comes
  function heard(message) {
    queue = queue.then(async () => {
      if (message.progress) return fetched(root, message);
      if (message.number !== busy) return;
      if (message.error) return rest(message.error);
      if (!("done" in message)) return stepped(message);
      rest(message.done ? `Drawn in ${message.seconds.toFixed(1)} s: ${words}` : "Stopped.");
    });
  }

  function draw() {
    const value = (name) => Number(form.elements[name].value);
    words = form.elements.prompt.value;
    busy = ++number;
    root.setAttribute("aria-busy", "true");
    note.textContent = "The model is fetched, once \u2026";
    if (!source.stops) note.textContent = "Drawing \u2026";
    go.textContent = source.stops ? "Stop" : "Draw";
    go.disabled = !source.stops;
    const wish = { number: busy, prompt: words };
    for (const name of ["seed", "guidance", "steps"]) wish[name] = value(name);
    source.ask(wish);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!busy) return draw();
    source.stop(busy);
    rest("Stopped.");
  });
  slider.addEventListener("input", () => show(Number(slider.value)));
  root.querySelectorAll(".chips button").forEach((chip) =>
    chip.addEventListener("click", () => {
      form.elements.prompt.value = chip.textContent;
      go.focus();
    }),
  );
  const source = answering(model, "worker.js", "draw", heard, rest);
  for (const [i, data] of get("frames").entries())
    add(get("labels")[i], await bitmap(data));
  if (frames.length) show((frames.length - 1) >> 1); // noise, and what it will be
  el.replaceChildren(root);
  return () => source.close();
}

export default { render };
