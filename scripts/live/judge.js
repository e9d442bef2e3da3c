// CLIP reads labels in the page. Of a wish {number, captions}: {number, vectors}, one Float32Array
// of length 1 a caption.
import { serve } from "./files.js";
import { read, start } from "./reader.js";

async function judge(model, { number, captions }) {
  const vectors = [];
  for (const caption of captions) vectors.push(await read(model, caption));
  postMessage({ number, vectors });
  return true;
}

onmessage = serve(start, judge);
