"""Reading 10's question: of the rulers of text-to-image, which agree with the truth?

python scripts/study_evaluation.py --captions 100     # a minute, and what has to be drawn
python scripts/study_evaluation.py --captions 1000 --varied --stranger    # all of it

Every drawing system, and four painters that need no network, on the captions and seeds of the
board (t2i evaluate all; its pictures are used where they lie, and drawn where not):

true       the program that drew the training set, with other places than the reference's,
           which are true pictures of the board's first 2,000 captions
shuffled   the same pictures, each given to the next caption
blurred    the same pictures, halved in size and enlarged again
retrieval  the training picture whose caption is nearest in clip-small's eyes

Writes nbs/readings/studies/evaluation.json after each row, and two sheets of pictures; started
again it goes on, rows of other weights are made anew.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F

from t2i_course import evaluation as ruler
from t2i_course.data.shapes import sample_shapes
from t2i_course.measure.board import asked_of, claims_of, features_of, folder_of, kept_pictures
from t2i_course.measure.board import scored_captions, tally_of, true_pictures
from t2i_course.measure.evaluation import SYSTEMS, load_system
from t2i_course.storage import read_json, write_json
from t2i_course.widgets.plots import png, tile

PLAIN = ("true", "shuffled", "blurred", "retrieval")
REFERENCE, KNOWN, STRANGER = 2000, 3000, 600  # real pictures, training pictures, judge's
EACH = 4  # pictures a caption, for variety
VARIED = 8  # captions


def small(pictures):
    """uint8 pictures of any size as 32 pixels, in [-1, 1]."""
    return F.adaptive_avg_pool2d(pictures.float() / 127.5 - 1, 32)


def variety(pictures):
    """Root mean square distance between two of EACH pictures of a caption, seen at 8 x 8."""
    seen = F.adaptive_avg_pool2d(pictures.float() / 127.5 - 1, 8).flatten(1)
    found = [torch.pdist(part).mean() for part in seen.split(EACH)]
    return float(torch.stack(found).mean() / seen.shape[1] ** 0.5)


class Study:
    """What all rows are measured with."""

    def __init__(self, n, stranger=False):
        self.captions, self.eyes = scored_captions(n), load_system("clip-small")
        self.real = true_pictures(scored_captions(REFERENCE), 32, seed=5)
        self.real_features = features_of(self.real, self.eyes)
        known, self.known_captions = sample_shapes(KNOWN, 32, seed=6, split="train")
        self.known = torch.from_numpy(known)
        with torch.no_grad():
            self.text = self.eyes.text_features(self.captions)
            self.known_text = self.eyes.text_features(self.known_captions)
        self.others = ruler.other_captions(self.text, self.captions)
        self.judge, self.judged = None, None
        if stranger:
            from t2i_course.measure.recognition import Judge

            self.judge = Judge()
            some = small(self.real[:STRANGER])
            self.judged = ruler.moments(self.judge.features(some))

    def plain(self, name):
        """Pictures of the painters without a network: uint8 (N, 3, 32, 32)."""
        drawn = true_pictures(self.captions, 32, seed=7)
        if name == "shuffled":
            return drawn.roll(1, 0)
        if name == "blurred":
            half = F.avg_pool2d(drawn.float(), 2)
            large = F.interpolate(half, scale_factor=2, mode="bilinear")
            return large.round().clamp(0, 255).to(torch.uint8)
        if name == "retrieval":
            return self.known[ruler.retrieved(self.text, self.known_text)]
        return drawn

    def stranger(self, pictures):
        """Frechet distance in EfficientNet-Lite0's eyes, where it was asked for."""
        if self.judge is None:
            return None
        found = ruler.moments(self.judge.features(small(pictures)))
        return round(ruler.frechet_distance(*found, *self.judged), 5)

    def row(self, pictures):
        """All that is measured of one painter's pictures."""
        features = features_of(pictures, self.eyes)
        claims = claims_of(pictures, self.captions)
        reference = ruler.moments(self.real_features)
        n = len(pictures)
        sizes = [n // 4, n // 2, n]
        by_size = ruler.distances_by_size(features, reference, sizes)
        mmd = 1000 * ruler.mmd(features, self.real_features)
        far, _ = ruler.nearest_distance(small(pictures), small(self.known))
        rounded = [round(c, 4) for c in (features * self.text).sum(1).tolist()]
        return {
            "all_true": tally_of(claims)["all_true"],
            "frechet": round(ruler.frechet_distance(*ruler.moments(features), *reference), 5),
            "frechet_by_size": dict(zip(map(str, sizes), [round(v, 5) for v in by_size])),
            "frechet_stranger": self.stranger(pictures),
            "mmd": round(mmd, 4),
            "precision": round(ruler.precision(self.real_features[-n:], features), 4),
            "recall": round(ruler.recall(self.real_features[-n:], features), 4),
            "clip": round(ruler.clip_score(features, self.text, 100), 3),
            "r_precision": round(ruler.r_precision(features, self.text, self.others), 4),
            "nearest": round(float(far.mean()), 4),
            "nearest_of_all": round(float(far.min()), 4),
            "claims": claims,
            "cosines": rounded,
        }


class Later:
    """A system that is loaded when it is first asked to draw."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, wanted):
        self.system = self.__dict__.get("system") or load_system(self.name)
        return getattr(self.system, wanted)


def drawn_by(study, name, folder, varied):
    """A system's pictures of the board's captions; with `varied`, how different several of one
    caption are.
    """
    about, system = asked_of(name), Later(name)
    scale = about["guidance"]
    place = folder / f"{name}-{about['sha256'][:8]}-{scale}"
    pictures = kept_pictures(system, study.captions, place, scale)
    if not varied:
        return pictures, {}
    some = [c for c in study.captions[:VARIED] for _ in range(EACH)]
    several = kept_pictures(system, some, place / "varied", scale)
    return pictures, {"variety": round(variety(several), 4)}


def sheets(study, pictures, rows, out):
    """Wrong pictures that the judge liked best, and the drawn ones nearest to the training set
    beside it: two PNG files, and what is on them.
    """
    liked, near = [], []
    known = small(study.known)
    for name in pictures:
        wrong = [i for i, c in enumerate(rows[name]["claims"]["all true"]) if c == "0"]
        best = max(wrong, key=rows[name]["cosines"].__getitem__)
        liked.append((name, best))
        far, which = ruler.nearest_distance(small(pictures[name]), known)
        near.append((name, int(far.argmin()), int(which[far.argmin()])))
    shown = [small(pictures[name][i : i + 1])[0] for name, i in liked]
    (out / "evaluation_liked.png").write_bytes(png(tile(shown, cols=len(shown)), 128))
    shown = [small(pictures[name][i : i + 1])[0] for name, i, _ in near]
    shown += [known[j] for _, _, j in near]
    (out / "evaluation_nearest.png").write_bytes(png(tile(shown, cols=len(near)), 128))
    names = ("system", "caption", "cosine", "wrong")
    told = []
    for name, i in liked:
        false = [k for k, v in rows[name]["claims"].items() if v[i] == "0" and k != "all true"]
        said = name, study.captions[i], rows[name]["cosines"][i], false
        told.append(dict(zip(names, said)))
    captions = [study.captions[i] for _, i, _ in near]
    beside = [study.known_captions[j] for _, _, j in near]
    return {"liked": told, "nearest": [list(pair) for pair in zip(captions, beside)]}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captions", type=int, default=100)
    variety = "draw some captions four times each, for the row's variety"
    parser.add_argument("--varied", action="store_true", help=variety)
    judge = "also look through EfficientNet-Lite0 (extra [judge])"
    parser.add_argument("--stranger", action="store_true", help=judge)
    parser.add_argument("--out", type=Path, default=Path("nbs/readings/studies"))
    parser.add_argument("--pictures", type=Path, default=Path("runs/board/pictures"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    file = args.out / "evaluation.json"
    study = Study(args.captions, args.stranger)
    found = {
        "command": f"python scripts/study_evaluation.py --captions {args.captions}",
        "captions": args.captions,
        "varied": args.varied,
        "stranger": args.stranger,
        "reference": REFERENCE,
        "known": KNOWN,
    }
    rows = {}
    if file.exists():
        before = read_json(file)
        if all(before.get(key) == value for key, value in found.items()):
            rows = before["rows"]
    pictures = {}
    names = [name for name, s in SYSTEMS.items() if s.draws and folder_of(name)]
    for name in (*PLAIN, *names):
        if name in PLAIN:
            about, told = {}, {}
            drawn = study.plain(name)
        else:
            about = asked_of(name)
            drawn, told = drawn_by(study, name, args.pictures, args.varied)
            pictures[name] = drawn
        if rows.get(name, {}).get("drawn by") != about:
            rows[name] = {"drawn by": about} | told | study.row(drawn)
            write_json(file, found | {"rows": rows})
        shown = {k: v for k, v in rows[name].items() if isinstance(v, float)}
        print(name, shown, flush=True)
    if args.varied:
        truth = [c for c in study.captions[:VARIED] for _ in range(EACH)]
        rows["true"]["variety"] = round(variety(true_pictures(truth, 32, seed=8)), 4)
    found |= sheets(study, pictures, rows, args.out)
    write_json(file, found | {"rows": rows})


if __name__ == "__main__":
    main()
