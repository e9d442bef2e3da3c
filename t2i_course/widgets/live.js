// What a widget needs whose model answers in the kernel, or, on the built site, in the page.
import { kernel, viewName } from "./shared.js";

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
    if (message.view === view) heard({ ...message, data: buffers[0] });
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
