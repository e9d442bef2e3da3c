// How DALL-E chooses a token (reading 5), with torch's dice.

function logSoftmax(row) {
  const top = row.reduce((a, b) => Math.max(a, b));
  const sum = row.reduce((total, v) => total + Math.exp(v - top), 0);
  return row.map((v) => v - top - Math.log(sum));
}

// logits of the caption and of the empty caption, one after the other -> guided log-probabilities
export function guided(logits, scale) {
  const half = logits.length / 2;
  const [told, nothing] = [0, 1].map((r) => logSoftmax(logits.slice(r * half, (r + 1) * half)));
  return told.map((v, i) => nothing[i] + scale * (v - nothing[i]));
}

// Probabilities that a token is drawn from: `choose` of the course. topK: as many as are kept.
export function choose(logits, temperature, topK) {
  const [count, heat] = temperature === 0 ? [1, 1] : [topK, temperature];
  const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b);
  const top = logits[order[0]];
  const p = new Float64Array(logits.length);
  for (const i of order.slice(0, count)) p[i] = Math.exp((logits[i] - top) / heat);
  const sum = p.reduce((a, b) => a + b);
  return { p: p.map((v) => v / sum), order };
}

// torch.multinomial(p, 1, generator=...): the code that wins a race of exponential clocks
export function multinomial(p, generator) {
  let [best, winner] = [-1, 0];
  p.forEach((share, i) => {
    const time = -Math.log1p(-generator.uniformDouble());
    if (share / time > best) [best, winner] = [share / time, i];
  });
  return winner;
}
