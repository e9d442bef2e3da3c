// The model of the page, in a thread of its own, so that the page stays quick while it draws.
// Of a wish {number, prompt, seed, guidance, steps}: {number, i, steps, x, x0_hat} after each
// step, pictures as (3, H, W) floats in [-1, 1].
import * as ort from "./ort.js";
import { load, serve } from "./files.js";
import { Generator } from "./random.js";
import { Tokenizer } from "./words.js";
import { dpmSolver } from "./sampler.js";

const GRAPHS = ["words", "denoise", "decode"];

async function start() {
  const model = await load("./", GRAPHS);
  return { ...model, tokenizer: new Tokenizer(model.tokenizer) };
}

// What the network is told: rows of the prompt and of no prompt, by name.
async function conditions(model, prompt) {
  const { length, start, pad } = model.tokenizer;
  const rows = new BigInt64Array(2 * length).fill(BigInt(pad));
  rows.set(model.tokenizer.encode(prompt));
  rows[length] = BigInt(start);
  return model.words.run({ ids: new ort.Tensor("int64", rows, [2, length]) });
}

async function draw(model, { number, prompt, seed, guidance, steps }, stopped) {
  const told = await conditions(model, prompt);
  const shape = model.latent;
  const size = shape.reduce((a, b) => a * b);
  const scale = new ort.Tensor("float32", [guidance], [1]);
  const denoise = async (z, t) => {
    const time = new ort.Tensor("int64", [BigInt(t)], [1]);
    const z_t = new ort.Tensor("float32", z, [1, ...shape]);
    const answer = await model.denoise.run({ z_t, time, scale, ...told });
    return answer.z0_hat.data;
  };
  const noise = new Generator(seed).randn(size);
  for await (const step of dpmSolver(denoise, model.alpha_bar, noise, steps)) {
    await new Promise((next) => setTimeout(next)); // a word of the page's may have come
    if (stopped()) return false;
    const both = new Float32Array(2 * size);
    both.set(step.x);
    both.set(step.x0_hat, size);
    const z = new ort.Tensor("float32", both, [2, ...shape]);
    const { pictures } = await model.decode.run({ z });
    const half = pictures.data.length / 2;
    const [x, x0_hat] = [pictures.data.slice(0, half), pictures.data.slice(half)];
    postMessage({ number, i: step.i, steps, x, x0_hat }, [x.buffer, x0_hat.buffer]);
  }
  return true;
}

onmessage = serve(start, draw);
