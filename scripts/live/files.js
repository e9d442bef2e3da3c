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

// What `model.json` of a folder says, and a session for each of its graphs, by name.
// folder: from here, "./" or below.
export async function load(folder, graphs) {
  const here = (name) => new URL(name, import.meta.url);
  const told = await fetched(here(`${folder}model.json`), () => {});
  const model = JSON.parse(new TextDecoder().decode(told));
  const total = Object.values(model.bytes).reduce((a, b) => a + b, 0);
  let progress = 0;
  const count = (n) => postMessage({ progress: (progress += n), total });
  const urls = [here("ort.wasm"), ...graphs.map((g) => here(`${folder}${g}.onnx`))];
  const [wasm, ...files] = await Promise.all(urls.map((url) => fetched(url, count)));
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm });
  for (const [i, name] of graphs.entries())
    model[name] = await ort.InferenceSession.create(new Uint8Array(files[i]));
  return model;
}
