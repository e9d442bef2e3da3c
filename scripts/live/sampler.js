// The course's sampler (reading 2): DPM-Solver++(2M), Lu 2022, Algorithm 2.

// to the nearest whole number, a half to the even one, as Python's round
function round(value) {
  const low = Math.floor(value);
  const half = value - low === 0.5;
  return half ? low + (low % 2) : Math.round(value);
}

// Falling time indices from T - 1, in even strides; one more would reach -1, the clean picture.
export function stepIndices(T, count) {
  if (!Number.isInteger(count) || count < 1 || count > T)
    throw Error(`steps must be a whole number between 1 and ${T}, got ${count}`);
  return Array.from({ length: count }, (_, i) => round(T - (i * T) / count) - 1);
}

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
