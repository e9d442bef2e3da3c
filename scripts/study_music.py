"""Reading 14's study: three patterns at equal time, books, scales.

    python scripts/study_music.py patterns --seconds 80   # of one core's own time, each
    python scripts/study_music.py books
    python scripts/study_music.py scales                   # with the weights that ship

patterns   a small MusicGen with each pattern, from random weights, the same seconds and tunes
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

FILE = Path(__file__).resolve().parents[1] / "nbs/readings/studies/music.json"
HELD_OUT, SEEN = captions("test") * 3, captions("train")


def scores(model, **options) -> dict:
    """Shares of tunes all of whose claims are heard, of held-out and of seen captions."""
    held_out, claims = all_true(model, HELD_OUT, **options)
    seen, _ = all_true(model, SEEN, **options)
    return {"held_out": held_out, "seen": seen, "claims": claims}


def patterns(seconds: float) -> dict:
    """Each pattern in a small network, trained for the same seconds of one core's own time;
    then the loss of held-out tunes, in nats a token, and how many are right.
    """
    data, exam, rows = make_tunes(3_000, seed=5), make_tunes(180, seed=8, split="test"), {}
    teacher = MusicGen.from_pretrained("tunes-small")
    codes, asked = teacher.codes_of(data)["codes"], teacher.codes_of(exam)["codes"]
    for pattern in ("delay", "parallel", "flat"):
        torch.manual_seed(0)
        model = MusicGen(dim=96, depth=3, heads=3, pattern=pattern)
        model.quantizer.load_state_dict(teacher.quantizer.state_dict())
        steps = fit(model, data.captions, codes, seconds)
        with torch.no_grad():
            model.p_null = 0.0
            loss = model.loss({"codes": asked, "caption": exam.captions})["loss"].item()
        row = {"steps": steps, "calls": len(model.when), "loss": round(loss, 4)}
        rows[pattern] = row | scores(model, guidance=1.0)
        print(pattern, rows[pattern], flush=True)
    return {"seconds": seconds, "tunes": len(data), "rows": rows}


def fit(model, told: list[str], codes: torch.Tensor, seconds: float, batch: int = 24) -> int:
    """AdamW for so many seconds of this process; the rate falls to nothing with them. Gives
    the number of steps.
    """
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01)
    dice, begin, steps = torch.Generator().manual_seed(0), time.process_time(), 0
    while (spent := (time.process_time() - begin) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (steps + 1) / 30, 1.5 * (1 - spent))
        rows = torch.randint(len(told), (batch,), generator=dice)
        group = {"codes": codes[rows], "caption": [told[i] for i in rows]}
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(group)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return steps


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
    parser.add_argument("--seconds", type=float, default=80)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part == "patterns":
        found = patterns(args.seconds)
    else:
        found = {"books": books, "scales": scales}[args.part]()
    study = read_json(FILE) if FILE.is_file() else {}
    write_json(FILE, study | {args.part: found})


if __name__ == "__main__":
    main()
