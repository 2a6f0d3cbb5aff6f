import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import model
from model.train.cli import main
from model.train.loop import Run, rank_loss, softened
from model.train.optimizer import orthogonalise, rate_at
from model.train.recipe import Recipe, RecipeError, read_recipe
from model.train.rows import Answer, Row, collate

RECIPES = Path(__file__).parents[3] / "model" / "recipes"


class Killed(Exception):
    """Stands for the power going off."""


def silent(_line: str) -> None:
    """Nobody reads."""


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.transformer.state_dict().items()}


@pytest.fixture(scope="module")
def uninterrupted(
    data: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    run = Run(recipe, data, tmp_path_factory.mktemp("whole"), silent)
    run.train()
    return weights(run)


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(
    data: Path, recipe: Recipe, tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    def die_after_three(line: str) -> None:
        if line.startswith("step 4/"):
            raise Killed

    with pytest.raises(Killed):
        Run(recipe, data, tmp_path, die_after_three).train()
    again = Run(recipe, data, tmp_path, silent)
    assert again.step == 3
    again.train()
    for name, tensor in weights(again).items():
        assert tensor.equal(uninterrupted[name]), name


def test_training_moves_every_weight(
    data: Path, recipe: Recipe, tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    fresh = weights(Run(recipe, data, tmp_path, silent))
    still = {name for name, tensor in fresh.items() if tensor.equal(uninterrupted[name])}
    # One-element steps can round away in bfloat16 where a weight starts at exactly one.
    assert all("norm" in name for name in still)


def test_an_empty_folder_becomes_a_checkpoint_that_loads_and_answers(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, run = tmp_path / "out", tmp_path / "run"
    recipe = str(RECIPES / "tiny.toml")
    arguments = [recipe, "--data", str(data), "--run", str(run), "--out", str(out)]
    assert main("train", [*arguments, "--threads", "1", "--limit", "3"]) == 0
    assert "experts 1:" in capsys.readouterr().out

    engine = model.load(out, device="cpu")
    prefix = engine.prefill(["[1]\nA page.\n\n"])
    yes, no = engine.score(prefix, [("Is it?", "yes"), ("Is it?", "no")])
    assert yes < 0
    assert no < 0
    assert engine.profile["calibration"]["check_listing"]["temperature"] > 0
    assert set(engine.profile["skills"]) == {"en", "zh"}
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "Grocery Store Dataset" in card
    assert "| listings | AUROC, other category |" in card
    assert "| drawn products |" in card

    capsys.readouterr()
    arguments = [str(out), "--data", str(data), "--threads", "1", "--only", "summaries"]
    assert main("evaluate", arguments) == 0
    shown = capsys.readouterr().out
    assert "Measured on the `val` split" in shown
    assert "| papers | ROUGE-1 |" in shown
    assert "listings" not in shown


def test_a_run_that_is_told_to_stop_saves_and_makes_no_checkpoint(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "model", "train", "--config", str(RECIPES / "tiny.toml")]
    command += ["--data", str(data), "--run", str(tmp_path / "run"), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any("step " in line for line in process.stdout)
        process.terminate()
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "stopped after step" in rest
    assert (tmp_path / "run" / "state.pt").exists()
    assert not out.exists()


def test_a_mistyped_key_is_refused_by_name(tmp_path: Path) -> None:
    text = (RECIPES / "tiny.toml").read_text(encoding="utf-8")
    path = tmp_path / "typo.toml"
    path.write_text(text.replace("clip_norm", "clipnorm"), encoding="utf-8")
    with pytest.raises(RecipeError, match="clipnorm"):
        read_recipe(path)


def test_both_recipes_can_be_read() -> None:
    for path in RECIPES.glob("*.toml"):
        assert read_recipe(path).prompts.exists()


def test_the_rate_warms_up_stays_and_falls_to_a_tenth(recipe: Recipe) -> None:
    rates = [rate_at(step, 100, recipe.optimizer) for step in range(100)]
    assert rates[0] == pytest.approx(0.5)
    assert rates[2:70] == [1.0] * 68
    assert rates[70:] == sorted(rates[70:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.05)


def test_orthogonalised_matrices_have_like_singular_values() -> None:
    torch.manual_seed(0)
    stack = torch.randn(3, 24, 60) @ torch.diag(torch.linspace(0.1, 5, 60))
    singular = torch.linalg.svdvals(orthogonalise(stack, torch.float32))
    assert singular.min() > 0.5
    assert singular.max() < 1.4


def test_half_of_what_names_should_get_is_what_the_classifier_gives_them() -> None:
    rows = [Row([1, 1]), Row([1, 1])]
    for row, answers in zip(rows, ([(2, 1.0), (0, 0.0), (-1, None)], [(1, 1.0)]), strict=True):
        for label, rank in answers:
            start = row.add_branch([1, 1])
            row.answers.append(Answer(start, 1, group=1, rank=rank, label=label))
    rows[0].labels, rows[1].labels = [2, 2], [1]
    logits = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0], [0.0, 5.0, 0.0]])
    likely = 1 / (1 + math.exp(-2.0))  # of two photos the mean of logits counts
    expected = [0.5 + 0.5 * likely, 0.5 - 0.5 * likely, -1.0, 1.0]
    assert softened(collate(rows), logits).tolist() == pytest.approx(expected)


def test_the_rank_loss_is_least_when_margins_give_the_shares() -> None:
    shares = torch.tensor([0.7, 0.3, 1.0, 0.0, -1.0])
    groups = torch.tensor([1, 1, 2, 2, 1])
    fitting = torch.tensor([0.7, 0.3, 9.0, -9.0, 5.0])
    fitting[:2] = fitting[:2].log()
    best, hit = rank_loss(fitting, shares, groups)
    worse, _ = rank_loss(fitting.flip(0), shares, groups)
    entropy = -(0.7 * torch.tensor(0.7).log() + 0.3 * torch.tensor(0.3).log()) / 2
    assert best.item() == pytest.approx(entropy.item(), abs=1e-3)
    assert hit == 1.0
    assert worse > best


def test_two_processes_train_as_one_does(data: Path, tmp_path: Path) -> None:
    recipe = str(RECIPES / "tiny.toml")
    folders = {size: tmp_path / f"{size}" for size in (1, 2)}
    for size, folder in folders.items():
        arguments = [recipe, "--data", str(data), "--run", str(folder), "--threads", str(size)]
        assert main("train", [*arguments, "--processes", str(size)]) == 0
    alone, together = (
        torch.load(folder / "state.pt", weights_only=True)["optimizer"]["master"]
        for folder in folders.values()
    )
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=0.05, atol=0.02, msg=name)
    moved = sum(float((together[name] - tensor).abs().max()) for name, tensor in alone.items())
    assert moved < 0.5  # sums in another order, nothing else
