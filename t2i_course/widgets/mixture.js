// A mixture of Gaussians in the plane, noised and walked home by its exact score: readings 1 and 2
// in double precision, with torch's random numbers.
import { Generator } from "./random.js";
import { stepIndices } from "./steps.js";

const T = 1000;
const fromTo = (a, b) => Array.from({ length: T }, (_, t) => a + ((b - a) * t) / (T - 1));

function fromBetas(betas) {
  let kept = 1;
  return betas.map((beta) => (kept *= 1 - beta));
}

function cosine(s = 0.008) {
  const f = (t) => Math.cos(((t / T + s) / (1 + s)) * (Math.PI / 2)) ** 2;
  return Array.from({ length: T }, (_, t) => Math.min(0.999, 1 - f(t + 1) / f(t)));
}

// alpha_bar of the course's schedules, by their names there
export const SCHEDULES = {
  linear: fromBetas(fromTo(1e-4, 0.02)),
  "scaled-linear": fromBetas(fromTo(0.00085 ** 0.5, 0.012 ** 0.5).map((root) => root ** 2)),
  cosine: fromBetas(cosine()),
};

// The mixture of x_t where alpha_bar is a: (x, y) -> [log density, its gradient's x, its y].
// mixture: rows of [x, y, std, weight]
export function marginal(mixture, a) {
  const root = Math.sqrt(a);
  const parts = mixture.map(([x, y, std, weight]) => {
    const variance = a * std ** 2 + 1 - a;
    return [root * x, root * y, variance, Math.log(weight / (2 * Math.PI * variance))];
  });
  const logs = new Float64Array(parts.length);
  return (x, y) => {
    let top = -Infinity;
    for (let k = 0; k < parts.length; k++) {
      const [mx, my, variance, scale] = parts[k];
      logs[k] = scale - ((x - mx) ** 2 + (y - my) ** 2) / (2 * variance);
      if (logs[k] > top) top = logs[k];
    }
    let [sum, sx, sy] = [0, 0, 0];
    for (let k = 0; k < parts.length; k++) {
      const [mx, my, variance] = parts[k];
      const share = Math.exp(logs[k] - top);
      sum += share;
      sx += (share / variance) * (mx - x);
      sy += (share / variance) * (my - y);
    }
    return [top + Math.log(sum), sx / sum, sy / sum];
  };
}

// What the exact denoiser says of the points x, flat: {x0_hat, eps, log}, log: mean log density.
export function denoise(mixture, a, x) {
  const field = marginal(mixture, a);
  const [eps, x0_hat] = [new Float64Array(x.length), new Float64Array(x.length)];
  const noise = Math.sqrt(1 - a);
  let log = 0;
  for (let i = 0; i < x.length; i += 2) {
    const [p, sx, sy] = field(x[i], x[i + 1]);
    log += p;
    [eps[i], eps[i + 1]] = [-noise * sx, -noise * sy];
    for (const j of [i, i + 1]) x0_hat[j] = (x[j] - noise * eps[j]) / Math.sqrt(a);
  }
  return { x0_hat, eps, log: (2 * log) / x.length };
}

// Points of the data itself, flat.
export function sample(mixture, count, generator) {
  const noise = generator.randn(2 * count, true);
  for (let i = 0; i < count; i++) {
    let left = generator.uniformDouble();
    const part = mixture.find(([, , , weight]) => (left -= weight) < 0) || mixture.at(-1);
    for (const c of [0, 1]) noise[2 * i + c] = part[c] + part[2] * noise[2 * i + c];
  }
  return noise;
}

// Every stop of the way, {t, x, x0_hat, log}; t = -1 is clean data. how: {schedule, steps, eta,
// points, seed}.

// From data to noise by the jump (reading 1): the same points and the same noise at every t.
export function* noised(mixture, { schedule, steps, points, seed }) {
  const generator = new Generator(seed);
  const noise = generator.randn(2 * points, true);
  const x_0 = sample(mixture, points, generator);
  for (const t of [-1, ...stepIndices(T, steps).reverse()]) {
    const a = t < 0 ? 1 : SCHEDULES[schedule][t];
    const x = x_0.map((v, i) => Math.sqrt(a) * v + Math.sqrt(1 - a) * noise[i]);
    yield { t, x, ...denoise(mixture, a, x) };
  }
}

// From noise to data by DDIM (reading 2): eta = 0 adds no noise, eta = 1 as much as DDPM.
export function* walked(mixture, { schedule, steps, eta, points, seed }) {
  const generator = new Generator(seed);
  const times = stepIndices(T, steps);
  let x = generator.randn(2 * points, true);
  for (const [i, t] of times.entries()) {
    const a = SCHEDULES[schedule][t];
    const before = i + 1 < steps ? SCHEDULES[schedule][times[i + 1]] : 1;
    const said = denoise(mixture, a, x);
    yield { t, x, ...said };
    const sigma = eta * Math.sqrt(((1 - before) / (1 - a)) * (1 - a / before));
    const along = Math.sqrt(Math.max(0, 1 - before - sigma ** 2));
    const { x0_hat, eps } = said;
    x = x.map((_, j) => Math.sqrt(before) * x0_hat[j] + along * eps[j]);
    if (sigma > 0) {
      const fresh = generator.randn(2 * points, true);
      x = x.map((v, j) => v + sigma * fresh[j]);
    }
  }
  const { log } = denoise(mixture, 1, x);
  yield { t: -1, x, x0_hat: x, log };
}
