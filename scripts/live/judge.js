// CLIP's text encoder in the page. Of a wish {number, captions}: {number, vectors}, one
// Float32Array of length 1 a caption.
import * as ort from "./ort.js";
import { load, serve } from "./files.js";
import { Tokenizer } from "./words.js";

async function start() {
  const model = await load("./clip/", ["words"]);
  return { ...model, tokenizer: new Tokenizer(model.tokenizer) };
}

async function read(model, caption) {
  const ids = model.tokenizer.encode(caption);
  const { vector } = await model.words.run({ ids: new ort.Tensor("int64", ids, [1, ids.length]) });
  return vector.data;
}

async function judge(model, { number, captions }) {
  const vectors = [];
  for (const caption of captions) vectors.push(await read(model, caption));
  postMessage({ number, vectors });
  return true;
}

onmessage = serve(start, judge);
