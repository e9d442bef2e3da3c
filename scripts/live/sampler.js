// The course's sampler (reading 2): DPM-Solver++(2M), Lu 2022, Algorithm 2.

import { stepIndices } from "./steps.js";

const halfLogSnr = (alphaBar) => 0.5 * Math.log(alphaBar / (1 - alphaBar));

function mix(a, x, b, y) {
  const [wide, narrow] = [Math.fround(a), Math.fround(b)];
  return x.map((value, i) => wide * value + narrow * y[i]);
}

// denoise(x, t) -> x0_hat, a promise; x: noise. Yields {i, x, x0_hat} after every step.
export async function* dpmSolver(denoise, alphaBar, x, count) {
  const times = stepIndices(alphaBar.length, count);
  let before = null;
  let strideBefore = 0;
  for (const [i, t] of times.entries()) {
    const x0_hat = await denoise(x, t);
    if (i + 1 === times.length) {
      yield { i, x: x0_hat, x0_hat }; // clean data: no line can be drawn to there
      return;
    }
    const [a, b] = [alphaBar[t], alphaBar[times[i + 1]]];
    const stride = halfLogSnr(b) - halfLogSnr(a);
    let target = x0_hat;
    if (before) {
      // second order: lean on the prediction of the step before
      const lean = stride / (2 * strideBefore);
      target = mix(1 + lean, x0_hat, -lean, before);
    }
    x = mix(Math.sqrt((1 - b) / (1 - a)), x, -Math.sqrt(b) * Math.expm1(-stride), target);
    [before, strideBefore] = [x0_hat, stride];
    yield { i, x, x0_hat };
  }
}
