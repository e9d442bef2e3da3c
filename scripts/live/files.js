// The files of a model in the page: fetched when a worker is first asked, and counted as they
// come.
import * as ort from "./ort.js";

// A file's bytes; told(n) of every n bytes that came.
async function fetched(url, told) {
  const reply = await fetch(url);
  if (!reply.ok) {
    const name = url.pathname.split("/").pop();
    throw Error(`${name} is not there (${reply.status}); build the site again`);
  }
  const reader = reply.body.getReader();
  const parts = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    told(value.length);
  }
  return new Blob(parts).arrayBuffer();
}

// What `model.json` of a folder says, a session for each of its graphs, and the bytes of other
// files, all by name. folder: from here, "./" or below.
export async function load(folder, graphs, files = []) {
  const here = (name) => new URL(name, import.meta.url);
  const told = await fetched(here(`${folder}model.json`), () => {});
  const model = JSON.parse(new TextDecoder().decode(told));
  const below = [...graphs.map((g) => `${g}.onnx`), ...files];
  const total = ["ort.wasm", ...below].reduce((sum, name) => sum + model.bytes[name], 0);
  let progress = 0;
  const count = (n) => postMessage({ progress: (progress += n), total });
  const urls = [here("ort.wasm"), ...below.map((name) => here(`${folder}${name}`))];
  const [wasm, ...rest] = await Promise.all(urls.map((url) => fetched(url, count)));
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm });
  for (const [i, name] of graphs.entries())
    model[name] = await ort.InferenceSession.create(new Uint8Array(rest[i]));
  for (const [i, name] of files.entries()) model[name] = rest[graphs.length + i];
  return model;
}

// What a worker does with what it is told. start() -> a model, once, at the first wish;
// work(model, wish, stopped) -> was it done to its end? Wishes: {number, ...}, {stop: number}.
// It posts {number, done, seconds} in the end, or {number, error}.
export function serve(start, work) {
  let loading = null;
  let last = 0; // wishes up to this number are to stop
  return async ({ data }) => {
    if (data.stop) {
      last = data.stop;
      return;
    }
    const { number } = data;
    try {
      loading ??= start();
      const model = await loading;
      const began = performance.now();
      const done = await work(model, data, () => number <= last);
      postMessage({ number, done, seconds: (performance.now() - began) / 1000 });
    } catch (error) {
      if (!(await loading.catch(() => null))) loading = null; // try again at the next press
      postMessage({ number, error: error.message || String(error) });
    }
  };
}
