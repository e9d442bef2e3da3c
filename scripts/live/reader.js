// CLIP's text encoder in the page.
import * as ort from "./ort.js";
import { load } from "./files.js";
import { Tokenizer } from "./words.js";

// The encoder, and the bytes of `files` of its folder, by name.
export async function start(files = []) {
  const model = await load("./clip/", ["words"], files);
  return { ...model, tokenizer: new Tokenizer(model.tokenizer) };
}

// The unit vector of a caption.
export async function read(model, caption) {
  const ids = model.tokenizer.encode(caption);
  const { vector } = await model.words.run({ ids: new ort.Tensor("int64", ids, [1, ids.length]) });
  return vector.data;
}
