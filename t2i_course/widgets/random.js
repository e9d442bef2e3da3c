// PyTorch's random numbers on the CPU, so that a seed means the same in a page as in Python:
// the Mersenne Twister (Matsumoto & Nishimura 1998), and Box & Muller's way from uniform to
// normal numbers as torch.randn goes it (ATen/native/cpu/DistributionTemplates.h).

const N = 624;
const M = 397;

export class Generator {
  // seed: a whole number from 0 up; as in PyTorch, its lowest 32 bits count
  constructor(seed) {
    this.state = new Uint32Array(N);
    this.state[0] = Number(BigInt(seed) & 0xffffffffn);
    for (let i = 1; i < N; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
    this.at = N;
    this.second = null; // the other half of a pair, for the next draw of fewer than 16
  }

  twist() {
    const s = this.state;
    for (let i = 0; i < N; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % N] & 0x7fffffff);
      s[i] = s[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.at = 0;
  }

  // 32 random bits
  bits() {
    if (this.at === N) this.twist();
    let y = this.state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  // in [0, 1), with the 24 bits of a float
  uniform() {
    return (this.bits() & 0xffffff) / 2 ** 24;
  }

  // in [0, 1), with the 53 bits of a double: the upper word comes first
  uniformDouble() {
    const upper = this.bits();
    return ((upper & 0x1fffff) * 2 ** 32 + this.bits()) / 2 ** 53;
  }

  // one normal number; they are made in pairs, and the second waits for its turn
  normal() {
    if (this.second !== null) {
      const kept = this.second;
      this.second = null;
      return kept;
    }
    const angle = 2 * Math.PI * this.uniformDouble();
    const radius = Math.sqrt(-2 * Math.log1p(-this.uniformDouble()));
    this.second = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  // torch.randn(count, generator=...): fewer than 16 one by one, more in blocks of 16.
  // double: of the type float64
  randn(count, double = false) {
    const x = double ? new Float64Array(count) : new Float32Array(count);
    const uniform = () => (double ? this.uniformDouble() : this.uniform());
    if (count < 16) return x.map(() => this.normal());
    const fill = (from, to) => {
      for (let i = from; i < to; i++) x[i] = uniform();
    };
    const toNormal = (from) => {
      for (let i = from; i < from + 8; i++) {
        const radius = Math.sqrt(-2 * Math.log(1 - x[i]));
        const angle = 2 * Math.PI * x[i + 8];
        x[i] = radius * Math.cos(angle);
        x[i + 8] = radius * Math.sin(angle);
      }
    };
    fill(0, count);
    for (let i = 0; i + 16 <= count; i += 16) toNormal(i);
    if (count % 16) {
      // the last block overlaps the one before, and is drawn anew
      fill(count - 16, count);
      toNormal(count - 16);
    }
    return x;
  }
}
