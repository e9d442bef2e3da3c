// The times a sampler visits (reading 2).

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
