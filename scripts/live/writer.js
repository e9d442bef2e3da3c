// DALL-E in the page, token by token. Of a wish {number, prompt, seed, guidance, temperature,
// top_k}: after each token {number, i, steps, token, top, patches, picture, logits}. top: the
// likeliest codes, [code, probability] each, below the one that was drawn; patches: their
// pixels, red, green, blue; picture: (3, H, W) floats in [-1, 1], grey where no token is.
import * as ort from "./ort.js";
import { choose, guided, multinomial } from "./choose.js";
import { load, serve } from "./files.js";
import { Generator } from "./random.js";
import { Tokenizer } from "./words.js";

const SHOWN = 8; // of the likeliest codes
const SIDE = 4; // pixels of a code

async function start() {
  const model = await load("./dalle/", ["write", "show"]);
  const patches = Uint8Array.from(atob(model.patches), (c) => c.charCodeAt(0));
  return { ...model, patches, tokenizer: new Tokenizer(model.tokenizer) };
}

const floats = (shape) => new Float32Array(shape.reduce((a, b) => a * b));
const whole = (numbers) =>
  new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), [numbers.length]);

// Two sentences that grow: `say` tells the graph one token more, and gives the logits after it.
function sentences({ write, cache }) {
  const [depth, rows, heads, length, head] = cache;
  const kept = { keys: floats(cache), values: floats(cache) };
  let place = 0;
  return async (pair) => {
    const told = { token: whole(pair), place: whole([place]) };
    for (const name of ["keys", "values"])
      told[name] = new ort.Tensor("float32", kept[name], cache);
    const { logits, key, value } = await write.run(told);
    for (let r = 0; r < depth * rows * heads; r++) {
      const at = (r * length + place) * head;
      kept.keys.set(key.data.subarray(r * head, (r + 1) * head), at);
      kept.values.set(value.data.subarray(r * head, (r + 1) * head), at);
    }
    place++;
    return logits.data;
  };
}

// What the network reads before the picture: a caption's ids beside those of no caption.
function captions({ tokenizer, text_vocab }, prompt) {
  const { length, start, pad } = tokenizer;
  const filled = (id, j) => (id === pad ? text_vocab + j : id); // each place has its padding
  const told = Array.from(tokenizer.encode(prompt), Number).map(filled);
  const nothing = Array.from({ length }, (_, j) => filled(j ? pad : start, j));
  return told.map((id, j) => [id, nothing[j]]);
}

// The code that stands there most often, the smallest of several.
function commonest(tokens) {
  const times = new Map();
  for (const id of [...tokens].sort((a, b) => a - b)) times.set(id, (times.get(id) || 0) + 1);
  return [...times].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

// The picture of the tokens there are.
async function shown({ show, grid }, tokens) {
  const missing = grid ** 2 - tokens.length;
  const filled = [...tokens, ...Array(missing).fill(commonest(tokens))];
  const ids = new ort.Tensor("int64", BigInt64Array.from(filled, BigInt), [1, grid ** 2]);
  const { picture } = await show.run({ tokens: ids });
  const side = picture.dims[3];
  const cell = side / grid;
  return picture.data.map((v, at) => {
    const [row, column] = [Math.floor(at / side) % side, at % side].map((k) => Math.floor(k / cell));
    return row * grid + column < tokens.length ? v : 0;
  });
}

async function write(model, wish, stopped) {
  const { number, prompt, seed, guidance, temperature, top_k } = wish;
  const { vocab, grid, tokenizer, text_vocab } = model;
  const say = sentences(model);
  const generator = new Generator(seed);
  const tokens = [];
  let raw;
  for (const pair of captions(model, prompt)) raw = await say(pair);
  for (let i = 0; i < grid ** 2; i++) {
    await new Promise((next) => setTimeout(next)); // a word of the page's may have come
    if (stopped()) return false;
    if (i) raw = await say(Array(2).fill(text_vocab + tokenizer.length + tokens[i - 1]));
    const logits = guided(raw, guidance);
    const { p, order } = choose(logits, temperature, Math.min(top_k, vocab));
    const token = multinomial(p, generator);
    tokens.push(token);
    const codes = [token, ...order.slice(0, SHOWN)];
    const size = 3 * SIDE ** 2;
    const patches = new Uint8Array(codes.length * size);
    codes.forEach((c, k) => patches.set(model.patches.subarray(c * size, (c + 1) * size), k * size));
    const picture = await shown(model, tokens);
    const top = codes.map((code) => [code, p[code]]);
    postMessage({ number, i, steps: grid ** 2, token, top, patches, picture, logits });
  }
  return true;
}

onmessage = serve(start, write);
