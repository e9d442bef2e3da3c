"""Reading 15's study: three patterns at equal minutes, books, scales; into nbs/readings/studies.

    python scripts/study_music.py patterns --minutes 2.5   # about ten minutes of one core
    python scripts/study_music.py books
    python scripts/study_music.py scales                   # with the weights that ship

patterns   MusicGen with each pattern, from random weights, the same minutes, tunes and books
books      tunes to tokens and back, told by one to four books: how many keep all five claims;
           and the same with books of samples instead of frames
scales     the shipped model by guidance and temperature
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from t2i_course.data.tunes import CLAIMS, SAMPLES, captions, make_tunes, verify
from t2i_course.music import MusicGen, all_true
from t2i_course.networks.codec import ResidualQuantizer, griffin_lim, log_frames, sizes_of
from t2i_course.storage import digest_of, find_pretrained, read_json, write_json
from t2i_course.training.loop import train
from t2i_course.training.recipe import Recipe

FILE = Path(__file__).resolve().parents[1] / "nbs/readings/studies/music.json"
HELD_OUT, SEEN = captions("test") * 3, captions("train")


def scores(model, **options) -> dict:
    """Shares of tunes all of whose claims are heard, of held-out and of seen captions."""
    held_out, claims = all_true(model, HELD_OUT, **options)
    seen, _ = all_true(model, SEEN, **options)
    return {"held_out": held_out, "seen": seen, "claims": claims}


def patterns(minutes: float) -> dict:
    """Each pattern, trained for the same minutes."""
    data, rows, quantizer = make_tunes(6_000, seed=5), {}, None
    for pattern in ("delay", "parallel", "flat"):
        torch.manual_seed(0)
        model = MusicGen(pattern=pattern)
        if quantizer is not None:
            model.quantizer.load_state_dict(quantizer)
        stage = model.stages["model"]
        prepared = stage.prepare(data)
        quantizer = model.quantizer.state_dict()
        stage.prepare = lambda data, prepared=prepared: prepared
        about = dict(batch_size=64, lr=0.002, optimizer="muon", warmup=30, precision="bf16")
        begin = time.perf_counter()
        train(stage, data, Recipe(12, **about), progress=False, cpu=True)
        steps = max(20, int(60 * minutes / (time.perf_counter() - begin) * 12))
        torch.manual_seed(0)
        fresh = MusicGen(pattern=pattern).state_dict()
        fresh |= {k: v for k, v in model.state_dict().items() if k.startswith("quantizer")}
        model.load_state_dict(fresh)
        recipe = Recipe(steps, decay=int(0.7 * steps), ema=0.99, **about)
        begin = time.perf_counter()
        history = train(stage, data, recipe, progress=False, cpu=True)
        took = (time.perf_counter() - begin) / 60
        row = {"steps": steps, "calls": len(model.when), "minutes": round(took, 2)}
        rows[pattern] = row | {"loss": round(history[-1]["loss"], 3)} | scores(model)
        print(pattern, rows[pattern], flush=True)
    return {"minutes": minutes, "tunes": len(data), "rows": rows}


def kept(waves, told: list[str]) -> float:
    """The share of tunes whose five claims are all heard."""
    right = [all(verify(w, c).values()) for w, c in zip(np.asarray(waves), told)]
    return round(float(np.mean(right)), 4)


def books() -> dict:
    """How many books are needed; and what if they hold samples."""
    torch.manual_seed(0)
    lesson, exam = make_tunes(1_080, seed=6), make_tunes(216, seed=7, split="all")
    waves, others = torch.tensor(lesson.waves()), torch.tensor(exam.waves())
    rows, sharp, wanted = {"frames": [], "samples": []}, {}, log_frames(others)
    for name in rows:
        frames = name == "frames"
        cut = log_frames if frames else pieces
        vectors, asked = cut(waves).flatten(0, 1), cut(others)
        quantizer = ResidualQuantizer(4, 128, vectors.shape[1])
        quantizer.start(vectors[torch.randperm(len(vectors))[:40_000]])
        ids = quantizer.encode(asked)
        for n in range(1, 5):
            back = quantizer.decode(ids[..., :n])
            sound = griffin_lim(sizes_of(back)) if frames else back.reshape(-1, SAMPLES)
            rows[name].append(kept(sound, exam.captions))
        error = (log_frames(sound) - wanted).square().mean().sqrt()
        sharp[name] = round(float(error), 4)
        print(name, rows[name], sharp[name], flush=True)
    return {"tunes": len(exam), "size": 128, "kept": rows, "error of four": sharp}


def pieces(waves: torch.Tensor) -> torch.Tensor:
    """Samples in pieces of 20 ms: (B, 12800) -> (B, 80, 160)."""
    return waves.view(len(waves), -1, 160)


def scales() -> dict:
    """The shipped model by guidance, then by temperature."""
    model = MusicGen.from_pretrained("tunes-small")
    rows = {}
    for guidance in (0.0, 1.0, 1.5, 2.0, 3.0, 5.0):
        rows[f"guidance {guidance:g}"] = scores(model, guidance=guidance)
        print(guidance, rows[f"guidance {guidance:g}"], flush=True)
    for temperature in (0.0, 0.5, 0.7, 0.85, 1.0, 1.2):
        rows[f"temperature {temperature:g}"] = scores(model, temperature=temperature)
        print(temperature, rows[f"temperature {temperature:g}"], flush=True)
    about = {"weights": digest_of(find_pretrained("tunes-small"))}
    return about | {"captions": [len(HELD_OUT), len(SEEN)], "claims": CLAIMS, "rows": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("patterns", "books", "scales"))
    parser.add_argument("--minutes", type=float, default=2.5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part == "patterns":
        found = patterns(args.minutes)
    else:
        found = {"books": books, "scales": scales}[args.part]()
    study = read_json(FILE) if FILE.is_file() else {}
    write_json(FILE, study | {args.part: found})


if __name__ == "__main__":
    main()
