"""Emojich's question, asked of our small DALL-E: what does a model gain, and what does it
forget, when it is tuned on emoji alone?

python scripts/study_emojich.py        # six minutes on one core

Writes nbs/readings/studies/emojich.json, and emojich.png with twelve captions drawn before and
after. Twice dalle-small's transformer goes on learning, from 2,749 emoji, as many as theirs:
with all its weights, and as theirs did, with attention and MLPs frozen. For each of the three:

seen       240 of the 2,749 emoji themselves: nats an image token, given the caption
concept    emoji whose like was never trained on, the same
style      emoji known in another style only, the same
shapes     held-out shapes, the same
true       of the claims of held-out captions of shapes, those that are true of what it draws

With each loss after tuning goes the standard error of its change.
"""

import argparse
from pathlib import Path

import torch

from t2i_course.dalle import DALLE
from t2i_course.data.captioned import emoji, shapes, verify
from t2i_course.storage import find_pretrained, read_json, write_json
from t2i_course.widgets.plots import tile, to_picture

PICTURES, EXAM, PIECE = 2_749, 240, 8  # to learn from, to be examined on, of which at a time
SHOWN = (
    "fox", "sun", "red apple", "ghost", "blue heart", "pizza",
    "a red star on a white background", "a large blue circle on a black background",
    "two green squares on a yellow background", "a small yellow triangle on a black background",
    "a blue cross above a red circle on a white background",
    "a green heart to the left of a blue square on a black background",
)  # fmt: skip


def some(data, n, seed=0):
    """n pictures of a data set by chance, always the same."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return data.subset(order[:n].tolist())


def image_loss(model, data, tokens):
    """Nats an image token given the caption, a number for each piece of PIECE pictures."""
    found = []
    for k in range(0, len(data), PIECE):
        words = model.encode(data.captions[k : k + PIECE])
        with torch.no_grad():
            loss = model.transformer.loss(words, tokens[k : k + PIECE].long())
        found.append(loss["image"])
    return torch.stack(found)


def true_claims(model, captions):
    """(true claims, claims) of one picture a caption."""
    x = model(captions, seed=list(range(len(captions)))).images
    verdicts = [v for i, c in enumerate(captions) for v in verify(x[i], c).values()]
    return sum(map(bool, verdicts)), len(verdicts)


def examine(model, exam, captions, before=None):
    """A row of the study, and the losses it was made of."""
    model.eval()
    losses = {name: image_loss(model, *held) for name, held in exam.items()}
    row = {name: round(loss.mean().item(), 4) for name, loss in losses.items()}
    for name, was in (before or {}).items():
        change = losses[name] - was
        row[f"{name}_error"] = round((change.std() / len(change) ** 0.5).item(), 4)
    row["true"], row["claims"] = true_claims(model, captions)
    return row, losses


def tune(model, data, tokens, frozen, args):
    """Go on training the transformer; the text's share of the loss is a thousandth."""
    torch.manual_seed(0)
    net = model.transformer
    for name, p in net.named_parameters():
        p.requires_grad_(not (frozen and (".attend." in name or ".mlp." in name)))
    learning = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, args.lr, betas=(0.9, 0.99), weight_decay=0.0)
    order = torch.randperm(len(data)).tolist()
    net.train()
    for step in range(args.steps):
        start = step * args.batch % (len(data) - args.batch)
        rows = order[start : start + args.batch]
        words = model.encode([data.captions[i] for i in rows])
        with torch.autocast("cpu", torch.bfloat16):
            loss = net.loss(words, tokens[rows].long(), text_weight=1e-3)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: {loss.item():.3f}", flush=True)
    return sum(p.numel() for p in learning)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=170)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--out", type=Path, default=Path("nbs/readings/studies"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = DALLE.from_pretrained("dalle-small")
    art = emoji()
    data = some(art.split("train"), PICTURES)
    tokens = model.tokens_of(data)["tokens"]
    held_out = shapes(EXAM, seed=1, split="test")
    sets = {"seen": data, "concept": art.split("concept"), "style": art.split("pair")}
    sets["shapes"] = held_out
    exam = {}
    for name, held in sets.items():
        held = some(held, EXAM)
        exam[name] = held, model.tokens_of(held)["tokens"]
    captions = held_out.captions[:60]
    found, sheet, before = {}, [], None
    for way in ("before", "all weights", "frozen"):
        own = DALLE.from_pretrained("dalle-small")
        learned = tune(own, data, tokens, way == "frozen", args) if way != "before" else 0
        row, losses = examine(own, exam, captions, before)
        before = before or losses
        found[way] = {"learned": learned} | row
        print(way, found[way], flush=True)
        sheet += list(own(list(SHOWN), seed=list(range(len(SHOWN)))).images)
    parts = dict(steps=args.steps, batch=args.batch, lr=args.lr, pictures=PICTURES)
    weights = read_json(find_pretrained("dalle-small") / "card.json")["sha256"]
    start = {"command": "python scripts/study_emojich.py", "weights": weights}
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "emojich.json", start | parts | {"shown": SHOWN, "rows": found})
    to_picture(tile(sheet, cols=len(SHOWN))).save(args.out / "emojich.png", optimize=True)


if __name__ == "__main__":
    main()
