"""The command line: what it writes, what it prints, how it says no."""

import json, re, signal, subprocess, sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from t2i_course import __version__
from t2i_course.storage import WEIGHTS, check_pretrained, sum_of
from t2i_course.system import (
    CAPTION,
    Gallery,
    Options,
    Stage,
    Step,
    TextToImage,
    check_prompts,
)
from t2i_course.training.recipe import recipes_of
from t2i_course.command import cli, doctor
from t2i_course.command import draw as drawing
from t2i_course.command import train as trainer
from t2i_course.measure import board, evaluation
from t2i_course.command.cli import main

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "two red circles on a white background"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small data file and a model trained on it for two steps."""
    from t2i_course.data.captioned import shapes

    folder = tmp_path_factory.mktemp("cli")
    shapes(64, 32).save(folder / "set.safetensors")
    assert (
        main(
            [
                "train",
                "pixel",
                "--preset",
                "cpu",
                "--device",
                "cpu",
                "--steps",
                "2",
                "--data",
                str(folder / "set.safetensors"),
                "--out",
                str(folder / "run"),
            ]
        )
        == 0
    )
    return folder


@pytest.fixture
def model(place):
    return str(place / "run" / "model")


def refused(capsys, *argv, code=2):
    """Run, expect `code`, and give the one line on stderr."""
    capsys.readouterr()
    assert main([str(a) for a in argv]) == code
    out, err = capsys.readouterr()
    lines = [l for l in err.splitlines() if l]
    assert len(lines) == 1 and lines[0].startswith("t2i: error: ") and not out, err
    assert "Traceback" not in err and len(lines[0]) < 400
    return lines[0]


def in_python(code, *argv, blocked=()):
    """Run main(argv) in a fresh interpreter with some modules barred; `code` runs after it and
    sees rc.
    """
    program = f"""
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
from t2i_course.command.cli import main
rc = main(sys.argv[1:])
{code}
sys.exit(rc)"""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, argv)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


# ---------------------------------------------------------------- light commands
def test_help_shows_every_command_with_examples(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in "draw edit train evaluate systems data progress doctor".split():
        assert command in out
        assert main([command, "--help"]) == 0
        assert "examples:\n  " in capsys.readouterr().out


def test_help_in_every_way_people_ask_for_it(capsys):
    assert main(["--help"]) == 0
    whole = capsys.readouterr().out
    for argv in ([], ["help"]):
        assert main(argv) == 0 and capsys.readouterr().out == whole
    assert main(["draw", "--help"]) == 0
    of_draw = capsys.readouterr().out
    assert main(["help", "draw"]) == 0 and capsys.readouterr().out == of_draw
    assert "did you mean 'draw'" in refused(capsys, "help", "drow")


def test_the_tab_key(tmp_path, capsys):
    """The script that `t2i completion bash` prints, asked in a real bash."""
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)

    def offered(line):
        words = line.split(" ")
        code = f"""source {tmp_path / 'script'}
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
        $(complete -p t2i | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo "${{COMPREPLY[@]}}" """
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
        return done.stdout.split()

    assert offered("t2i dr") == ["draw"] and "--again" in offered("t2i draw --ag")
    assert offered("t2i draw --sampler dd") == ["ddpm", "ddim"]
    assert main(["completion", "zsh"]) == 0 and "#compdef t2i" in capsys.readouterr().out


def test_every_example_in_the_help_is_a_valid_command():
    import shlex

    lines = re.findall(r"^  t2i (.*?)(?:   .*)?$", "\n".join(cli.EXAMPLES.values()), re.M)
    assert len(lines) > 12
    for line in lines:
        cli.parser().parse_args(shlex.split(line.split(" > ")[0]))  # not where the shell writes


def test_progress_is_shown_and_reset(tmp_path, capsys, monkeypatch):
    from t2i_course.exercises.box import remember

    monkeypatch.setenv("T2I_CACHE", str(tmp_path))
    remember("ddpm.loss")
    assert main(["progress"]) == 0
    said = capsys.readouterr().out
    assert "2 The DDPM loss" in said and said.count("●") == 1 and "1 of " in said
    assert main(["progress", "--reset"]) == 0
    assert "1 solved exercises are forgotten" in capsys.readouterr().out
    assert main(["progress"]) == 0 and "●" not in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"t2i {__version__}"


@pytest.mark.parametrize(
    "argv", [["--help"], ["systems"], ["draw", "--help"], ["draw", "x", "--system", "pixle"]]
)
def test_what_needs_no_network_of_ours_does_not_load_torch(argv):
    done = in_python("assert 'torch' not in sys.modules and 'numpy' not in sys.modules", *argv)
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr


def test_systems_lists_all(capsys):
    assert main(["systems"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in evaluation.SYSTEMS)
    assert max(map(len, out.splitlines())) <= 100, "a terminal's width"


def test_the_table_of_systems_names_what_exists():
    for name, system in evaluation.SYSTEMS.items():
        cls = system.load_class()
        new = cls.create(["a fox, noto style", "two red circles on a white background"])
        stages = list(getattr(new, "stages", {"model": new}))
        for preset in ("cpu", "gpu"):
            recipes = recipes_of(name, preset)
            mine = [stage for stage in recipes if stage in stages]
            assert mine == stages, "of all stages, in their order"
            assert set(recipes) <= {*stages, "text"}, "and that of a model with a first guess"
        assert (trainer.size_of(cls) or 32) == getattr(new, "image_size", 32)


@pytest.mark.parametrize(
    "name",
    [n for n, s in evaluation.SYSTEMS.items() if not (evaluation.WEIGHTS / s.weights).is_dir()],
)
def test_a_system_that_is_not_shipped_says_so(name, capsys):
    for argv in (
        ["draw", "x", "--system", name],
        ["evaluate", name],
        ["train", name, "--preset", "cpu", "--init", "shipped"],
    ):
        said = refused(capsys, *argv)
        assert (
            "not shipped with this version; train it with: t2i train" in said
            or "does not draw" in said
        )
    assert main(["systems"]) == 0 and "not shipped" in capsys.readouterr().out


def test_doctor_mends(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.check_weights, "__defaults__", (tmp_path,))
    (tmp_path / "pixel-small").mkdir()
    (tmp_path / "pixel-small" / "model.safetensors").write_bytes(b"cut short")
    (tmp_path / "pixel-small" / "card.json").write_text('{"sha256": "0123"}')
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^!!  pixel .*damaged.*install", out, re.M) and re.search(
        r"^ok  torch", out, re.M
    )


def test_one_damaged_card_stops_neither_doctor_nor_systems(capsys, monkeypatch, tmp_path):
    """Config, card and weights: what is damaged is named, and the rest is looked at."""
    import shutil

    shutil.copytree(WEIGHTS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(doctor.check_weights, "__defaults__", (tmp_path,))
    monkeypatch.setattr(evaluation, "WEIGHTS", tmp_path)
    monkeypatch.setattr(board, "WEIGHTS", tmp_path)
    (tmp_path / "pixel-small" / "card.json").write_text("{")
    config = tmp_path / "dalle-small" / "config.json"
    config.write_text(config.read_text().replace('"image_size": 32', '"image_size": 20000'))
    weights = tmp_path / "ldm-small" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert main(["doctor"]) == 1
    lines = {l.split()[1]: l for l in capsys.readouterr().out.splitlines() if l[2:4] == "  "}
    assert "card.json" in lines["pixel"] and "image_size is 20000" in lines["dalle"]
    assert "damaged" in lines["ldm"] and "as on its card" in lines["glide"]
    bad = [name for name, line in lines.items() if line.startswith("!!")]
    assert set(bad) & set(evaluation.SYSTEMS) == {"pixel", "dalle", "ldm"}
    assert main(["systems"]) == 0
    out = capsys.readouterr().out
    share = board.read_board().rows["dalle"]["alignment"]["all_true"]
    assert out.count("damaged card") == 1 and f"{share:.2f} (" in out
    assert max(map(len, out.splitlines())) <= 100


def test_systems_as_json(capsys):
    assert main(["systems", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["system"] for r in rows] == list(evaluation.SYSTEMS)
    pixel = rows[0]
    card = evaluation.read_card(WEIGHTS / "pixel-small")
    assert pixel["shapes"] == card["scores"]["shapes"] and pixel["reading"] == 3
    assert pixel["board"]["sha256"] == card["sha256"]
    assert pixel["bytes"] == (WEIGHTS / "pixel-small" / "model.safetensors").stat().st_size


# ---------------------------------------------------------------- draw
def draw(model, out, *more):
    return main(
        [
            "draw",
            PROMPT,
            "--system",
            model,
            "--steps",
            "2",
            "--device",
            "cpu",
            "--out",
            str(out),
            *more,
        ]
    )


def test_draw_writes_a_picture_that_remembers(model, tmp_path, capsys):
    assert draw(model, tmp_path / "a.png") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.png")
    picture = Image.open(tmp_path / "a.png")
    assert (
        picture.size == (256, 256)
        and picture.mode == "RGB"
        and picture.text["prompt"] == PROMPT
    )
    assert re.fullmatch(
        r"t2i [\d.]+, system model, seed 0, guidance [\d.]+, steps 2, sampler \S+, "
        "picture 0 of 1",
        picture.text["made with"],
    )
    weights = evaluation.digest_of(Path(model))
    exact = {"seed": "0", "index": "0", "n": "1", "steps": "2", "scale": "8"}
    exact |= {"system": model, "weights": weights, "sampler": "dpm++"}
    assert exact.items() <= picture.text.items()


def test_the_same_seed_draws_the_same_picture(model, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert draw(model, tmp_path / f"{name}.png", "--seed", seed) == 0
    a, b, c = (Image.open(tmp_path / f"{n}.png").tobytes() for n in "abc")
    assert a == b != c


def test_draw_several_and_a_grid(model, tmp_path):
    assert draw(model, tmp_path / "p.png", "--n", "3", "--scale", "2") == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == ["p-0.png", "p-1.png", "p-2.png"]
    assert Image.open(tmp_path / "p-2.png").size == (64, 64)
    assert (
        draw(
            model,
            tmp_path / "grid.png",
            "--n",
            "4",
            "--grid",
            "--sampler",
            "ddim",
            "--guidance",
            "0",
        )
        == 0
    )
    assert Image.open(tmp_path / "grid.png").size == (2 * 260 - 4, 2 * (260 + CAPTION) - 4)
    assert (
        main(
            [
                "draw",
                "a",
                "b",
                "--n",
                "3",
                "--scale",
                "1",
                "--grid",
                "--system",
                model,
                "--steps",
                "1",
                "--out",
                str(tmp_path / "rows.png"),
            ]
        )
        == 0
    )
    rows = Image.open(tmp_path / "rows.png")
    assert rows.size == (3 * 36 - 4, 2 * (36 + CAPTION) - 4)  # a row for each prompt


def test_what_is_there_is_not_overwritten(model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.png").write_bytes(b"mine")
    Path("many-1.png").write_bytes(b"mine")
    for out, more in (("mine.png", []), ("many.png", ["--n", "2"])):
        said = refused(capsys, "draw", "x", "--system", model, "--out", out, *more)
        assert "is there already" in said and "--force" in said
    said = refused(capsys, "data", "--out", "mine.png", "--shapes", "1")
    assert "is there already" in said
    assert "is there already" in refused(capsys, "evaluate", model, "--out", "mine.png")
    assert "is there already" in refused(capsys, "evaluate", model, "--sheet", "mine.png")
    assert Path("mine.png").read_bytes() == Path("many-1.png").read_bytes() == b"mine"
    assert draw(model, Path("mine.png"), "--force") == 0
    assert Image.open("mine.png").size == (256, 256)
    capsys.readouterr()
    once = ["draw", "x", "--system", model, "--steps", "1"]  # no name: the next free one
    for wanted in ("picture.png", "picture-2.png", "picture-3.png"):
        assert main(once) == 0 and capsys.readouterr().out.strip() == wanted
    assert main([*once, "--n", "2"]) == 0
    assert capsys.readouterr().out.split() == ["picture-0.png", "picture-1.png"]


def test_a_sheet_that_no_memory_holds(model, capsys, tmp_path):
    argv = ["draw", "x", "--system", model, "--n", "256", "--scale", "64", "--grid"]
    assert "million pixels" in refused(capsys, *argv, "--out", tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [n for n, s in evaluation.SYSTEMS.items() if s.draws])
def test_drawn_again_byte_for_byte(name, tmp_path, capsys):
    """What a PNG says of itself is enough to draw it again, for every system."""
    argv = ["draw", PROMPT, "a red star", "--n", "2", "--seed", "7", "--system", name]
    some = ["--out", str(tmp_path / "a.png"), "--device", "cpu"]
    some += [] if name in ("swift", "gan") else ["--guidance", "2"]  # inside, or none
    some += [] if name in ("dalle", "gan") else ["--steps", "2"]
    assert main([*argv, *some]) == 0
    pictures = [(tmp_path / f"a-{i}.png").read_bytes() for i in range(4)]
    assert len(set(pictures)) == 4
    for i in (1, 2):
        out = tmp_path / f"again-{i}.png"
        argv = ["draw", "--again", str(tmp_path / f"a-{i}.png"), "--out", str(out)]
        assert main([*argv, "--device", "cpu"]) == 0
        assert out.read_bytes() == pictures[i]


def again(file, out):
    """Draw a file again, and whether the bytes are the same."""
    assert main(["draw", "--again", str(file), "--out", str(out)]) == 0
    return Path(out).read_bytes() == Path(file).read_bytes()


def test_drawn_again_grid_and_choice(painter, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = ["--system", model, "--steps", "2"]
    assert main(["draw", "a", "b", "a", "--n", "2", "--grid", "--out", "grid.png", *base]) == 0
    assert again("grid.png", "grid2.png")
    system = ["--system", str(painter / "run" / "model"), "--seed", "3"]
    assert main(["draw", "a", *system, "--rerank", "5", "--n", "2", "--out", "best.png"]) == 0
    assert again("best-1.png", "best2.png")
    Image.new("RGB", (64, 64), "blue").save("blue.png")
    Image.new("L", (64, 64), 255).save("mask.png")
    assert main(["edit", "blue.png", "x", "--mask", "mask.png", *system, "--out", "e.png"]) == 0
    assert again("e.png", "e2.png")
    assert main(["draw", "x", "--init-image", "blue.png", *system, "--out", "i.png"]) == 0
    assert again("i.png", "i2.png")
    Image.new("RGB", (64, 64), "red").save("blue.png")
    assert "not here as it was" in refused(capsys, "draw", "--again", "i.png")
    shipped = ["--system", "pixel-small"]
    assert "other weights" in refused(capsys, "draw", "--again", "grid.png", *shipped)
    Image.new("RGB", (8, 8)).save("plain.png")
    assert "does not say how it was made" in refused(capsys, "draw", "--again", "plain.png")
    assert "cannot be read as PNG" in refused(capsys, "draw", "--again", __file__)
    assert "no picture none.png" in refused(capsys, "draw", "--again", "none.png")
    for more in (["x"], ["--n", "2"], ["--seed", "1"], ["--grid"], ["--guidance", "3"]):
        assert "leave" in refused(capsys, "draw", "--again", "grid.png", *more)


@pytest.mark.parametrize(
    "change",
    [
        {"n": "0"},
        {"n": "1000000000"},
        {"scale": "100000"},
        {"seed": "-1"},
        {"seed": "x"},
        {"guidance": "nan"},
        {"index": "5"},
        {"columns": "3", "pictures": "[" * 9000},
        {"columns": "3", "pictures": '[["a"]]'},
        {"columns": "3", "pictures": "[]"},
        {"prompt": ""},
        {"weights": "0" * 64},
        {"system": "../../none"},
    ],
)
def test_a_picture_that_lies_about_itself(change, model, tmp_path, capsys):
    from PIL.PngImagePlugin import PngInfo

    assert draw(model, tmp_path / "a.png") == 0
    picture, info = Image.open(tmp_path / "a.png"), PngInfo()
    for key, value in (picture.text | change).items():
        info.add_itxt(key, value)
    picture.save(tmp_path / "b.png", pnginfo=info)
    refused(capsys, "draw", "--again", tmp_path / "b.png", "--out", tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_draw_loads_no_training_library(model, tmp_path):
    done = in_python(
        "assert not {'accelerate', 'transformers', 'matplotlib', 'diffusers'} &"
        " set(sys.modules)",
        "draw",
        "a fox",
        "--style",
        "noto",
        "--system",
        model,
        "--steps",
        2,
        "--out",
        tmp_path / "fox.png",
    )
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "fox.png").text["prompt"] == "fox, noto style"


def test_names_of_emoji_get_the_style_in_which_they_were_learned(capsys):
    from t2i_course.command.draw import in_a_style, knows_emoji, say_style, styled

    asked = ["a fox", "The  Fox ", "a red star on a white background", "a fox, fluent style"]
    told = in_a_style(asked)
    assert told == ["fox, noto style"] * 2 + asked[2:]
    say_style(asked, told)
    assert capsys.readouterr().err.count("--style none") == 2
    assert styled(["a fox", "a zebra on ice"], "fluent") == [
        "fox, fluent style",
        "a zebra on ice, fluent style",
    ]
    assert styled(["a fox"], "none") == ["a fox"]
    assert knows_emoji("ldm") and knows_emoji("pixel") and not knows_emoji("gan")


@pytest.mark.parametrize(
    "argv, says",
    [
        (
            [
                "",
            ],
            "prompt is empty",
        ),
        (["   "], "prompt is empty"),
        ([], "required: prompt"),
        (["very " * 200], "tokens and the model reads"),
        (["x", "--style", "nito"], "did you mean noto"),
        (["x", "--guidance", "31"], "from 0 to 30"),
        (["x", "--guidance", "nan"], "not a number"),
        (["x", "--steps", "0"], "from 1 to 1000"),
        (["x", "--steps", "2.5"], "whole number"),
        (["x", "--n", "0"], "from 1 to 256"),
        (["x", "y", "--n", "200"], "too many"),
        (["x", "--sampler", "dmp++"], "did you mean 'dpm++'"),
        (["x", "--out", "x.jpg"], "ends in .png"),
        (["x", "--seed", "-1"], "from 0"),
        (["x", "--colour"], "unrecognized"),
        (["x", "--system", "no/such/place"], "unknown system"),
    ],
)
def test_draw_says_what_is_wrong(argv, says, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    system = [] if "--system" in argv else ["--system", model]
    assert says in refused(capsys, "draw", *argv, *system)
    assert not list(tmp_path.iterdir())


def test_nearest_system_is_suggested(capsys):
    assert "did you mean 'pixel'" in refused(capsys, "draw", "x", "--system", "pixle")
    assert "did you mean 'draw'" in refused(capsys, "darw", "x")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(model, capsys, tmp_path):
    for argv in (
        ["draw", "x", "--system", model, "--out", tmp_path / "x.png"],
        ["evaluate", model],
        ["train", "pixel", "--preset", "cpu", "--out", tmp_path / "run"],
    ):
        assert "no cuda device here" in refused(capsys, *argv, "--device", "cuda")
    assert "use --preset cpu" in refused(
        capsys, "train", "pixel", "--preset", "gpu", "--out", tmp_path / "run"
    )
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(model, place, capsys, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    assert "not a folder" in refused(
        capsys, "draw", "x", "--system", model, "--out", tmp_path / "file" / "x.png"
    )
    assert "it is a folder" in refused(
        capsys, "draw", "x", "--system", model, "--out", tmp_path / "folder.png"
    )
    assert "not a folder" in refused(
        capsys, "data", "--out", tmp_path / "file" / "x.safetensors"
    )
    assert "not a folder" in refused(
        capsys,
        "train",
        "pixel",
        "--preset",
        "cpu",
        "--data",
        place / "set.safetensors",
        "--out",
        tmp_path / "file" / "run",
    )
    assert "not a folder" in refused(
        capsys, "evaluate", model, "--out", tmp_path / "file" / "card.json"
    )


def test_a_full_disk_leaves_what_was_there(model, tmp_path, capsys, monkeypatch):
    assert draw(model, tmp_path / "a.png") == 0
    before = (tmp_path / "a.png").read_bytes()

    def full(self, file, *args, **kwargs):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert draw(model, tmp_path / "a.png", "--seed", "5", "--force") == 2
    assert "No space left" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "a.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


# ---------------------------------------------------------------- train
def test_train_leaves_a_model_with_its_card(place, model):
    assert {f.name for f in Path(model).iterdir()} >= {
        "config.json",
        "model.safetensors",
        "card.json",
        "history.json",
    }
    card = json.loads((Path(model) / "card.json").read_text())
    assert (
        card["name"] == "pixel-small"
        and card["steps"] == 2
        and card["images_seen"] == 2 * card["recipe"]["batch_size"]
        and card["preset"] == "cpu"
    )
    assert (
        card["sha256"] == evaluation.digest_of(Path(model))
        and "64 shapes" in card["trained_on"]
        and "Apache" in card["licence"]
    )
    assert card["parameters"] == sum(
        p.numel() for p in evaluation.load_system(model).parameters()
    )


def test_train_goes_on_where_it_stopped(place, capsys):
    again = [
        "train",
        "pixel",
        "--preset",
        "cpu",
        "--device",
        "cpu",
        "--data",
        str(place / "set.safetensors"),
        "--out",
        str(place / "again"),
        "--steps",
    ]
    assert (
        main([*again, "1"]) == 0
        and main([*again, "2", "--export", str(place / "elsewhere")]) == 0
    )
    history = json.loads((place / "elsewhere" / "history.json").read_text())
    assert [h["step"] for h in history] == [1, 2]
    assert main([*again, "2"]) == 0  # nothing left to do is no mistake
    assert json.loads((place / "again" / "model" / "history.json").read_text()) == history


def test_train_from_weights_and_evaluate_need_few_libraries(place, model):
    barred = (
        "matplotlib",
        "scipy",
        "resvg_py",
        "transformers",
        "diffusers",
        "ipywidgets",
        "anywidget",
        "IPython",
        "nbdev",
        "tensorboard",
        "pandas",
    )
    done = in_python(
        "",
        "train",
        "pixel",
        "--preset",
        "cpu",
        "--device",
        "cpu",
        "--steps",
        1,
        "--init",
        model,
        "--data",
        place / "set.safetensors",
        "--out",
        place / "small",
        blocked=barred,
    )
    assert done.returncode == 0, done.stderr
    assert (
        json.loads((place / "small" / "model" / "card.json").read_text())["started_from"]
        == "model"
    )
    done = in_python(
        "",
        "evaluate",
        place / "small" / "model",
        "--captions",
        2,
        "--steps",
        1,
        "--guidance",
        1,
        2,
        "--sheet",
        place / "sheet.png",
        blocked=barred,
    )
    assert done.returncode == 0, done.stderr
    assert Image.open(place / "sheet.png").width > 200


def test_a_data_file_cut_short_or_of_another_size(place, capsys, tmp_path):
    whole = (place / "set.safetensors").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text").write_text("not pictures")
    from t2i_course.data.captioned import shapes

    shapes(2, 64).save(tmp_path / "large")
    train = ["train", "pixel", "--preset", "cpu", "--out", tmp_path / "run", "--data"]
    assert (
        "cut" in (said := refused(capsys, *train, tmp_path / "cut"))
        and "t2i data --out" in said
    )
    assert "t2i data --out" in refused(
        capsys, *train, tmp_path / "text"
    ) and "t2i data --out" in refused(capsys, *train, tmp_path / "missing")
    assert "64 pixels" in refused(capsys, *train, tmp_path / "large")
    assert not (tmp_path / "run").exists()


def test_ctrl_c_is_answered_in_one_line(place, capsys, monkeypatch, tmp_path):
    from t2i_course.training import loop as training

    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # pytest may itself have been started with Ctrl-C ignored, as shells do with `&`
    monkeypatch.setattr(
        training, "train", lambda *args, **options: signal.raise_signal(signal.SIGINT)
    )
    assert (
        main(
            [
                "train",
                "pixel",
                "--preset",
                "cpu",
                "--device",
                "cpu",
                "--data",
                str(place / "set.safetensors"),
                "--out",
                str(tmp_path / "run"),
            ]
        )
        == 130
    )
    signal.signal(signal.SIGINT, before)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("t2i: training stopped; the same command goes on")


def test_a_run_that_fails_has_another_code_than_a_wrong_request(
    place, capsys, monkeypatch, tmp_path
):
    from t2i_course.training import loop as training

    def diverge(*args, **options):
        raise ValueError("the loss is nan at step 3; lower the learning rate")

    monkeypatch.setattr(training, "train", diverge)
    argv = [
        "train",
        "pixel",
        "--preset",
        "cpu",
        "--device",
        "cpu",
        "--data",
        str(place / "set.safetensors"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert (
        main(argv) == 1
        and capsys.readouterr().err.splitlines()[-1]
        == "t2i: error: training failed: the loss is nan at step 3; lower the learning rate"
    )

    def bug(*args, **options):
        raise RuntimeError("out of memory\nwith more lines")

    monkeypatch.setattr(training, "train", bug)
    assert main(argv) == 1 and "T2I_DEBUG" in capsys.readouterr().err.splitlines()[-1]


# ---------------------------------------------------------------- systems of several networks,
# and what only some systems can do
@dataclass(frozen=True)
class PainterOptions(Options):
    """What the command line may ask it for."""

    guidance: float = 2.0
    num_steps: int | None = None


class Painter(TextToImage):
    """Two networks: one learns the mean colour of all pictures, the other to repeat it.

    Draws that colour, a little off for each noise.
    """

    options = PainterOptions()

    def __init__(self, image_size: int = 64):
        super().__init__()
        self.image_size = image_size
        self.colour, self.echo = torch.nn.Linear(1, 3), torch.nn.Linear(3, 3)

    @classmethod
    def create(cls, captions):
        return cls()

    @property
    def stages(self):
        return {
            "colour": Stage(self.colour, self.colour_loss),
            "echo": Stage(
                self.echo,
                self.echo_loss,
                lambda data: {"mean": data.images.float().mean((2, 3)) / 127.5 - 1},
            ),
        }

    def colour_loss(self, batch):
        return {
            "loss": (
                (self.colour(torch.ones(len(batch["image"]), 1)) - batch["image"].mean((2, 3)))
                .square()
                .mean()
            )
        }

    def echo_loss(self, batch):
        return {"loss": (self.echo(batch["mean"]) - self.colour.bias.detach()).square().mean()}

    @torch.no_grad()
    def draw(self, prompts, options, generators):
        light = torch.cat([torch.rand(1, generator=g) * 1.8 - 0.9 for g in generators])
        size = self.image_size
        yield Step(0, 1, -1, light[:, None, None, None].expand(-1, 3, size, size), None)

    def edit(self, image, mask, prompts, *, n=1, guidance=None, num_steps=None, seed=0):
        assert image.shape == (1, 3, 64, 64) and mask.shape == (1, 1, 64, 64)
        prompts = check_prompts(prompts, n)
        return Gallery((image * (1 - mask) + mask).expand(len(prompts), -1, -1, -1), prompts)

    def image_to_image(
        self, image, prompts, *, strength, n=1, guidance=None, num_steps=None, seed=0
    ):
        prompts = check_prompts(prompts, n)
        return Gallery(
            ((1 - strength) * image + strength).expand(len(prompts), -1, -1, -1), prompts
        )


class Lamp:
    """In CLIP's place: likes light pictures."""

    image_size = 32

    def similarity(self, images, caption):
        return images.mean((1, 2, 3))


@pytest.fixture(scope="module")
def painter_place(tmp_path_factory):
    """A folder with 64-pixel data and both stages of the Painter trained."""
    from t2i_course.data.captioned import shapes

    folder = tmp_path_factory.mktemp("painter")
    shapes(16, 64).save(folder / "set.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(evaluation.SYSTEMS, "painter", PAINTER)
        assert main(train_painter(folder, folder / "run")) == 0
    return folder


PAINTER = evaluation.System(__name__, "Painter", "painter-small", 9, "for tests")
PAINTERS_RECIPE = """
[cpu.colour]
steps = 6
batch_size = 8
warmup = 1

[cpu.echo]
steps = 4
batch_size = 8
warmup = 1
precision = "bf16"
"""


def train_painter(place, out, *more):
    recipe = place / "painter.toml"
    recipe.write_text(PAINTERS_RECIPE)
    return [
        str(a)
        for a in (
            "train",
            "painter",
            "--preset",
            "cpu",
            "--device",
            "cpu",
            "--data",
            place / "set.safetensors",
            "--recipe",
            recipe,
            "--out",
            out,
            *more,
        )
    ]


@pytest.fixture
def painter(painter_place, monkeypatch):
    monkeypatch.setitem(evaluation.SYSTEMS, "painter", PAINTER)
    load = drawing.load_system
    for module in (drawing, evaluation):
        monkeypatch.setattr(
            module,
            "load_system",
            lambda name, device="cpu": Lamp() if name == "clip-small" else load(name, device),
        )
    return painter_place


def read(folder, name="card.json"):
    return json.loads((Path(folder) / "model" / name).read_text())


def test_all_stages_in_order_each_with_its_checkpoint_and_record(painter):
    run = painter / "run"
    assert sorted(p.name for p in run.iterdir()) == [".lock", "model", "stages"]
    for stage in ("colour", "echo"):
        assert (run / "stages" / stage / "checkpoint.safetensors").is_file()
    card, history = read(run), read(run, "history.json")
    assert (
        list(card["stages"]) == list(history) == ["colour", "echo"]
        and card["image_size"] == 64
        and "recipe" not in card
    )
    echo = card["stages"]["echo"]
    assert (
        echo["steps"] == 4
        and echo["images_seen"] == 32
        and echo["recipe"]["precision"] == "bf16"
        and echo["loss"] == history["echo"][-1]["loss"]
        and "minutes" in echo
    )
    assert card["sha256"] == evaluation.digest_of(run / "model") and card["minutes"] == sum(
        s["minutes"] for s in card["stages"].values()
    )


def test_one_stage_after_the_other_is_the_same_as_both(painter, tmp_path, capsys):
    said = refused(capsys, *train_painter(painter, tmp_path / "x", "--stage", "echo"))
    assert "builds on 'colour'" in said and "--init" in said
    for wrong in ("ehco", ""):
        assert f"no stage {wrong!r}; there are colour, echo" in refused(
            capsys, *train_painter(painter, tmp_path / "x", "--stage", wrong)
        )
    assert "no stage 'echo'; there is only model" in refused(
        capsys, "train", "pixel", "--preset", "cpu", "--stage", "echo", "--out", tmp_path / "x"
    )
    assert not (tmp_path / "x").exists()
    assert main(train_painter(painter, tmp_path / "x", "--stage", "colour")) == 0 and list(
        read(tmp_path / "x")["stages"]
    ) == ["colour"]
    assert main(train_painter(painter, tmp_path / "x", "--stage", "echo")) == 0

    def weights(folder):
        return evaluation.load_system(folder / "model").state_dict()

    apart, together = weights(tmp_path / "x"), weights(painter / "run")
    assert all(
        torch.allclose(apart[k], v, atol=2e-3)
        for k, v in together.items()
        if k.startswith("colour")
    ) and list(read(tmp_path / "x")["stages"]) == ["colour", "echo"]


def test_another_run_is_not_gone_on_with(painter, capsys):
    """What would make the steps so far others than they were is refused; nothing changes."""
    run = painter / "run"
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for wish, words in (
        (["--seed", "5"], "seed was 0 and is 5"),
        (["--lr", "0.5"], "lr was 0.001 and is 0.5"),
        (["--init", run / "model"], "the first weights were None and are"),
        (["--steps", "5"], "is at step 6, and 5 were asked for"),
    ):
        assert main(train_painter(painter, run, *wish)) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert words in said and "checkpoint.safetensors" in said, said
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    assert main(train_painter(painter, run)) == 0, "and its own goes on"


def test_two_runs_in_one_folder(painter, tmp_path, capsys):
    with trainer.alone_in(tmp_path / "x"):
        assert main(train_painter(painter, tmp_path / "x")) == 2
    assert "another t2i train is at work" in capsys.readouterr().err.splitlines()[-1]
    assert [p.name for p in (tmp_path / "x").iterdir()] == [".lock"]


def test_one_stage_anew_from_weights_keeps_the_others(painter, tmp_path):
    argv = train_painter(
        painter,
        tmp_path / "more",
        "--stage",
        "echo",
        "--init",
        str(painter / "run" / "model"),
        "--steps",
        "2",
    )
    assert main(argv) == 0
    before, after = read(painter / "run"), read(tmp_path / "more")
    assert (
        after["stages"]["colour"] == before["stages"]["colour"]
        and after["stages"]["echo"]["steps"] == 2
        and after["stages"]["echo"]["started_from"] == "model"
    )
    assert (
        read(tmp_path / "more", "history.json")["colour"]
        == read(painter / "run", "history.json")["colour"]
    )
    old, new = (
        evaluation.load_system(f / "model").state_dict()
        for f in (painter / "run", tmp_path / "more")
    )
    assert torch.equal(old["colour.weight"], new["colour.weight"]) and not torch.equal(
        old["echo.weight"], new["echo.weight"]
    )


def test_pictures_of_another_size_than_the_system_draws(painter, capsys, tmp_path, place):
    for stage in ([], ["--stage", "colour"]):
        assert "holds pictures of 32 pixels and this system draws 64" in refused(
            capsys, *train_painter(place, tmp_path / "x", *stage)
        )
    assert not (tmp_path / "x").exists()
    Painter.base_size = 32  # as a cascade has it, whose first stage sees small pictures
    try:
        assert "holds pictures of 32" in refused(capsys, *train_painter(place, tmp_path / "x"))
        assert main(train_painter(place, tmp_path / "x", "--stage", "colour")) == 0
    finally:
        del Painter.base_size


def test_rerank_keeps_what_the_judge_likes(painter, tmp_path, capsys):
    system, file = str(painter / "run" / "model"), tmp_path / "best.png"
    assert (
        main(
            [
                "draw",
                "a",
                "b",
                "--system",
                system,
                "--n",
                "2",
                "--rerank",
                "5",
                "--scale",
                "1",
                "--out",
                str(file),
            ]
        )
        == 0
    )
    shades = [Image.open(tmp_path / f"best-{i}.png").getpixel((0, 0))[0] for i in range(4)]
    dice = [torch.Generator().manual_seed(seed) for seed in range(5)]
    light = sorted(float(torch.rand(1, generator=g)) * 1.8 - 0.9 for g in dice)
    lightest = [round((x + 1) * 127.5) for x in (light[4], light[3])]
    assert shades == lightest * 2  # of the same five shades for both prompts
    assert (
        "rerank 5" in Image.open(tmp_path / "best-0.png").text["made with"]
        and "sampler" not in Image.open(tmp_path / "best-0.png").text["made with"]
    )
    assert "fewer pictures" in refused(
        capsys, "draw", "a", "--system", system, "--n", "4", "--rerank", "3"
    )
    assert "too many" in refused(
        capsys, "draw", "a", "b", "--system", system, "--rerank", "200"
    )
    assert "no choice of samplers" in refused(
        capsys, "draw", "a", "--system", system, "--sampler", "ddim"
    )
    card = tmp_path / "card.json"
    assert (
        main(["evaluate", system, "--captions", "3", "--rerank", "2", "--out", str(card)]) == 0
        and "the best of 2" in capsys.readouterr().out
    )
    assert json.loads(card.read_text())["scores"]["reranked"]["command"].endswith("--rerank 2")


def test_a_stranger_recognises_emoji(painter, tmp_path, capsys, monkeypatch):
    system, card = str(painter / "run" / "model"), tmp_path / "card.json"
    argv = ["evaluate", system, "--captions", "2", "--recognise", "3", "--out", str(card)]
    assert main(argv) == 0 and "held-out emoji recognised: " in capsys.readouterr().out
    found = json.loads(card.read_text())["scores"]["recognised"]
    assert found["seen"]["n"] == found["held_out"]["n"] == 3
    assert found["seen"]["real"] == 1.0 > found["seen"]["share"]  # it draws one flat colour
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 't2i_course[judge]'" in refused(capsys, *argv, "--force")


def test_edit_by_task(tmp_path, capsys, monkeypatch):
    from tiny import made

    monkeypatch.chdir(tmp_path)
    made("palette").save_pretrained(tmp_path / "palette")
    system = ["--system", "palette/", "--steps", "2", "--scale", "1"]
    red, mask = Image.new("RGB", (32, 32), "red"), Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    red.save("red.png")
    mask.save("mask.png")
    for task in drawing.TASKS:
        wish = ["--task", task, "--n", "2", "--out", f"{task}.png", *system]
        wish += ["--mask", "mask.png"] * (task == "fill")
        assert main(["edit", "red.png", *wish]) == 0
        done = Image.open(f"{task}-1.png")
        assert done.size == (16, 16) and done.text["task"] == task
    assert Image.open("fill-0.png").getpixel((12, 5)) == (255, 0, 0), "the known is kept"
    capsys.readouterr()
    assert main(["draw", "--again", "fill-1.png", "--out", "twin.png"]) == 0
    twin, first = Image.open("twin.png"), Image.open("fill-1.png")
    assert twin.tobytes() == first.tobytes() and twin.text["task"] == "fill"

    def wrong(*argv):
        return refused(capsys, "edit", "red.png", "--out", "new.png", *argv)

    assert "takes no words" in wrong("a fox", "--task", "restore", *system)
    assert "needs --mask FILE" in wrong("--task", "fill", *system)
    assert "takes no mask" in wrong("--task", "uncrop", "--mask", "mask.png", *system)
    assert "did you mean 'colourise'" in wrong("--task", "colorise", *system)
    assert "no guidance" in wrong("--task", "restore", "--guidance", "2", *system)
    assert "these do: palette" in wrong("--task", "restore", "--system", "pixel")
    assert "--task colourise" in wrong("a fox", "--mask", "mask.png", *system)
    assert "--task colourise" in refused(capsys, "draw", "a fox", "--system", "palette/")


def test_the_tasks_are_the_readings():
    from t2i_course.palette import TASKS

    assert drawing.TASKS == TASKS


def test_edit_paints_where_the_mask_is_white(painter, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    system, blue = str(painter / "run" / "model"), Image.new("RGB", (128, 128), "blue")
    blue.save("blue.png")
    mask = Image.new("L", (128, 128))
    mask.paste(255, (0, 0, 64, 128))
    mask.save("mask.png")
    assert (
        main(
            [
                "edit",
                "blue.png",
                "a white wall",
                "--mask",
                "mask.png",
                "--system",
                system,
                "--scale",
                "1",
            ]
        )
        == 0
    )
    done = Image.open("edited.png")
    assert (
        done.size == (64, 64)
        and done.getpixel((31, 5)) == (255, 255, 255)
        and done.getpixel((32, 5)) == (0, 0, 255)
        and "from blue.png" in done.text["made with"]
    )
    Image.new("L", (64, 64), 255).save("small.png")
    Image.new("L", (128, 128)).save("black.png")
    Image.new("RGBA", (128, 128)).save("glass.png")
    Path("words.png").write_text("words")

    def wrong(picture="blue.png", mask="mask.png", *more):
        return refused(
            capsys,
            "edit",
            picture,
            "x",
            "--mask",
            mask,
            "--out",
            "new.png",
            "--system",
            system,
            *more,
        )

    assert (
        "no picture none.png" in wrong("none.png")
        and "no picture none.png" in wrong(mask="none.png")
        and "same size" in wrong(mask="small.png")
    )
    assert "words.png cannot be read" in wrong("words.png")
    for nowhere in ("black.png", "glass.png"):
        assert "black or transparent everywhere" in wrong(mask=nowhere)
    assert "prompt is empty" in refused(
        capsys, "edit", "blue.png", "", "--mask", "mask.png", "--system", system
    ) and "required: --mask" in refused(capsys, "edit", "blue.png", "x")
    said = refused(capsys, "edit", "blue.png", "x", "--mask", "mask.png", "--system", model)
    assert (
        "cannot paint into a picture; these can: " in said
        and "painter" in said
        and not Path("new.png").exists()
    )


def test_a_phone_s_picture_and_a_drawing_program_s_mask(painter, tmp_path, monkeypatch):
    """Turned upright as EXIF says; 16 bits; what is transparent in a mask is not painted."""
    import numpy as np

    monkeypatch.chdir(tmp_path)
    stored, exif = Image.new("RGB", (64, 64), "red"), Image.Exif()
    stored.paste("blue", (32, 0, 64, 64))  # stored: red left, blue right
    exif[0x0112] = 6  # seen: a quarter turn clockwise, red above, blue below
    stored.save("phone.png", exif=exif)
    deep = np.zeros((64, 64), np.uint16)
    deep[:, :32] = 40_000  # 61 % white: painted; 20,000 is 31 %: kept
    deep[:, 32:] = 20_000
    Image.fromarray(deep).save("deep.png")
    glass = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    glass.paste((255, 255, 255, 255), (0, 0, 32, 64))
    glass.save("glass.png")
    system = str(painter / "run" / "model")
    for mask in ("deep.png", "glass.png"):
        argv = ["edit", "phone.png", "x", "--mask", mask, "--system", system, "--scale", "1"]
        assert main([*argv, "--out", f"of-{mask}"]) == 0
        done = Image.open(f"of-{mask}")
        assert done.getpixel((10, 10)) == done.getpixel((10, 60)) == (255, 255, 255), mask
        assert done.getpixel((60, 10)) == (255, 0, 0), mask
        assert done.getpixel((60, 60)) == (0, 0, 255), mask


def test_draw_from_a_picture(painter, model, tmp_path, capsys):
    Image.new("RGB", (64, 64), "black").save(tmp_path / "black.png")
    argv = [
        "--init-image",
        str(tmp_path / "black.png"),
        "--out",
        str(tmp_path / "x.png"),
        "--scale",
        "1",
    ]
    assert (
        main(
            [
                "draw",
                "x",
                "--system",
                str(painter / "run" / "model"),
                "--strength",
                "0.5",
                *argv,
            ]
        )
        == 0
    )
    assert Image.open(tmp_path / "x.png").getpixel((0, 0)) == (128, 128, 128)
    assert "cannot begin with a picture" in refused(
        capsys, "draw", "x", "--system", model, *argv, "--force"
    )
    assert "from 0.01 to 1" in refused(capsys, "draw", "x", "--strength", "2")


def test_clip_trains_and_judges_but_does_not_draw(place, tmp_path, capsys):
    from t2i_course.clip import CLIP

    out = str(tmp_path / "clip")
    argv = ["train", "clip", "--preset", "cpu", "--device", "cpu", "--out", out]
    short = tmp_path / "short.toml"
    short.write_text("[cpu.model]\nsteps = 2\nbatch_size = 8\nwarmup = 1\n")
    argv += ["--data", str(place / "set.safetensors"), "--recipe", str(short)]
    assert main(argv) == 0
    assert "draw" not in capsys.readouterr().out
    card = read(out)
    assert (
        card["system"] == "CLIP"
        and card["steps"] == 2
        and isinstance(read(out, "history.json"), list)
    )
    assert "does not draw" in refused(
        capsys, "draw", "x", "--system", out + "/model"
    ) and "--rerank has nothing" in refused(capsys, "evaluate", out + "/model", "--rerank", "4")
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # the real score reads all captions of the course: reading 4 tests it
        patch.setattr(
            CLIP,
            "score",
            lambda self, seed: {"shapes": {"R@1": 0.25 + seed, "n": 4}, "chance": 0.1},
        )
        assert main(["evaluate", out + "/model", "--seed", "1"]) == 0
    shown, score = capsys.readouterr().out, read(out)["scores"]["retrieval"]
    assert (
        "R@1 1.25, n 4" in shown
        and "chance" in shown
        and score["shapes"]["n"] == 4
        and score["command"] == "t2i evaluate clip-small --seed 1"
    )


# ---------------------------------------------------------------- data, evaluate, cards
def test_data_refuses_sizes_and_writes_what_train_reads(capsys, tmp_path, monkeypatch):
    assert "32, 64, 128, 256" in refused(
        capsys, "data", "--size", "48", "--out", tmp_path / "x"
    )
    from t2i_course.data import captioned as data

    monkeypatch.setattr(
        data, "training_set", lambda size, shapes, seed, share: data.shapes(shapes, size, seed)
    )  # no rendering here
    assert main(["data", "--out", str(tmp_path / "x"), "--shapes", "5", "--seed", "3"]) == 0
    assert len(trainer.load_data(str(tmp_path / "x"), 32)) == 5


def test_the_same_data_file_twice(capsys, tmp_path, monkeypatch):
    """Byte for byte, from two processes; a pipe is no data file (it would wait for ever)."""
    code = "import sys, t2i_course.data.captioned as data; data.shapes(9).save(sys.argv[1])"
    for name in "ab":
        subprocess.run([sys.executable, "-c", code, tmp_path / name], cwd=ROOT, check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    import os

    os.mkfifo(tmp_path / "pipe")
    argv = ["train", "pixel", "--preset", "cpu", "--data", tmp_path / "pipe"]
    assert "t2i data --out" in refused(capsys, *argv, "--out", tmp_path / "run")


def test_held_out_pictures_never_reach_training(tmp_path):
    from t2i_course.data.captioned import shapes

    (shapes(4, 32) + shapes(3, 32, split="test")).save(tmp_path / "mixed")
    assert trainer.load_data(str(tmp_path / "mixed"), 32).splits == ["train"] * 4


def test_evaluate_writes_the_best_into_the_card(place, model, capsys):
    assert (
        main(
            [
                "evaluate",
                model,
                "--captions",
                "4",
                "--steps",
                "1",
                "--guidance",
                "1",
                "3",
                "--out",
                str(place / "card.json"),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    out, card = capsys.readouterr().out, json.loads((place / "card.json").read_text())
    score = card["scores"]["shapes"]
    assert (
        score["n"] == 4
        and [r["guidance"] for r in score["by_guidance"]] == [1, 3]
        and "background" in out
    )
    assert (
        score["command"]
        == "t2i evaluate pixel-small --captions 4 --guidance 1 3 --steps 1 --seed 0"
        and card["steps"] == 2
    )
    assert (
        "scores" in (before := json.loads((Path(model) / "card.json").read_text()))
        and before["scores"] == {}
    )


def test_a_folder_called_like_a_shipped_system(model, capsys, tmp_path, monkeypatch):
    """A path is a path: its weights are loaded and its card is written, whatever its name."""
    import shutil

    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, "pixel-small")
    shutil.copytree(model, "pixel")
    installed = WEIGHTS / "pixel-small" / "card.json"
    before, score = installed.read_bytes(), ["--captions", "2", "--steps", "1"]
    mine = evaluation.load_system(model).state_dict()
    shipped = evaluation.load_system("pixel-small").state_dict()
    for name in ("./pixel-small", Path("pixel-small"), "./pixel", str(tmp_path / "pixel")):
        found = evaluation.load_system(name).state_dict()
        assert all(torch.equal(v, mine[k]) for k, v in found.items()), name
    name = next(k for k, v in mine.items() if not torch.equal(v, shipped[k]))
    for word in ("pixel", "pixel-small"):
        assert torch.equal(evaluation.load_system(word).state_dict()[name], shipped[name])

    assert main(["evaluate", "pixel", *score]) == 0  # the shipped one: nothing is written
    assert main(["evaluate", str(WEIGHTS / "pixel-small"), *score]) == 0  # by its path too
    (tmp_path / "link").symlink_to(WEIGHTS / "pixel-small")
    assert main(["evaluate", "./link", *score]) == 0
    assert "written to" not in capsys.readouterr().out
    assert not json.loads(Path("pixel", "card.json").read_text())["scores"]
    assert main(["evaluate", "./pixel-small", *score]) == 0
    card = json.loads(Path("pixel-small", "card.json").read_text())
    assert card["scores"]["shapes"]["n"] == 2 and card["steps"] == 2
    assert card["sha256"] == evaluation.digest_of(Path(model))
    assert installed.read_bytes() == before
    for nothing in ("./glide", "no/pixel"):
        assert "unknown system" in refused(capsys, "evaluate", nothing)


def test_a_damaged_card_or_model_is_named(place, model, capsys, tmp_path):
    import shutil

    broken = Path(shutil.copytree(model, tmp_path / "m"))
    (broken / "card.json").write_text("{")
    assert "card.json" in refused(capsys, "evaluate", broken, "--captions", "1", "--steps", "1")
    (broken / "model.safetensors").write_bytes(
        (broken / "model.safetensors").read_bytes()[:1000]
    )
    assert "model.safetensors" in refused(
        capsys, "draw", "x", "--system", broken, "--out", tmp_path / "x.png"
    )
    (broken / "config.json").write_text('{"system": "Dream"}')
    assert "'Dream'" in refused(
        capsys, "draw", "x", "--system", broken, "--out", tmp_path / "x.png"
    )


def test_damaged_weights_are_neither_drawn_with_nor_signed(capsys, tmp_path):
    """A flipped bit in weights without a checksum of their own, as in the package; the card
    stays as it was, so that doctor still sees it.
    """
    import shutil

    folder = Path(shutil.copytree(WEIGHTS / "dalle-small", tmp_path / "dalle-small"))
    weights, card = folder / "model.safetensors", (folder / "card.json").read_bytes()
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 8
    weights.write_bytes(content)
    for argv in (["draw", "x", "--system", folder], ["evaluate", folder, "--captions", "1"]):
        assert "model.safetensors is damaged" in refused(capsys, *argv)
    assert (folder / "card.json").read_bytes() == card


@pytest.mark.parametrize("name", evaluation.SYSTEMS)
def test_every_bit_of_a_shipped_config_counts(name, tmp_path):
    """A number in config.json that another bit makes another number, and all else as it was:
    whatever still can be read as JSON is refused, or says the same.
    """
    import random
    import shutil

    system, shipped = evaluation.find_system(name)
    folder = Path(shutil.copytree(shipped, tmp_path / shipped.name))
    path, dice, changed = folder / "config.json", random.Random(0), 0
    whole = path.read_bytes()
    digits = [i for i, byte in enumerate(whole) if chr(byte).isdigit()]
    for place in dice.sample(digits, 8):
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(content)
        with suppress(ValueError):  # 16 with another bit may be 06, which is no JSON
            if json.loads(content) == json.loads(whole):
                continue
        changed += 1
        with pytest.raises(ValueError, match="config.json"):
            check_pretrained(system.load_class(), folder)
    assert changed > 4


def test_weights_that_change_while_they_are_measured_are_not_signed(
    model, capsys, tmp_path, monkeypatch
):
    import shutil

    folder = Path(shutil.copytree(model, tmp_path / "m"))
    before = (folder / "card.json").read_bytes()

    def measured(model, card, args):
        evaluation.load_system(WEIGHTS / "pixel-small").save_pretrained(folder)
        return card | {"scores": {"shapes": {"all_true": 1}}}

    monkeypatch.setattr(cli, "measure", measured)
    said = refused(capsys, "evaluate", folder, code=1)
    assert "changed while they were measured" in said
    assert (folder / "card.json").read_bytes() == before


@pytest.mark.parametrize("name", evaluation.SYSTEMS)
def test_shipped_weights_draw_what_their_card_says(name):
    """A fresh sample of captions must agree with the score on the card; and the weights must be
    those that were scored.
    """
    system, folder = evaluation.find_system(name)
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"{system.weights} is not shipped yet")
    card = evaluation.read_card(folder)
    assert card["sha256"] == evaluation.digest_of(folder)
    assert card["config"] == sum_of(json.loads((folder / "config.json").read_text("utf8")))
    if not system.draws or "shapes" not in card["scores"]:
        pytest.skip(f"{system.weights} has no shapes score")
    again = evaluation.recheck(evaluation.load_system(name), card, 48)
    assert again["agrees"], (
        f"the card says {card['scores']['shapes']['all_true']}, 48 new captions say"
        f" {again['all_true']} {again['interval']}"
    )
