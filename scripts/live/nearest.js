// [row, cosine] of the `count` rows of `features` nearest to `vector`, best first: vectors of unit
// length, of the rows as whole numbers of `step`, one after another.
export function nearest(features, step, vector, count) {
  const width = vector.length;
  const dot = (row) => vector.reduce((sum, v, k) => sum + v * features[row * width + k], 0);
  const all = Array.from({ length: features.length / width }, (_, row) => [row, step * dot(row)]);
  return all.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, count);
}
