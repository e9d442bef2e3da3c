// A codebook to click through: all of it happens in the page, with a kernel or without.
import { bitmap, bytes, count, panel } from "./shared.js";

const ZOOM = 3; // of the pictures that use a code
const SHOWN = 12;
const ACROSS = 4;
const GAP = 6;
const RED = "#d62728";

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const [order, captions, cols] = [get("order"), get("captions"), get("cols")];
  const [patch, size, perRow, grid] = [
    get("patch"),
    get("size"),
    get("per_row"),
    get("grid"),
  ];
  const raw = bytes(get("ids"));
  const ids = new Uint16Array(
    raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength),
  );
  const cells = grid ** 2;
  const N = captions.length;
  const K = order.length;
  const side = patch * get("zoom"); // of a code on the screen
  const step = size * ZOOM + GAP; // from picture to picture
  const cell = (size * ZOOM) / grid;
  const canvas = (name, width, height, more = "") =>
    `<div><canvas class="${name}" role="img" width="${width}" height="${height}"${more}>` +
    `</canvas></div>`;
  const root = panel(
    "browser",
    get,
    '<div class="panes">' +
      canvas("book", cols * side, Math.ceil(K / cols) * side, ' tabindex="0"') +
      canvas("found", ACROSS * step, Math.ceil(SHOWN / ACROSS) * step) +
      '</div><div class="note" role="status"></div>',
  );
  const book = root.querySelector(".book");
  const found = root.querySelector(".found");
  const note = root.querySelector(".note");
  const pen = book.getContext("2d");
  const ink = found.getContext("2d");
  const codes = await bitmap(get("codes"));
  const pictures = await bitmap(get("pictures"));

  const place = [];
  order.forEach((code, i) => (place[code] = i));
  const uses = Array.from({ length: K }, () => new Map()); // code -> picture -> its cells
  ids.forEach((code, i) => {
    const p = Math.floor(i / cells);
    if (!uses[code].has(p)) uses[code].set(p, []);
    uses[code].get(p).push(i % cells);
  });
  let list = []; // the pictures on the right, with the cells that use the code

  function mark(at) {
    const [x, y] = [(at % cols) * side, Math.floor(at / cols) * side];
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, book.width, book.height);
    pen.drawImage(codes, 0, 0, book.width, book.height);
    pen.lineWidth = 2;
    pen.strokeStyle = "#fff";
    pen.strokeRect(x - 1, y - 1, side + 2, side + 2);
    pen.strokeStyle = RED;
    pen.strokeRect(x - 3, y - 3, side + 6, side + 6);
  }

  function picture(i, p, where) {
    const [x, y] = [(i % ACROSS) * step, Math.floor(i / ACROSS) * step];
    const [left, top] = [(p % perRow) * size, Math.floor(p / perRow) * size];
    ink.drawImage(pictures, left, top, size, size, x, y, size * ZOOM, size * ZOOM);
    ink.lineWidth = 1.5;
    ink.strokeStyle = RED;
    for (const q of where) {
      const [column, row] = [q % grid, Math.floor(q / grid)];
      ink.strokeRect(
        x + column * cell + 0.75,
        y + row * cell + 0.75,
        cell - 1.5,
        cell - 1.5,
      );
    }
  }

  function show(code) {
    mark(place[code]);
    const all = [...uses[code]].sort((a, b) => b[1].length - a[1].length);
    list = all.slice(0, SHOWN);
    ink.imageSmoothingEnabled = false;
    ink.clearRect(0, 0, found.width, found.height);
    list.forEach(([p, where], i) => picture(i, p, where));
    const times = all.reduce((sum, [, where]) => sum + where.length, 0);
    note.textContent =
      `code ${code}: ` +
      (times
        ? `${times} times in ${all.length} of ${N} pictures, first "${captions[list[0][0]]}"`
        : `in none of these ${N} pictures`);
    book.dataset.code = code;
    book.setAttribute("aria-label", note.textContent);
    found.setAttribute("aria-label", `pictures in which code ${code} stands`);
    count(book);
  }

  // where on a canvas, in its own pixels
  function spot(on, event) {
    const box = on.getBoundingClientRect();
    const x = ((event.clientX - box.left) * on.width) / box.width;
    const y = ((event.clientY - box.top) * on.height) / box.height;
    return [x, y];
  }

  book.addEventListener("click", (event) => {
    const [x, y] = spot(book, event);
    const i = Math.floor(y / side) * cols + Math.floor(x / side);
    if (i >= 0 && i < K) show(order[i]);
  });
  book.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -cols, ArrowDown: cols };
    const by = keys[event.key];
    if (!by) return;
    event.preventDefault();
    const at = place[Number(book.dataset.code)] + by;
    show(order[Math.min(K - 1, Math.max(0, at))]);
  });
  found.addEventListener("click", (event) => {
    const [x, y] = spot(found, event);
    const chosen = list[Math.floor(y / step) * ACROSS + Math.floor(x / step)];
    const [column, row] = [Math.floor((x % step) / cell), Math.floor((y % step) / cell)];
    if (chosen && column < grid && row < grid)
      show(ids[chosen[0] * cells + row * grid + column]);
  });
  show(get("start"));
  el.replaceChildren(root);
}

export default { render };
