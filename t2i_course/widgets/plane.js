// Points in the plane, with a slider for everything: the data are a mixture of Gaussians, so the
// page knows their score and needs no network.
import { count, panel, rich, text } from "./shared.js";
import { SCHEDULES, denoise, marginal, noised, sample, walked } from "./mixture.js";
import { Generator } from "./random.js";

const SIDE = 420; // of the canvas
const CELLS = 105; // of the density's shade, along a side
const ARROWS = 15;
const TRAILS = 12; // points whose way is drawn
const COUNTS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 50, 100, 200, 500, 1000];
const SLICE = 25; // milliseconds between two looks at what the reader does
const FRAME = 60; // ... between two positions while playing
const INK = { shade: "49, 108, 171", x: "#c8641b", x0: "#2f7d5d", arrow: "#444", trail: "#7a2f00" };

// the settings: [name, least, most, step, what is said of a value]
const SLIDERS = [
  ["points", 10, 1000, 10, (v) => v],
  ["seed", 0, 50, 1, (v) => v],
  ["blobs", -2, 3, 0.25, (v) => `\u00d7 ${(2 ** v).toFixed(2)}`],
  ["eta", 0, 1, 0.05, (v) => `${v.toFixed(2)}${{ 0: ", no noise", 1: ", DDPM's" }[v] || ""}`],
  ["steps", 0, COUNTS.length - 1, 1, (v) => COUNTS[v]],
];
const WAYS = { "noise to data": walked, "data to noise": noised };

function layout(get) {
  const slider = ([name, least, most, step]) =>
    `<label><span>${rich(name)}</span><input type="range" name="${name}" min="${least}"` +
    ` max="${most}" step="${step}" aria-label="${name}"><output></output></label>`;
  const select = (name, choices) =>
    `<label><span>${name}</span><select name="${name}">` +
    `${choices.map((c) => `<option>${text(c)}</option>`).join("")}</select></label>`;
  const check = (name, on) =>
    `<label><input type="checkbox" name="${name}"${on ? " checked" : ""}> ${rich(name)}</label>`;
  return (
    `<div class="panes"><div><canvas width="${SIDE}" height="${SIDE}" role="img"></canvas></div>` +
    `<div><div class="controls">${select("from", Object.keys(WAYS))}` +
    `${select("schedule", Object.keys(SCHEDULES))}${SLIDERS.map(slider).join("")}</div>` +
    `<div class="checks">${check("density of x_t", true)}${check("score", false)}` +
    `${check("x0_hat", true)}${check("paths", true)}</div>` +
    '<div class="note" role="status"></div></div></div>' +
    '<div class="bar"><button type="button" aria-label="play">\u25b6</button>' +
    '<input type="range" name="position" min="0" step="1" aria-label="time"><output></output></div>'
  );
}

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const root = panel("plane", get, layout(get));
  const field = (name) => root.querySelector(`[name="${name}"]`);
  const number = (name) => Number(field(name).value);
  const [canvas, note, button] = ["canvas", ".note", "button"].map((q) => root.querySelector(q));
  const [slider, out] = [field("position"), root.querySelector(".bar output")];
  const pen = canvas.getContext("2d");
  const extent = get("extent");
  const place = (v) => (SIDE * (v + extent)) / (2 * extent);

  let mixture = [];
  let path = []; // the stops that are known
  let own = 0; // mean log density of as many points of the data itself
  let share = 1; // of the way, where the slider stands
  let version = 0;
  let playing = 0;
  let gone = false;

  const settings = () => ({
    schedule: field("schedule").value,
    steps: COUNTS[number("steps")],
    ...Object.fromEntries(["eta", "points", "seed"].map((name) => [name, number(name)])),
  });
  const level = (t) => (t < 0 ? 1 : SCHEDULES[field("schedule").value][t]);

  function shade(density) {
    const image = new ImageData(CELLS, CELLS);
    const logs = new Float64Array(CELLS ** 2);
    const at = (i) => extent * ((2 * i + 1) / CELLS - 1);
    for (let i = 0; i < CELLS ** 2; i++)
      logs[i] = density(at(i % CELLS), -at(Math.floor(i / CELLS)))[0];
    const top = logs.reduce((a, b) => Math.max(a, b));
    const [r, g, b] = INK.shade.split(",").map(Number);
    logs.forEach((log, i) => image.data.set([r, g, b, 165 * Math.exp(log - top)], 4 * i));
    const small = new OffscreenCanvas(CELLS, CELLS);
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(small, 0, 0, SIDE, SIDE);
  }

  function arrows(density) {
    pen.strokeStyle = INK.arrow;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let i = 0; i < ARROWS ** 2; i++) {
      const [x, y] = [i % ARROWS, Math.floor(i / ARROWS)].map(
        (k) => extent * ((2 * k + 1) / ARROWS - 1),
      );
      const [, sx, sy] = density(x, y);
      const long = (0.11 * extent) / ARROWS ** 0.5 / Math.hypot(sx, sy) ** 0.6;
      const [u, v] = [place(x + sx * long), SIDE - place(y + sy * long)];
      const turn = Math.atan2(v - SIDE + place(y), u - place(x));
      pen.moveTo(place(x), SIDE - place(y));
      pen.lineTo(u, v);
      for (const side of [2.6, -2.6]) {
        pen.moveTo(u, v);
        pen.lineTo(u + 4 * Math.cos(turn + side), v + 4 * Math.sin(turn + side));
      }
    }
    pen.stroke();
  }

  function dots(points, colour) {
    pen.fillStyle = colour;
    pen.globalAlpha = 0.65;
    for (let i = 0; i < points.length; i += 2)
      pen.fillRect(place(points[i]) - 1.25, SIDE - place(points[i + 1]) - 1.25, 2.5, 2.5);
    pen.globalAlpha = 1;
  }

  function trails(upTo) {
    pen.strokeStyle = INK.trail;
    pen.lineWidth = 1.2;
    for (let i = 0; i < Math.min(TRAILS, number("points")); i++) {
      pen.beginPath();
      for (const { x } of path.slice(0, upTo + 1))
        pen.lineTo(place(x[2 * i]), SIDE - place(x[2 * i + 1]));
      pen.stroke();
    }
  }

  function say(at) {
    const { t, log } = path[at];
    const steps = COUNTS[number("steps")];
    const time = t < 0 ? "clean" : `t = ${t}`;
    const told = `step ${at} of ${steps}, ${time}`;
    out.textContent = told;
    slider.setAttribute("aria-valuetext", told);
    canvas.setAttribute("aria-label", `${number("points")} points in the plane, ${told}`);
    const [kept, noise] = [level(t), 1 - level(t)].map((v) => Math.sqrt(v).toFixed(3));
    note.innerHTML =
      t < 0
        ? `Log density of these points under the data, mean: <b>${log.toFixed(2)}</b>; of points` +
          ` of the data itself: ${own.toFixed(2)}.`
        : rich(`x_t = ${kept} x_0 + ${noise} noise`);
  }

  function show() {
    const steps = COUNTS[number("steps")];
    const at = Math.min(Math.round(share * steps), path.length - 1);
    if (at < 0) return;
    const { t, x, x0_hat } = path[at];
    const density = marginal(mixture, level(t));
    pen.clearRect(0, 0, SIDE, SIDE);
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, SIDE, SIDE);
    if (field("density of x_t").checked) shade(density);
    if (field("score").checked) arrows(density);
    dots(x, INK.x);
    if (field("x0_hat").checked) dots(x0_hat, INK.x0);
    if (field("paths").checked) trails(at);
    slider.value = at;
    say(at);
    count(canvas);
  }

  // the whole way anew; a long one is computed in slices, and shown as it comes
  async function compute() {
    const mine = ++version;
    const how = settings();
    const stds = get("stds").map((std) => std * 2 ** number("blobs"));
    mixture = get("means").map(([x, y], k) => [x, y, stds[k], get("weights")[k]]);
    own = denoise(mixture, 1, sample(mixture, 1000, new Generator(0))).log;
    for (const [name, , , , said] of SLIDERS) {
      const words = String(said(number(name)));
      field(name).nextElementSibling.textContent = words;
      field(name).setAttribute("aria-valuetext", words);
    }
    field("eta").disabled = field("from").value !== "noise to data";
    slider.max = how.steps;
    path = [];
    let rested = performance.now();
    for (const stop of WAYS[field("from").value](mixture, how)) {
      path.push(stop);
      if (performance.now() - rested < SLICE) continue;
      show();
      await new Promise((next) => setTimeout(next));
      if (gone || mine !== version) return;
      rested = performance.now();
    }
    show();
    root.path = path; // for who wants the numbers
  }

  function play(on) {
    clearInterval(playing);
    playing = 0;
    button.textContent = on ? "\u23f8" : "\u25b6";
    button.setAttribute("aria-label", on ? "pause" : "play");
    if (!on) return;
    const stride = Math.max(1, Math.round(Number(slider.max) / 100));
    if (share >= 1) share = 0;
    playing = setInterval(() => {
      share = Math.min(1, share + stride / Number(slider.max));
      show();
      if (share >= 1) play(false);
    }, FRAME);
  }

  for (const name of ["points", "seed", "eta", "schedule"]) field(name).value = get(name);
  field("steps").value = COUNTS.findLastIndex((n) => n <= get("steps"));
  field("blobs").value = 0;
  root.querySelector(".controls").addEventListener("input", compute);
  root.querySelector(".checks").addEventListener("input", show);
  slider.addEventListener("input", () => {
    play(false);
    share = Number(slider.value) / Number(slider.max);
    show();
  });
  button.addEventListener("click", () => play(!playing));
  slider.max = COUNTS[number("steps")];
  await compute();
  el.replaceChildren(root);
  return () => {
    gone = true;
    play(false);
  };
}

export default { render };
