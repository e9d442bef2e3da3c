// The course's tokenizer (networks/text): tidy, NFKC, lower case, then byte-level BPE.

const LONGEST = 10000; // characters of a prompt
// what Python's str.split takes for white space
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;
// GPT-2's cut into words, each with the space before it
const PIECES =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

// Every byte as a letter one can see: printable ones stand for themselves, the rest move up.
function letters() {
  const shown = (b) => (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) =>
    String.fromCharCode(shown(b) ? b : next++),
  );
}

export class Tokenizer {
  // vocab: {piece: id}; merges: pairs of pieces, the first learned first; length: places a
  // caption has; start, pad, end: ids, `end` only where captions have one
  constructor({ vocab, merges, length, start, pad, end }) {
    this.vocab = vocab;
    this.rank = new Map(merges.map(([a, b], i) => [`${a} ${b}`, i]));
    Object.assign(this, { length, start, pad, end });
    this.letters = letters();
  }

  // one word in letters -> its pieces: the merge that was learned first is done first
  pieces(word) {
    const parts = [...word];
    while (parts.length > 1) {
      let best = Infinity;
      let where = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.rank.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (rank < best) [best, where] = [rank, i];
      }
      if (where < 0) break;
      parts.splice(where, 2, parts[where] + parts[where + 1]);
    }
    return parts;
  }

  // ids of a caption's words, without start and padding
  ids(caption) {
    const tidy = caption.split(SPACE).filter(Boolean).join(" ");
    // letter by letter, as the library `tokenizers` does it
    const low = [...tidy.normalize("NFKC")].map((c) => c.toLowerCase()).join("");
    const utf8 = new TextEncoder();
    const words = (low.startsWith(" ") ? low : ` ${low}`).match(PIECES) || [];
    return words.flatMap((word) => {
      const seen = Array.from(utf8.encode(word), (b) => this.letters[b]).join("");
      return this.pieces(seen).map((piece) => this.vocab[piece]);
    });
  }

  // ids of a caption of at most `most` of them. An Error says what is wrong.
  checked(caption, most) {
    if (!caption.split(SPACE).some(Boolean))
      throw Error("the prompt is empty; say what to draw");
    if ([...caption].length > LONGEST)
      throw Error(`a prompt has at most ${LONGEST} characters; shorten it`);
    if (/\p{Surrogate}/u.test(caption))
      throw Error("the prompt holds half a character; type it anew");
    const words = this.ids(caption);
    if (words.length > most) {
      const sizes = `${words.length} tokens and the model reads ${most}`;
      throw Error(`the prompt has ${sizes}; shorten it`);
    }
    return words;
  }

  // BigInt64Array(length): start, the words, the end where this tokenizer has one, padding
  encode(caption) {
    const last = this.end === undefined ? [] : [this.end];
    const words = this.checked(caption, this.length - 1 - last.length);
    const row = new BigInt64Array(this.length).fill(BigInt(this.pad));
    [this.start, ...words, ...last].forEach((id, i) => (row[i] = BigInt(id)));
    return row;
  }
}
