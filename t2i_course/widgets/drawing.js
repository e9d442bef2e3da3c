// A prompt box whose picture comes step by step: from the kernel, or from a model in the page.
import { bitmap, count, panel, rich } from "./shared.js";
import { GAUGE, asking, paint, promptBox } from "./live.js";

const GAP = 12; // between the two pictures, in screen pixels
const NUMBERS = [
  ["seed", 0, Number.MAX_SAFE_INTEGER, 1],
  ["guidance", 0, 30, "any"],
  ["steps", 1, 1000, 1],
];

// Two pictures (3, H, W) in [-1, 1] -> one bitmap, side by side.
function strip(pair, side) {
  const image = new ImageData(2 * side, side);
  pair.forEach((picture, p) => paint(image, picture, side, p * side));
  return createImageBitmap(image);
}

function layout(get, width, height) {
  const names = ["x_t", "x0_hat"].map((name) => `<span>${rich(name)}</span>`).join("");
  return (
    promptBox(get, "Draw", NUMBERS) +
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
  const parts = ["canvas", "input[type=range]", "output"];
  const [canvas, slider, out] = parts.map((name) => root.querySelector(name));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;

  let frames = []; // {label, picture} of the drawing that is shown
  let words = get("prompt");

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

  async function stepped({ i, steps, x, x0_hat, data }, prompt) {
    if (!i) frames = [];
    words = prompt;
    const picture = data ? await bitmap(data) : await strip([x, x0_hat], side);
    add(`step ${i + 1} of ${steps}`, picture);
    root.picture = x; // for who wants the numbers
  }

  slider.addEventListener("input", () => show(Number(slider.value)));
  const source = asking(root, model, "worker.js", ["Draw", "Drawing", "Drawn"], NUMBERS, stepped);
  for (const [i, data] of get("frames").entries())
    add(get("labels")[i], await bitmap(data));
  if (frames.length) show((frames.length - 1) >> 1); // noise, and what it will be
  el.replaceChildren(root);
  return () => source.close();
}

export default { render };
