// CLIP searches emoji in the page. Of a wish {number, text}: {number, found, pictures}: of the
// nearest [name, cosine] each, the best first, and an ImageBitmap.
import { serve } from "./files.js";
import { nearest } from "./nearest.js";
import { read, start } from "./reader.js";

const FILES = ["emoji.json", "emoji.i16", "emoji.webp"];
const FOUND = 12;

async function begin() {
  const model = await start(FILES);
  const [told, vectors, drawn] = FILES.map((name) => model[name]);
  const about = JSON.parse(new TextDecoder().decode(told));
  const sheet = await createImageBitmap(new Blob([drawn], { type: "image/webp" }));
  return { ...model, ...about, sheet, features: new Int16Array(vectors) };
}

async function find(model, { number, text }) {
  const { names, step, columns, side, sheet, features } = model;
  const best = nearest(features, step, await read(model, text), FOUND);
  const pictures = await Promise.all(
    best.map(([i]) => {
      const [x, y] = [i % columns, Math.floor(i / columns)];
      return createImageBitmap(sheet, x * side, y * side, side, side);
    }),
  );
  const found = best.map(([i, cosine]) => [names[i], cosine]);
  postMessage({ number, found, pictures }, pictures);
  return true;
}

onmessage = serve(begin, find);
