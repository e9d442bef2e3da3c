// Labels of one's own, and for each picture the softmax over them: by CLIP in the kernel, by its
// text encoder in the page, or stored for the examples.
import { bytes, floats, panel, text } from "./shared.js";
import { GAUGE, answering, fetched } from "./live.js";

const MOST = 10; // labels

// cosines (labels, pictures), row by row -> of each label, its share of each picture
export function shares(cosines, count, scale) {
  const rows = cosines.length / count;
  const logit = (i, j) => scale * cosines[i * count + j];
  const all = [...Array(rows).keys()];
  const columns = [...Array(count).keys()].map((j) => {
    const top = Math.max(...all.map((i) => logit(i, j)));
    const weights = all.map((i) => Math.exp(logit(i, j) - top));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.map((w) => w / sum);
  });
  return all.map((i) => columns.map((column) => column[i]));
}

// unit vectors of labels, and of pictures one after another -> cosines, row by row
function cosines(vectors, pictures) {
  const width = vectors[0].length;
  const all = [...Array(pictures.length / width).keys()];
  const dot = (v, j) => v.reduce((sum, value, k) => sum + value * pictures[j * width + k], 0);
  return vectors.flatMap((v) => all.map((j) => dot(v, j)));
}

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const names = get("names");
  const learned = get("scale");
  const chips = get("examples").map(
    (e) => `<button type="button">${text(e.replaceAll("\n", " · "))}</button>`,
  );
  const root = panel(
    "labels",
    get,
    '<label>Labels, one a line<textarea rows="4"></textarea></label>' +
      '<button type="button" class="go">Ask</button>' +
      `<div class="chips">${chips.join("")}</div>` +
      '<div class="sheet" tabindex="0" role="group" aria-label="shares"></div>' +
      '<label class="bar">scale <input type="range" min="0" max="100" step="1">' +
      `<output></output></label>${GAUGE}`,
  );
  const parts = ["textarea", ".go", ".sheet", "input[type=range]", "output", "progress"];
  const [box, go, sheet, slider, out, gauge] = parts.map((p) => root.querySelector(p));
  const note = root.querySelector(".note");
  const features = floats(get("features"));
  let shown = { labels: [], cosines: [] };
  let number = 0;
  let asked = false; // from the first question on, every change asks
  let timer = 0;

  // the slider's whole numbers, but what was learned exactly
  const atLearned = () => Number(slider.value) === Math.round(learned);
  const scale = () => (atLearned() ? learned : Number(slider.value));

  function draw() {
    const rows = shares(shown.cosines, names.length, scale());
    const best = names.map((_, j) => rows.reduce((b, row, i) => (row[j] > rows[b][j] ? i : b), 0));
    const heads = get("pictures").map(
      (data, j) =>
        `<th scope="col"><img alt="${text(names[j])}" width="44" height="44"` +
        ` src="data:image/png;base64,${btoa(String.fromCharCode(...bytes(data)))}"></th>`,
    );
    const cell = (share, won) =>
      `<td${won ? ' class="won"' : ""} style="--share:${share.toFixed(3)}">` +
      `${Math.round(100 * share)}</td>`;
    const lines = shown.labels.map(
      (label, i) =>
        `<tr><th scope="row">${text(label)}</th>` +
        `${rows[i].map((s, j) => cell(s, best[j] === i)).join("")}</tr>`,
    );
    sheet.innerHTML =
      `<table><thead><tr><td></td>${heads.join("")}</tr></thead>` +
      `<tbody>${lines.join("")}</tbody></table>`;
    const told = `s = ${slider.value}${atLearned() ? " (as learned)" : ""}`;
    out.textContent = told;
    slider.setAttribute("aria-valuetext", told);
    root.shares = rows; // for who wants the numbers
    return best.map((i) => shown.labels[i]).join(", ");
  }

  function show(labels, cosines) {
    shown = { labels, cosines: [...cosines] };
    note.textContent = `The label chosen for each picture: ${draw()}.`;
    gauge.hidden = true;
    sheet.style.opacity = 1;
    root.removeAttribute("aria-busy");
  }

  function refuse(sentence) {
    note.textContent = sentence;
    gauge.hidden = true;
    sheet.style.opacity = 0.3; // no answer to what is in the box
    root.removeAttribute("aria-busy");
  }

  function heard(message) {
    if (message.progress) return fetched(root, message);
    if (message.number !== number || message.done) return;
    if (message.error) return refuse(message.error);
    const { data, vectors } = message;
    show(wanted(), data ? floats(data) : cosines(vectors, features));
  }

  const wanted = () => box.value.split("\n").map((l) => l.trim()).filter(Boolean);

  function ask() {
    const labels = wanted();
    const stored = get("examples").indexOf(labels.join("\n"));
    number++;
    if (stored >= 0) return show(labels, floats(get("cosines")[stored]));
    if (labels.length < 2 || labels.length > MOST)
      return refuse(`Write 2 to ${MOST} labels, one a line; there are ${labels.length}.`);
    asked = true;
    note.textContent = get("live") ? "\u2026" : "The model reads \u2026";
    root.setAttribute("aria-busy", "true");
    judge.ask({ number, captions: labels });
  }

  const judge = answering(model, "judge.js", "judge", heard, refuse);
  asked = get("live");
  box.addEventListener("input", () => {
    clearTimeout(timer);
    if (asked) timer = setTimeout(ask, 400);
    else note.textContent = "Press Ask: the model is fetched, once.";
  });
  go.addEventListener("click", ask);
  slider.addEventListener("input", draw);
  root.querySelectorAll(".chips button").forEach((chip, i) =>
    chip.addEventListener("click", () => {
      box.value = get("examples")[i];
      ask();
    }),
  );
  slider.value = Math.round(learned);
  box.value = get("examples")[0];
  ask();
  el.replaceChildren(root);
  return () => {
    clearTimeout(timer);
    judge.close();
  };
}

export default { render };
