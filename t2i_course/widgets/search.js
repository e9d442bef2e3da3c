// Pictures found by words: by CLIP in the kernel, by its text encoder in the page, or stored for
// the examples.
import { bitmap, panel, text } from "./shared.js";
import { GAUGE, answering, fetched } from "./live.js";

// A row of square pictures -> each by itself.
function cut(row) {
  const side = row.height;
  const places = Array.from({ length: row.width / side }, (_, i) => i * side);
  return Promise.all(places.map((x) => createImageBitmap(row, x, 0, side, side)));
}

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const examples = get("examples");
  const buttons = examples.map((e) => `<button type="button">${text(e)}</button>`);
  const root = panel(
    "search",
    get,
    '<form class="wish"><label class="prompt"><span>Words</span> <input type="text"></label>' +
      '<button type="submit" class="go">Search</button></form>' +
      `<div class="chips">${buttons.join("")}</div>` +
      `<ol class="found" aria-label="what is found"></ol>${GAUGE}`,
  );
  const [form, box, list, gauge, note] = ["form", "input", "ol", "progress", ".note"].map((name) =>
    root.querySelector(name),
  );
  const chips = [...root.querySelectorAll(".chips button")];
  let number = 0;
  let asked = get("live"); // on a page: from the first question on, every change asks
  let timer = 0;

  function rest(sentence, stale) {
    note.textContent = sentence;
    gauge.hidden = true;
    list.classList.toggle("stale", stale); // no answer to what is in the box
    root.removeAttribute("aria-busy");
  }

  const refuse = (sentence) => rest(sentence, true);

  // found: [name, cosine] each, the nearest first; pictures: a promise of theirs
  async function show(found, pictures, own) {
    const drawn = await pictures;
    if (own !== number) return;
    const item = ([name, cosine]) =>
      `<li><canvas role="img" aria-label="${text(name)}" title="${text(name)}"></canvas>` +
      `<span>${cosine.toFixed(2)}</span></li>`;
    list.innerHTML = found.map(item).join("");
    list.querySelectorAll("canvas").forEach((canvas, i) => {
      [canvas.width, canvas.height] = [drawn[i].width, drawn[i].height];
      canvas.getContext("2d").drawImage(drawn[i], 0, 0);
    });
    root.found = found; // for who wants the numbers
    const first = found.slice(0, 3).map(([name]) => name);
    rest(`Nearest: ${first.join("; ")}.`, false);
  }

  function heard(message) {
    if (message.progress) return fetched(root, message);
    if (message.number !== number || "done" in message) return;
    if (message.error) return refuse(message.error);
    const pictures = message.pictures || bitmap(message.data).then(cut);
    return show(message.found, pictures, number);
  }

  function ask() {
    clearTimeout(timer);
    const words = box.value.trim();
    const stored = examples.indexOf(words);
    chips.forEach((chip, i) => chip.setAttribute("aria-pressed", i === stored));
    const own = ++number;
    if (stored >= 0) return show(get("found")[stored], bitmap(get("rows")[stored]).then(cut), own);
    if (!words) return refuse("Say what to look for.");
    asked = true;
    note.textContent = get("live") ? "\u2026" : "The model searches \u2026";
    root.setAttribute("aria-busy", "true");
    finder.ask({ number, text: words });
  }

  const finder = answering(model, "finder.js", "search for", heard, refuse);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  box.addEventListener("input", () => {
    clearTimeout(timer);
    if (asked) timer = setTimeout(ask, 400);
    else note.textContent = "Press Search: the model is fetched, once.";
  });
  chips.forEach((chip, i) =>
    chip.addEventListener("click", () => {
      box.value = examples[i];
      ask();
    }),
  );
  box.value = examples[0];
  await ask();
  el.replaceChildren(root);
  return () => {
    clearTimeout(timer);
    finder.close();
  };
}

export default { render };
