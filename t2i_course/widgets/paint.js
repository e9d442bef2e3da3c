// A picture to paint on: what is painted over is a mask; the kernel fills it by the words.
import { bitmap, bytes, count, kernel, panel, text, viewName } from "./shared.js";

const STORED =
  "To fill a mask of your own, run this notebook; here are stored answers to the examples.";
const GREEN = "#3cb464";

function layout(examples, w, h, scale) {
  const side = `width="${w * scale}" height="${h * scale}" role="img"`;
  const brush = `min="1" max="${Math.round(w / 4)}" value="${Math.round(w / 12)}"`;
  const buttons = examples.map((e) => `<button type="button">${text(e)}</button>`);
  return (
    `<div class="two"><span>paint here</span><span>filled</span>` +
    `<canvas class="brush" ${side} aria-label="picture to paint on"></canvas>` +
    `<canvas class="answer" ${side}></canvas></div>` +
    `<input type="text" aria-label="caption">` +
    `<div class="bar"><button type="button">fill</button><button type="button">clear</button>` +
    `<label>brush <input type="range" ${brush} aria-label="size of the brush"></label></div>` +
    `<div class="chips">${buttons.join("")}</div><div class="note" role="status"></div>`
  );
}

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const view = viewName();
  const [w, h] = get("size");
  const [scale, examples, live] = [get("scale"), get("examples"), get("live")];
  const mask = new Uint8Array(w * h);
  const picture = await bitmap(get("picture"));
  const root = panel("paint", get, layout(examples, w, h, scale));
  const canvas = root.querySelector(".brush");
  const out = root.querySelector(".answer");
  const words = root.querySelector("input[type=text]");
  const size = root.querySelector("input[type=range]");
  const note = root.querySelector(".note");
  const [fill, clear] = root.querySelectorAll(".bar button");
  const chips = [...root.querySelectorAll(".chips button")];
  const pen = canvas.getContext("2d");

  let wish = 0;
  let busy = false;
  let last = null; // where the brush was, while the button is down
  let gone = false;

  function show() {
    pen.imageSmoothingEnabled = false;
    pen.globalAlpha = 1;
    pen.drawImage(picture, 0, 0, w * scale, h * scale);
    pen.globalAlpha = 0.8;
    pen.fillStyle = GREEN;
    for (let i = 0; i < w * h; i++) {
      const [x, y] = [i % w, Math.floor(i / w)];
      if (mask[i]) pen.fillRect(x * scale, y * scale, scale, scale);
    }
    canvas.dataset.painted = mask.reduce((a, b) => a + b, 0);
  }

  // what stands on the right no longer fits what stands on the left
  function changed() {
    wish++;
    out.classList.add("stale");
    chips.forEach((chip) => chip.setAttribute("aria-pressed", false));
    note.textContent = live ? "" : STORED;
    show();
  }

  async function draw(png, caption, number) {
    const filled = await bitmap(png);
    if (gone || number !== wish) return;
    const ink = out.getContext("2d");
    ink.imageSmoothingEnabled = false;
    ink.drawImage(filled, 0, 0, w * scale, h * scale);
    out.classList.remove("stale");
    out.setAttribute("aria-label", caption);
    count(out);
    note.textContent = "";
  }

  function example(i) {
    const packed = bytes(get("masks")[i]);
    for (let j = 0; j < w * h; j++) mask[j] = (packed[j >> 3] >> (7 - (j & 7))) & 1;
    words.value = examples[i];
    changed();
    chips[i].setAttribute("aria-pressed", true);
    return draw(get("frames")[i], examples[i], wish);
  }

  function ask() {
    if (!live || (busy && !questions.lost())) return;
    busy = fill.disabled = true;
    note.textContent = "\u2026";
    questions.ask({ view, seq: wish, text: words.value }, [mask.slice().buffer]);
  }

  function answer(message, buffers) {
    if (message.view !== view) return;
    busy = fill.disabled = false;
    note.textContent = message.error || "";
    if (!message.error) draw(buffers[0], message.text, message.seq);
  }

  // one round touch of the brush, in the picture's pixels
  function dab(x, y) {
    const r = Number(size.value);
    for (let j = Math.max(0, Math.floor(y - r)); j < Math.min(h, y + r); j++) {
      for (let i = Math.max(0, Math.floor(x - r)); i < Math.min(w, x + r); i++) {
        if ((i + 0.5 - x) ** 2 + (j + 0.5 - y) ** 2 <= r * r) mask[j * w + i] = 1;
      }
    }
  }

  function spot(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return [(x / box.width) * w, (y / box.height) * h];
  }

  function stroke(event) {
    if (!last) return;
    const [x, y] = spot(event);
    const [fromX, fromY] = last;
    const far = Math.hypot(x - fromX, y - fromY);
    const n = Math.ceil(far / Math.max(1, size.value / 2)) || 1; // a fast mouse leaves no gaps
    for (let s = 1; s <= n; s++)
      dab(fromX + ((x - fromX) * s) / n, fromY + ((y - fromY) * s) / n);
    last = [x, y];
    changed();
  }

  const questions = kernel(model, answer, (sentence) => {
    note.textContent = sentence;
  });
  canvas.addEventListener("pointerdown", (event) => {
    last = spot(event);
    canvas.setPointerCapture(event.pointerId);
    stroke(event);
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", stroke);
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (last = null));
  }
  // show how large the brush is
  size.addEventListener("input", () => {
    show();
    pen.globalAlpha = 1;
    pen.lineWidth = 2;
    pen.strokeStyle = GREEN;
    pen.beginPath();
    pen.arc((w * scale) / 2, (h * scale) / 2, size.value * scale, 0, 7);
    pen.stroke();
  });
  clear.addEventListener("click", () => {
    mask.fill(0);
    changed();
  });
  fill.addEventListener("click", ask);
  words.addEventListener("input", changed);
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter") ask();
  });
  chips.forEach((chip, i) => chip.addEventListener("click", () => example(i)));
  if (!live) fill.disabled = true;
  await example(0);
  el.replaceChildren(root);
  return () => {
    gone = true;
    questions.close();
  };
}

export default { render };
