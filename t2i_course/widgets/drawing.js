// A prompt box whose picture comes step by step: from the kernel, or from a model in the page.
import { bitmap, count, kernel, modelFolder, panel, rich, text, viewName } from "./shared.js";

const GAP = 12; // between the two pictures, in screen pixels
const FAILED = "The model could not be started; reload the page to try again.";

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

// The model in the page: its worker starts, and fetches, with the first drawing.
function pageModel(heard) {
  let worker = null;
  return {
    stops: true,
    draw(wish) {
      const { url, missing } = modelFolder("draw");
      if (missing) return heard({ number: wish.number, error: missing });
      if (!worker) {
        worker = new Worker(new URL("worker.js", url), { type: "module" });
        worker.onmessage = ({ data }) => heard(data);
        worker.onerror = () => {
          worker.terminate();
          worker = null;
          heard({ number: wish.number, error: FAILED });
        };
      }
      worker.postMessage(wish);
    },
    stop: (number) => worker && worker.postMessage({ stop: number }),
    close: () => worker && worker.terminate(),
  };
}

// The model in the kernel.
function kernelModel(model, heard, tell) {
  const view = viewName();
  const answer = (message, buffers) => {
    if (message.view === view) heard({ ...message, png: buffers[0] });
  };
  const questions = kernel(model, answer, tell);
  const draw = (wish) => questions.ask({ ...wish, view });
  return { stops: false, draw, stop() {}, close: questions.close };
}

function layout(get, width, height) {
  const number = (name, least, most, step) =>
    `<label>${name} <input type="number" name="${name}" required min="${least}"` +
    ` max="${most}" step="${step}" value="${get(name)}"></label>`;
  const chips = get("examples").map((e) => `<button type="button">${text(e)}</button>`);
  const names = ["x_t", "x0_hat"].map((name) => `<span>${rich(name)}</span>`).join("");
  return (
    `<form><label class="prompt"><span>Prompt</span> <input type="text" name="prompt"` +
    ` required maxlength="10000" value="${text(get("prompt"))}"></label>` +
    `<button type="submit" class="go">Draw</button>` +
    `<div class="numbers">${number("seed", 0, Number.MAX_SAFE_INTEGER, 1)}` +
    `${number("guidance", 0, 30, "any")}${number("steps", 1, 1000, 1)}</div></form>` +
    `<div class="chips">${chips.join("")}</div>` +
    `<div class="view" style="width:${width}px">` +
    `<div class="names" style="grid-template-columns:1fr 1fr">${names}</div>` +
    `<canvas width="${width}" height="${height}" role="img"></canvas></div>` +
    `<div class="bar"><input type="range" min="0" step="1" aria-label="step">` +
    `<output></output></div>` +
    `<progress hidden max="1" value="0" aria-label="The model is fetched"></progress>` +
    `<div class="note" role="status" aria-live="polite"></div>`
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

  function fetched({ progress, total }) {
    const before = Math.floor(4 * gauge.value);
    gauge.hidden = progress >= total;
    gauge.value = progress / total;
    if (gauge.hidden) note.textContent = "The model starts \u2026";
    else if (Math.floor(4 * gauge.value) > before)
      note.textContent = `${Math.round(progress / 1e6)} of ${Math.round(total / 1e6)} MB`;
  }

  async function stepped(message) {
    const { i, steps, x, x0_hat, png } = message;
    if (!i) {
      frames = [];
      note.textContent = `Drawing in ${steps} steps \u2026`;
    }
    const picture = png ? await bitmap(png) : await strip([x, x0_hat], side);
    if (message.number !== busy) return;
    add(`step ${i + 1} of ${steps}`, picture);
    root.picture = x; // for who wants the numbers
  }

  let queue = Promise.resolve(); // what is heard is done in the order it comes
  function heard(message) {
    queue = queue.then(async () => {
      if (message.progress) return fetched(message);
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
    source.draw(wish);
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
  const source = get("live") ? kernelModel(model, heard, rest) : pageModel(heard);
  for (const [i, data] of get("frames").entries())
    add(get("labels")[i], await bitmap(data));
  if (frames.length) show((frames.length - 1) >> 1); // noise, and what it will be
  el.replaceChildren(root);
  return () => source.close();
}

export default { render };
