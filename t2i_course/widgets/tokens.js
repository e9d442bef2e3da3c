// A prompt box that writes a picture token by token: what stands there so far, and the likeliest
// codes for the place that is framed. From the kernel, from a model in the page, or stored.
import { bitmap, bytes, count, panel } from "./shared.js";
import { GAUGE, asking, paint, promptBox } from "./live.js";

const SIDE = 4; // pixels of a code
const WIDE = 256; // of the picture and of the tokens, on the screen
const FRAME = "#d62728";

function layout(get) {
  const pane = (name, said) =>
    `<div><div class="names"><span>${said}</span></div>` +
    `<canvas class="${name}" width="${WIDE}" height="${WIDE}" role="img"></canvas></div>`;
  return (
    `<div class="panes"><div class="pair">${pane("words", "tokens")}` +
    `${pane("picture", "picture so far")}</div>` +
    '<table><caption>likeliest codes</caption><tbody></tbody></table></div>' +
    '<div class="bar"><input type="range" min="0" step="1" aria-label="token">' +
    `<output></output></div>${GAUGE}`
  );
}

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const [grid, side, vocab] = [get("grid"), get("side"), get("vocab")];
  const numbers = [
    ["seed", 0, Number.MAX_SAFE_INTEGER, 1],
    ["guidance", 0, 30, "any"],
    ["temperature", 0, 5, "any"],
    ["top_k", 1, vocab, 1],
  ];
  const root = panel("tokens", get, promptBox(get, "Write", numbers) + layout(get));
  const parts = [".words", ".picture", "tbody", "input[type=range]", "output"];
  const [words, canvas, rows, slider, out] = parts.map((name) => root.querySelector(name));
  const [pen, ink] = [words, canvas].map((c) => c.getContext("2d"));
  const cell = WIDE / grid;
  let steps = []; // {top, patches, picture} of each token that is there
  let prompt = get("prompt");

  // the pixels of one code, enlarged
  function patch(on, pixels, x, y, wide) {
    const image = new ImageData(SIDE, SIDE);
    for (let i = 0; i < SIDE ** 2; i++)
      image.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    const small = new OffscreenCanvas(SIDE, SIDE);
    small.getContext("2d").putImageData(image, 0, 0);
    on.imageSmoothingEnabled = false;
    on.drawImage(small, x, y, wide, wide);
  }
  const pixels = ({ patches }, k) => patches.subarray(3 * k * SIDE ** 2, 3 * (k + 1) * SIDE ** 2);

  function frame(on, at) {
    const [x, y] = [(at % grid) * cell, Math.floor(at / grid) * cell];
    for (const [colour, width] of [["#fff", 4], [FRAME, 2]]) {
      on.strokeStyle = colour;
      on.lineWidth = width;
      on.strokeRect(x + 1, y + 1, cell - 2, cell - 2);
    }
  }

  function likeliest(step) {
    const [[drawn, share], ...top] = step.top;
    const line = ([code, p], k) =>
      `<tr${code === drawn ? ' class="won"' : ""}><td><canvas width="22" height="22"></canvas></td>` +
      `<th scope="row">${code}</th><td class="share" style="--share:${p.toFixed(3)}">` +
      `${(100 * p).toFixed(1)} %${code === drawn ? " drawn" : ""}</td></tr>`;
    const all = top.some(([code]) => code === drawn) ? top : [...top.slice(0, -1), step.top[0]];
    rows.innerHTML = all.map(line).join("");
    rows.querySelectorAll("canvas").forEach((c, k) => {
      const at = all[k][0] === drawn ? 0 : k + 1;
      patch(c.getContext("2d"), pixels(step, at), 0, 0, 22);
      c.setAttribute("aria-hidden", "true");
    });
    return `code ${drawn}, drawn with ${(100 * share).toFixed(1)} %`;
  }

  function show(i) {
    pen.fillStyle = "#808080";
    pen.fillRect(0, 0, WIDE, WIDE);
    for (let k = 0; k <= i; k++)
      patch(pen, pixels(steps[k], 0), (k % grid) * cell, Math.floor(k / grid) * cell, cell);
    ink.imageSmoothingEnabled = false;
    ink.drawImage(steps[i].picture, 0, 0, WIDE, WIDE);
    const all = `token ${i + 1} of ${grid ** 2}`;
    const said = `${all}: ${likeliest(steps[i])}`;
    if (i + 1 < grid ** 2) [pen, ink].forEach((on) => frame(on, i));
    slider.value = i;
    out.textContent = said;
    slider.setAttribute("aria-valuetext", said);
    words.setAttribute("aria-label", `the tokens of ${prompt}, ${all}`);
    canvas.setAttribute("aria-label", `${prompt}, ${all}`);
    count(canvas);
  }

  function add(step) {
    const follow = !steps.length || Number(slider.value) >= steps.length - 1;
    steps.push(step);
    slider.max = steps.length - 1;
    if (follow) show(steps.length - 1);
  }

  async function stepped(message, asked) {
    if (!message.i) {
      steps = [];
      root.written = [];
    }
    prompt = asked;
    let picture;
    if (message.data) picture = await bitmap(message.data);
    else {
      const image = new ImageData(side, side);
      paint(image, message.picture, side);
      picture = await createImageBitmap(image);
    }
    const patches = message.data ? bytes(message.patches) : message.patches;
    add({ top: message.top, patches, picture });
    root.written.push(message); // for who wants the numbers
  }

  // the stored sentence: one sheet of pictures, one row of patches
  async function stored() {
    const sheet = await bitmap(get("sheet"));
    const [tops, patches] = [get("tops"), bytes(get("patches"))];
    const size = tops.length && patches.length / tops.length;
    for (const [i, top] of tops.entries()) {
      const [x, y] = [(i % grid) * side, Math.floor(i / grid) * side];
      const picture = await createImageBitmap(sheet, x, y, side, side);
      steps.push({ top, picture, patches: patches.subarray(i * size, (i + 1) * size) });
    }
    slider.max = steps.length - 1;
    show(Math.floor(0.6 * steps.length));
  }

  words.addEventListener("click", ({ offsetX, offsetY }) => {
    const [column, row] = [offsetX / words.clientWidth, offsetY / words.clientHeight];
    const i = Math.floor(row * grid) * grid + Math.floor(column * grid);
    if (i < steps.length) show(i);
  });
  slider.addEventListener("input", () => show(Number(slider.value)));
  const said = ["Write", "Writing", "Written"];
  const source = asking(root, model, "writer.js", said, numbers, stepped);
  await stored();
  el.replaceChildren(root);
  return () => source.close();
}

export default { render };
