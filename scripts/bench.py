"""Measure how fast the course is, against peers where there are some, and print one table:
figure, target, met or not.

make bench                                 # everything, about four minutes on two cores python
scripts/bench.py --only unet ddim   # some of it: unet ddim transformer clip sd draw cold import
python scripts/bench.py --rounds 9 --out bench.md

We and the peer run in turns, A B A B, in one process with one thread; the ratio is the median
over the rounds of (our CPU seconds / theirs), so that a busy machine slows both. Seconds a user
waits for (pictures, cold start, import) are wall-clock: measure them on a quiet machine.
Parameters and FLOPs (one forward pass, one picture) are counted and printed; ours may not be
the smaller one.
"""

import argparse, resource, statistics, subprocess, sys, tempfile, time
from pathlib import Path

ROWS = []  # (what, figure, target, met or None)


def say(text):
    print(text, file=sys.stderr, flush=True)


def row(what, figure, target, met=None):
    """Add a line to the table. met: True, False, or None where there is no target."""
    ROWS.append((what, figure, target, met))
    say(f"  {what}: {figure}" + (f" (target: {target})" if target else ""))


def table() -> str:
    """All rows as a Markdown table whose columns line up."""
    lines = [("what", "measured", "target", ""), ("---",) * 4]
    lines += [
        (what, figure, target, {True: "met", False: "NOT met", None: ""}[met])
        for what, figure, target, met in ROWS
    ]
    widths = [max(map(len, column)) for column in zip(*lines)]

    def row(line):
        cells = [cell.ljust(w, "-" if cell == "---" else " ") for cell, w in zip(line, widths)]
        return f"| {' | '.join(cells)} |"

    return "\n".join(map(row, lines))


def in_turns(runs: dict, rounds: int, clock=time.process_time) -> dict:
    """Call the runs in turns, `rounds` times after one warm-up.

    Returns {name: seconds of each round}.
    """
    seconds = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            taken = clock() - start
            if i:
                seconds[name].append(taken)
    return seconds


def ratio(seconds: dict, ours: str, theirs: str) -> float:
    """Median over the rounds of ours / theirs: neighbours in time saw the same machine."""
    return statistics.median(a / b for a, b in zip(seconds[ours], seconds[theirs]))


def spread(values) -> str:
    """Median with the smallest and the largest of a list of seconds."""
    return f"{statistics.median(values):.3f} s ({min(values):.3f}-{max(values):.3f})"


def count(model, call) -> tuple[float, float]:
    """(millions of parameters, GFLOP of call(model)); a multiply-add is two operations."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call(model)
    return sum(p.numel() for p in model.parameters()) / 1e6, counter.get_total_flops() / 1e9


def unets():
    """Our U-Net and diffusers' at 32x32, about 6.5 M parameters and 3.1 GFLOP, attention at 16:
    {name: callable (x, t) -> prediction}, models.
    """
    import torch
    from t2i_course.published.references import reference

    UNet2DModel = reference("diffusers").UNet2DModel
    from t2i_course.networks.unet import UNet

    torch.manual_seed(0)
    ours = UNet(channels=(80, 160, 128), attention=(1,), patch=1, head_dim=16)
    theirs = UNet2DModel(
        sample_size=32,
        block_out_channels=(64, 128, 128),
        layers_per_block=2,
        norm_num_groups=32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    return ours, theirs, {"ours": ours, "diffusers": lambda x, t: theirs(x, t).sample}


def sizes(models: dict, *args) -> str:
    """Print parameters and FLOPs of each model at these arguments, and check that ours is not
    the smaller one.
    """
    counts = {name: count(model, lambda m: m(*args)) for name, model in models.items()}
    for name, (millions, gflop) in counts.items():
        say(f"  {name:10} {millions:.2f} M parameters, {gflop:.2f} GFLOP a forward pass")
    (our_p, our_f), (their_p, their_f) = counts.values()
    if our_p < 0.99 * their_p or our_f < 0.99 * their_f:
        raise SystemExit(
            "bench: error: our model is smaller than the peer's; the comparison would not be"
            " fair"
        )
    return f"parameters {our_p / their_p:.2f}x, FLOPs {our_f / their_f:.2f}x"


def bench_unet(rounds):
    """One training step (forward, backward, AdamW) of our U-Net against diffusers', batch 16,
    float32.
    """
    import torch

    say("U-Net training step, 32x32, batch 16, float32, 1 thread")
    ours, theirs, call = unets()
    x, t = torch.randn(16, 3, 32, 32), torch.randint(0, 1000, (16,))
    matched = sizes({"ours": ours, "diffusers": theirs}, x[:1], t[:1])

    def step(name, model):
        optimizer = torch.optim.AdamW(model.parameters(), 1e-4)

        def run():
            (call[name](x, t) - x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

        return run

    seconds = in_turns(
        {"ours": step("ours", ours), "diffusers": step("diffusers", theirs)}, rounds
    )
    for name, s in seconds.items():
        say(f"  {name:10} {spread(s)} of CPU a step")
    r = ratio(seconds, "ours", "diffusers")
    row(f"U-Net training step / diffusers ({matched})", f"{r:.2f}x", "at most 0.90x", r <= 0.9)


def bench_ddim(rounds):
    """DDIM with 50 steps, batch 2: our sampler and U-Net against diffusers' scheduler and
    U-Net; and what each sampler costs by itself.
    """
    import torch
    from t2i_course.published.references import reference

    DDIMScheduler = reference("diffusers").DDIMScheduler
    from t2i_course.ddpm import ddim
    from t2i_course.diffusion import Schedule

    say("DDIM, 50 steps, batch 2, float32, 1 thread")
    _, _, call = unets()
    schedule, scheduler = Schedule.linear(), DDIMScheduler(
        1000, timestep_spacing="linspace", clip_sample=True
    )
    scheduler.set_timesteps(50)
    x_T = torch.randn(2, 3, 32, 32)

    def ours(denoiser):
        for step in ddim(lambda x, t, cond: denoiser(x, t), schedule, x_T, num_steps=50):
            pass

    def theirs(denoiser):  # the loop of DDIMPipeline
        x = x_T
        for t in scheduler.timesteps:
            x = scheduler.step(denoiser(x, t), t, x).prev_sample

    def free(x, t):
        return x_T  # a denoiser that costs nothing: what is left is the sampler

    with torch.no_grad():
        whole = in_turns(
            {
                "ours": lambda: ours(call["ours"]),
                "diffusers": lambda: theirs(call["diffusers"]),
            },
            max(2, rounds // 2),
        )
        alone = in_turns(
            {"ours": lambda: ours(free), "diffusers": lambda: theirs(free)}, 4 * rounds
        )
    for name in whole:
        say(
            f"  {name:10} {spread(whole[name])} of CPU for 50 steps, of which the sampler"
            f" {statistics.median(alone[name]) * 1000:.1f} ms"
        )
    r = ratio(whole, "ours", "diffusers")
    row("DDIM-50, batch 2 / diffusers", f"{r:.2f}x", "at most 0.90x", r <= 0.9)
    share = statistics.median(alone["ours"]) / (
        statistics.median(whole["ours"]) - statistics.median(alone["ours"])
    )
    row("the sampler's own cost / the network's", f"{share:.2%}", "under 2%", share < 0.02)


def bench_transformer(rounds):
    """Writing 256 tokens with the key-value cache, width 256, 6 blocks, 4 rows: our stack
    against GPT-2 of transformers.
    """
    import torch
    from torch import nn
    from t2i_course.published.references import reference

    GPT2Config, GPT2LMHeadModel = (
        getattr(reference("transformers"), name) for name in ("GPT2Config", "GPT2LMHeadModel")
    )
    from t2i_course.networks.transformer import Transformer

    say("256 tokens with the cache, width 256, 6 blocks, 4 rows, 1 thread")
    torch.manual_seed(0)

    class Ours(nn.Module):
        def __init__(self):
            super().__init__()
            self.token_embedding = nn.Embedding(1024, 256)
            self.position_embedding = nn.Parameter(0.02 * torch.randn(256, 256))
            self.stack = Transformer(256, 6, 8, causal=True, activation="gelu_tanh")
            self.head = nn.Linear(256, 1024, bias=False)
            self.head.weight = self.token_embedding.weight

        def forward(self, ids, cache=None):
            seen = len(cache) if cache is not None else 0
            positions = self.position_embedding[seen : seen + ids.shape[1]]
            return self.head(self.stack(self.token_embedding(ids) + positions, cache=cache))

    ours = Ours()
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=1024,
            n_positions=256,
            n_embd=256,
            n_layer=6,
            n_head=8,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()
    start = torch.zeros(4, 1, dtype=torch.long)
    matched = sizes({"ours": ours, "GPT-2": theirs}, start)

    def write_ours():
        ids, cache = start, ours.stack.new_cache(4, 256)
        for _ in range(255):
            ids = ours(ids, cache)[:, -1:].argmax(-1)

    def write_theirs():
        ids, past = start, None
        for _ in range(255):
            out = theirs(ids, past_key_values=past, use_cache=True)
            ids, past = out.logits[:, -1:].argmax(-1), out.past_key_values

    with torch.no_grad():
        seconds = in_turns({"ours": write_ours, "GPT-2": write_theirs}, max(3, rounds // 2))
    for name, s in seconds.items():
        say(
            f"  {name:10} {spread(s)} of CPU, {4 * 255 / statistics.median(s):.0f} rows x"
            " tokens a second"
        )
    r = ratio(seconds, "ours", "GPT-2")
    row(
        f"writing 256 tokens / transformers' GPT-2 ({matched})",
        f"{r:.2f}x",
        "at most 0.91x (1.1x the tokens a second)",
        r <= 1 / 1.1,
    )


def bench_clip(rounds):
    """Pictures and captions a second through both towers of CLIP ViT-B/32: ours against
    open_clip's, the same weights, float32.

    Ours may do less work for the same vectors: the last block runs at one place only, and
    captions are cut to the longest of their batch.
    """
    import torch
    from t2i_course.clip import CLIP, PUBLISHED, published_names
    from t2i_course.storage import load_strictly
    from t2i_course.data.emoji import records
    from t2i_course.published.references import reference

    say("CLIP ViT-B/32, float32, 1 thread")
    open_clip = reference("open_clip")
    torch.manual_seed(0)
    theirs = open_clip.model.CLIP(
        512,
        dict(layers=12, width=768, head_width=64, patch_size=32, image_size=224),
        dict(context_length=77, vocab_size=49408, width=512, heads=8, layers=12),
        quick_gelu=True,
    ).eval()
    ours = load_strictly(
        CLIP(**PUBLISHED["openai/clip-vit-base-patch32"]).eval(),
        published_names(theirs.state_dict()),
    )
    x, ids = torch.rand(4, 3, 224, 224) * 2 - 1, open_clip.tokenizer.SimpleTokenizer()(
        [f"{r['label']}, noto style" for r in records("noto")[::100]][:16]
    )
    short = ids[:, : int(ids.argmax(-1).max()) + 1]
    pairs = {
        "pictures": (len(x), lambda: ours.image_encoder(x), lambda: theirs.encode_image(x)),
        "captions, all 77 places": (
            len(ids),
            lambda: ours.text_encoder(ids),
            lambda: theirs.encode_text(ids),
        ),
        f"captions, cut to {short.shape[1]} places by ours": (
            len(ids),
            lambda: ours.text_encoder(short),
            lambda: theirs.encode_text(ids),
        ),
    }
    for what, (n, our_run, their_run) in pairs.items():
        with torch.no_grad():
            if not torch.allclose(our_run(), their_run(), rtol=1e-3, atol=1e-4):
                raise SystemExit(f"bench: error: ours and open_clip's differ on {what}")
            seconds = in_turns({"ours": our_run, "open_clip": their_run}, rounds)
        for name, s in seconds.items():
            say(
                f"  {name:10} {spread(s)} of CPU, {n / statistics.median(s):.1f}"
                f" {what.split(',')[0]} a second"
            )
        r = ratio(seconds, "ours", "open_clip")
        row(f"CLIP ViT-B/32, {what} / open_clip's time", f"{r:.2f}x", "at most 1.00x", r <= 1)


def tiny_stable_diffusion(folder):
    """A Stable Diffusion of random weights, 3 levels of 32, 64, 64 channels on latents of
    16x16, saved by diffusers and loaded by ours: (ours, diffusers' pipeline).
    """
    import gzip, torch
    from t2i_course.ldm import LatentDiffusion
    from t2i_course.published.references import reference

    open_clip, transformers, diffusers = (
        reference("open_clip"),
        reference("transformers"),
        reference("diffusers"),
    )
    for library in (transformers, diffusers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    lines = (
        gzip.open(Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz")
        .read()
        .decode()
        .split("\n")
    )
    vocabulary = open_clip.tokenizer.SimpleTokenizer().encoder | {
        "<|startoftext|>": 49406,
        "<|endoftext|>": 49407,
    }
    words = transformers.CLIPTokenizer(
        vocab=vocabulary,
        merges=[tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]],
        model_max_length=77,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=49408,
            hidden_size=32,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            hidden_act="quick_gelu",
        )
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=2,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=32,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        norm_num_groups=8,
        cross_attention_dim=32,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(
        1000,
        0.00085,
        0.012,
        "scaled_linear",
        algorithm_type="dpmsolver++",
        final_sigmas_type="zero",
        timestep_spacing="trailing",
        steps_offset=1,
    )
    pipe = diffusers.StableDiffusionPipeline(
        vae,
        text,
        words,
        unet,
        scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    words.backend_tokenizer.model.save(f"{folder}/tokenizer")
    return LatentDiffusion.from_published(folder), pipe


def bench_sd(rounds):
    """A tiny random Stable Diffusion, prompt to picture, 30 guided steps of DPM-Solver++, the
    same weights: ours against diffusers' pipeline.
    """
    import torch

    say("Tiny random Stable Diffusion, 30 guided steps, float32, 1 thread")
    with tempfile.TemporaryDirectory() as folder:
        ours, pipe = tiny_stable_diffusion(folder)
    z_T = ours.noise([torch.Generator().manual_seed(0)])
    runs = {
        "ours": lambda: ours(PROMPT, num_steps=30, seed=0).images / 2 + 0.5,
        "diffusers": (
            lambda: pipe(
                PROMPT,
                latents=z_T.clone(),
                num_inference_steps=30,
                guidance_scale=ours.options.guidance,
                output_type="pt",
            ).images
        ),
    }
    gap = float((runs["ours"]() - runs["diffusers"]()).abs().max())
    if gap > 1e-4:
        raise SystemExit(f"bench: error: ours and diffusers' pictures differ by {gap:.1e}")
    seconds = in_turns(runs, 2 * rounds)
    for name, s in seconds.items():
        say(f"  {name:10} {spread(s)} of CPU a picture")
    r = ratio(seconds, "ours", "diffusers")
    row(
        "tiny Stable Diffusion, 30 guided steps / diffusers' pipeline",
        f"{r:.2f}x",
        "at most 0.90x",
        r <= 0.9,
    )
    if not torch.cuda.is_available():
        return
    ours, pipe = ours.to("cuda"), pipe.to("cuda")
    ours.diffusion.network.compile()

    def fast():
        with torch.autocast("cuda", torch.bfloat16):
            return ours(PROMPT, num_steps=30, seed=0).images

    on_gpu = lambda: pipe(
        PROMPT,
        latents=z_T.clone().cuda(),
        num_inference_steps=30,
        guidance_scale=ours.options.guidance,
        output_type="pt",
    ).images.cpu()
    r = ratio(
        in_turns({"ours": fast, "diffusers": on_gpu}, 2 * rounds, time.perf_counter),
        "ours",
        "diffusers",
    )
    row(
        f"the same on {torch.cuda.get_device_name()}, ours in bfloat16 and compiled",
        f"{r:.2f}x",
        "at most 0.60x",
        r <= 0.6,
    )


def drawing_model(folder, system):
    """(a name or folder that loads, words for the table): a system's shipped model, or an
    untrained one of its size, which is as fast.
    """
    from t2i_course.storage import shipped
    from t2i_course.measure.evaluation import SYSTEMS

    if (name := SYSTEMS[system].weights) in shipped():
        return name, ""
    SYSTEMS[system].load_class().create([PROMPT, "a fox, noto style"]).save_pretrained(folder)
    return folder, ", untrained weights"


PROMPT = "two red circles on a white background"
DRAW_LIMITS = {
    "pixel": 2,
    "ldm": 2,
    "glide": 4,
    "unclip": 5,
    "imagen": 5,
}  # seconds with two threads


def bench_draw(rounds):
    """Four pictures of each system's size, 30 guided steps, warm, with 1 and with 2 threads:
    wall-clock seconds.
    """
    import torch
    from t2i_course.measure.evaluation import load_system

    say("Four pictures, 30 guided steps, warm")
    for system, seconds in DRAW_LIMITS.items():
        with tempfile.TemporaryDirectory() as folder:
            name, note = drawing_model(folder, system)
            model = load_system(name)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            cpu = time.process_time()
            wall = in_turns(
                {"draw": lambda: model(PROMPT, n=4, guidance=3.0, num_steps=30)},
                rounds,
                time.perf_counter,
            )["draw"]
            cpu = (time.process_time() - cpu) / (rounds + 1)
            limit = statistics.median(wall) < seconds if threads == 2 else None
            row(
                f"{system}: four pictures of {model.image_size} px, 30 guided steps, warm,"
                f" {threads} thread{'s'[:threads - 1]}{note}",
                f"{spread(wall)}, {cpu:.2f} s of CPU",
                f"under {seconds} s" if threads == 2 else "",
                limit,
            )
    torch.set_num_threads(1)


def children_cpu() -> float:
    """CPU seconds of all processes started here that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bench_cold(rounds):
    """`t2i draw` from a fresh process to the PNG on disk: wall-clock seconds."""
    say("t2i draw, cold start")
    with tempfile.TemporaryDirectory() as folder:
        name, note = drawing_model(Path(folder) / "model", "pixel")
        png = Path(folder) / "picture.png"
        command = [
            sys.executable,
            "-c",
            "import sys; from t2i_course.command.cli import main; sys.exit(main())",
            "draw",
            PROMPT,
            "--seed",
            "0",
            "--system",
            "pixel" if not note else str(name),
            "--out",
            str(png),
        ]
        wall, cpu = [], -children_cpu()
        for _ in range(3):
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            wall.append(time.perf_counter() - start)
            if done.returncode or not png.exists():
                raise SystemExit(f"bench: error: t2i draw failed: {done.stderr.strip()[-400:]}")
            png.unlink()
    cpu = (cpu + children_cpu()) / 3
    row(
        f"t2i draw, cold start{note}",
        f"{spread(wall)}, {cpu:.2f} s of CPU",
        "under 8 s",
        statistics.median(wall) < 8,
    )


def bench_import(rounds):
    """`import t2i_course` in a fresh process: wall-clock seconds, and that it leaves torch
    alone.
    """
    say("import t2i_course")
    code = (
        "import time, sys; s = time.perf_counter(); import t2i_course;"
        " print(time.perf_counter() - s, 'torch' in sys.modules)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(rounds)
    ]
    seconds, torch_loaded = [float(s) for s, _ in runs], any(t == "True" for _, t in runs)
    row(
        "import t2i_course" + (", which imports torch" if torch_loaded else ", without torch"),
        spread(seconds),
        "under 0.1 s",
        statistics.median(seconds) < 0.1 and not torch_loaded,
    )


BENCHES = {
    "unet": bench_unet,
    "ddim": bench_ddim,
    "transformer": bench_transformer,
    "clip": bench_clip,
    "sd": bench_sd,
    "draw": bench_draw,
    "cold": bench_cold,
    "import": bench_import,
}


def main():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only",
        nargs="+",
        choices=BENCHES,
        metavar="PART",
        help=f"any of: {', '.join(BENCHES)} (default: all)",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="rounds of A B A B (default: 5)"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="also write the table, as Markdown, to FILE"
    )
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("a median needs at least 2 rounds")
    try:
        import torch, diffusers, transformers
    except ImportError as e:
        raise SystemExit(
            f"bench: error: {e.name} is missing; run make bench, or pip install"
            " 't2i_course[bench]'"
        )
    torch.set_num_threads(1)
    for name in options.only or BENCHES:
        BENCHES[name](options.rounds)
    machine = (
        f"torch {torch.__version__}, diffusers {diffusers.__version__}, transformers"
        f" {transformers.__version__}, median of {options.rounds} rounds"
    )
    print(f"\n{table()}\n\n{machine}")
    if options.out:
        Path(options.out).write_text(f"{table()}\n\n{machine}\n", encoding="utf8")


if __name__ == "__main__":
    main()
