"""The parts of README.md, ARCHITECTURE.md and docs/settings.md that are made from the code.

`python -m tests.docs` writes them and `tests/test_docs.py` compares them. A part stands between
`<!-- name -->` and `<!-- /name -->`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
SETTINGS = ROOT / "docs" / "settings.md"


def tree() -> str:
    """Every module with the first sentence of its docstring."""
    lines = []
    for package in ("mmapp", "workers", "model"):
        lines += [f"{package}/", *_modules(ROOT / package, "  "), ""]
    return "```\n" + "\n".join(lines).rstrip() + "\n```"


def _modules(folder: Path, indent: str) -> Iterator[str]:
    for file in sorted(folder.glob("*.py")):
        if file.name != "__init__.py":
            yield f"{indent}{file.name:<{26 - len(indent)}} {_first_sentence(file)}"
    for inner in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
        name = f"{inner.name}/"
        yield f"{indent}{name:<{26 - len(indent)}} {_first_sentence(inner / '__init__.py')}"
        yield from _modules(inner, indent + "  ")


def _first_sentence(file: Path) -> str:
    words = " ".join((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split())
    sentence = re.split(r"(?<=[.;])\s", words, maxsplit=1)[0].rstrip(".;")
    return sentence if len(sentence) <= 110 else sentence[:107].rsplit(" ", 1)[0] + " …"


def settings_table() -> str:
    """Every setting with its variable, default and meaning."""
    from mmapp.config import REPOSITORY, Settings

    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if name == "data_dir":
            shown = "the user's data folder"
        elif isinstance(default, Path):
            shown = f"`{default.relative_to(REPOSITORY)}`"
        else:
            shown = f"`{default}`" if str(default) else "empty"
        rows.append(f"| `MMAPP_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def verbs_table() -> str:
    """Every verb of the command line with its line of help."""
    import typer.main

    from mmapp.cli.app import app

    rows = ["| verb | what it does |", "|---|---|", *_verbs(typer.main.get_command(app), "mmapp")]
    return "\n".join(rows)


def _verbs(group: Any, before: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _verbs(command, f"{before} {name}")
        else:
            yield f"| `{before} {name}` | {(command.help or '').strip().splitlines()[0]} |"


def transitions_table() -> str:
    """Every way of a job from a status to another."""
    from mmapp.jobs.transitions import TRANSITIONS

    rows = ["| event | from | to | |", "|---|---|---|---|"]
    rows += [
        f"| {step.event} | {step.before or 'new'} | {step.after} | {step.when} |"
        for step in TRANSITIONS
    ]
    return "\n".join(rows)


PARTS: dict[tuple[Path, str], Callable[[], str]] = {
    (ARCHITECTURE, "tree"): tree,
    (ARCHITECTURE, "transitions"): transitions_table,
    (SETTINGS, "settings"): settings_table,
    (README, "verbs"): verbs_table,
}


def written(path: Path, name: str) -> str:
    """What stands in the file."""
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    if found is None:
        raise AssertionError(
            f"{path.name} has no part between <!-- {name} --> and <!-- /{name} -->"
        )
    return found[1].rstrip("\n")


def write() -> None:
    """Bring all files up to date."""
    for (path, name), make in PARTS.items():
        text = path.read_text(encoding="utf-8")
        before, mark = text.split(f"<!-- {name} -->\n")[0], f"<!-- {name} -->\n"
        after = text[text.index(f"<!-- /{name} -->") :]
        path.write_text(f"{before}{mark}{make()}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    write()
