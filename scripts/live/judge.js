// CLIP's text encoder in the page. In: {number, captions}. Out: {progress, total} while files
// come; {number, vectors}, one Float32Array of length 1 a caption; {number, error}.
import * as ort from "./ort.js";
import { load } from "./files.js";
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

let loading = null;

onmessage = async ({ data: { number, captions } }) => {
  try {
    loading ??= start();
    const model = await loading;
    const vectors = [];
    for (const caption of captions) vectors.push(await read(model, caption));
    postMessage({ number, vectors });
  } catch (error) {
    if (!(await loading.catch(() => null))) loading = null; // try again at the next press
    postMessage({ number, error: error.message || String(error) });
  }
};
