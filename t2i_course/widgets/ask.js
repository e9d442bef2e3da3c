// A text box whose answer is a picture: from the kernel for any words, stored for the examples.
import { bitmap, count, kernel, panel, text, viewName } from "./shared.js";

const STORED =
  "For words of your own, run this notebook; here are stored answers to the examples.";

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const view = viewName();
  const [examples, rows, scale] = [get("examples"), get("rows"), get("scale")];
  const buttons = examples.map((e) => `<button type="button">${text(e)}</button>`);
  const root = panel(
    "ask",
    get,
    (rows > 1 ? `<textarea rows="${rows}"></textarea>` : '<input type="text">') +
      `<div class="chips">${buttons.join("")}</div>` +
      '<div class="view"><canvas width="1" height="1" role="img"></canvas></div>' +
      '<div class="note" role="status"></div>',
  );
  const box = root.querySelector("textarea, input");
  const canvas = root.querySelector("canvas");
  const note = root.querySelector(".note");
  const chips = [...root.querySelectorAll(".chips button")];
  box.setAttribute("aria-label", get("title") || "question");
  box.value = examples[0] || "";

  let wish = 0;
  let drawn = 0;
  let busy = false;
  let next = null;
  let timer = 0;
  let gone = false;

  // a picture that is no answer to the box fades
  function say(sentence, stale) {
    note.textContent = sentence;
    canvas.style.opacity = stale ? 0.3 : 1;
  }

  async function draw(png, words, number) {
    const picture = await bitmap(png);
    if (gone || number < drawn) return;
    drawn = number;
    canvas.width = picture.width * scale;
    canvas.height = picture.height * scale;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.setAttribute("aria-label", words);
    canvas.dataset.text = words;
    count(canvas);
    say("");
  }

  function ask(words) {
    chips.forEach((c, i) => c.setAttribute("aria-pressed", examples[i] === words));
    const number = ++wish;
    const stored = get("frames")[examples.indexOf(words)];
    if (stored) return draw(stored, words, number);
    if (!get("live")) return say(STORED, true);
    if (busy && !questions.lost()) {
      next = words;
      return;
    }
    busy = true;
    note.textContent = "\u2026";
    questions.ask({ view, seq: number, text: words });
  }

  function answer(message, buffers) {
    if (message.view !== view) return;
    busy = false;
    if (message.error) say(message.error, true);
    else draw(buffers[0], message.text, message.seq);
    if (next === null) return;
    const words = next;
    next = null;
    ask(words);
  }

  const questions = kernel(model, answer, (sentence) => say(sentence, true));
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => ask(box.value), 250);
  });
  chips.forEach((chip, i) =>
    chip.addEventListener("click", () => {
      box.value = examples[i];
      ask(examples[i]);
    }),
  );
  await ask(examples[0] || "");
  el.replaceChildren(root);
  return () => {
    gone = true;
    clearTimeout(timer);
    questions.close();
  };
}

export default { render };
