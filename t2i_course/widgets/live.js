// What a widget needs whose model answers in the kernel, or, on the built site, in the page.
import { kernel, text, viewName } from "./shared.js";

const FAILED = "The model could not be started; reload the page to try again.";

// Where the models of the built site lie: {url}, or {missing}, a sentence that says why none runs
// here. task: what is wanted of them, a verb.
function modelFolder(task) {
  if (location.protocol === "file:")
    return {
      missing:
        "A browser runs no model from a file. " +
        "Serve the site: python -m http.server -d _docs",
    };
  const told = document.querySelector('meta[name="t2i-live"]');
  if (!told) {
    const own = `To ${task} words of your own`;
    return { missing: `${own}, run this notebook, or read it on the built site.` };
  }
  if (typeof WebAssembly !== "object")
    return { missing: "This browser has no WebAssembly, which the model needs." };
  return { url: new URL(told.content, document.baseURI) };
}

// The model in the page: its worker starts, and fetches, with the first wish.
function pageModel(file, task, heard) {
  let worker = null;
  let last = 0; // number of the newest wish
  return {
    stops: true,
    ask(wish) {
      last = wish.number;
      const { url, missing } = modelFolder(task);
      if (missing) return heard({ number: last, error: missing });
      if (!worker) {
        worker = new Worker(new URL(file, url), { type: "module" });
        worker.onmessage = ({ data }) => heard(data);
        worker.onerror = () => {
          worker.terminate();
          worker = null;
          heard({ number: last, error: FAILED });
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
    if (message.view === view) heard({ ...message, data: buffers[0], patches: buffers[1] });
  };
  const questions = kernel(model, answer, tell);
  const ask = (wish) => questions.ask({ ...wish, view });
  return { stops: false, ask, stop() {}, close: questions.close };
}

// Who answers a widget: ask({number, ...}), then heard({number, ...}) for each answer, with `data`
// from a kernel and {progress, total} while a page fetches; {number, error} says what is wrong.
// stops: can it be stopped? file: the page's worker; tell(sentence): where a kernel is gone.
export function answering(model, file, task, heard, tell) {
  if (model.get("live")) return kernelModel(model, heard, tell);
  return pageModel(file, task, heard);
}

export const GAUGE =
  '<progress hidden max="1" value="0" aria-label="The model is fetched"></progress>' +
  '<div class="note" role="status" aria-live="polite"></div>';

// How much of a model has come: shown, and said at each quarter.
export function fetched(root, { progress, total }) {
  const [gauge, note] = ["progress", ".note"].map((name) => root.querySelector(name));
  const before = Math.floor(4 * gauge.value);
  gauge.hidden = progress >= total;
  gauge.value = progress / total;
  if (gauge.hidden) note.textContent = "The model starts \u2026";
  else if (Math.floor(4 * gauge.value) > before)
    note.textContent = `${Math.round(progress / 1e6)} of ${Math.round(total / 1e6)} MB`;
}

// The inside of a prompt box: words, numbers, a button, examples. numbers: [name, least, most,
// step] each; verb: on the button.
export function promptBox(get, verb, numbers) {
  const number = ([name, least, most, step]) =>
    `<label>${name.replace("_", " ")} <input type="number" name="${name}" required min="${least}"` +
    ` max="${most}" step="${step}" value="${get(name)}"></label>`;
  const chips = get("examples").map((e) => `<button type="button">${text(e)}</button>`);
  return (
    `<form class="wish"><label class="prompt"><span>Prompt</span> <input type="text"` +
    ` name="prompt" required maxlength="10000" value="${text(get("prompt"))}"></label>` +
    `<button type="submit" class="go">${verb}</button>` +
    `<div class="numbers">${numbers.map(number).join("")}</div></form>` +
    `<div class="chips">${chips.join("")}</div>`
  );
}

// Let the prompt box of `root` ask. words: what is on its button, what it does meanwhile, what it
// has done; stepped(message, prompt): one step of the newest wish has come; they are taken in
// order. Returns who answers.
export function asking(root, model, file, words, numbers, stepped) {
  const [verb, doing, done] = words;
  const [form, go, gauge, note] = ["form", ".go", "progress", ".note"].map((name) =>
    root.querySelector(name),
  );
  let prompt = "";
  let busy = 0; // number of the wish that is being answered
  let number = 0;
  let queue = Promise.resolve(); // what is heard is done in the order it comes

  function rest(sentence) {
    busy = 0;
    gauge.hidden = true;
    go.textContent = verb;
    go.disabled = false;
    root.removeAttribute("aria-busy");
    note.textContent = sentence;
  }

  async function take(message) {
    if (message.progress) return fetched(root, message);
    if (message.number !== busy) return;
    if (message.error) return rest(message.error);
    if ("done" in message)
      return rest(message.done ? `${done} in ${message.seconds.toFixed(1)} s: ${prompt}` : "Stopped.");
    if (!message.i) note.textContent = `${doing} in ${message.steps} steps \u2026`;
    await stepped(message, prompt);
  }

  const heard = (message) => (queue = queue.then(() => take(message)));
  const source = answering(model, file, verb.toLowerCase(), heard, rest);

  function ask() {
    prompt = form.elements.prompt.value;
    busy = ++number;
    root.setAttribute("aria-busy", "true");
    note.textContent = source.stops ? "The model is fetched, once \u2026" : `${doing} \u2026`;
    go.textContent = source.stops ? "Stop" : verb;
    go.disabled = !source.stops;
    const wish = { number: busy, prompt };
    for (const [name] of numbers) wish[name] = Number(form.elements[name].value);
    source.ask(wish);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!busy) return ask();
    source.stop(busy);
    rest("Stopped.");
  });
  root.querySelectorAll(".chips button").forEach((chip) =>
    chip.addEventListener("click", () => {
      form.elements.prompt.value = chip.textContent;
      go.focus();
    }),
  );
  return source;
}

// Three colours of a picture (3, H, W) in [-1, 1] into an image, from column `left` on.
export function paint(image, picture, side, left = 0) {
  for (let at = 0; at < side * side; at++) {
    const to = 4 * (Math.floor(at / side) * image.width + left + (at % side));
    for (let c = 0; c < 3; c++) image.data[to + c] = 127.5 * (picture[c * side * side + at] + 1);
    image.data[to + 3] = 255;
  }
}
