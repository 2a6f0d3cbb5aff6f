"""The import floors: who may know whom. A breach is named with file, line and remedy."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mmapp", "workers", "model")

#: What a floor may import of ours, by the first two names of a module. A floor may always import
#: itself. What is not listed here may import nothing of ours.
PLAIN = {"mmapp", "mmapp.types", "mmapp.errors"}
WORDS = PLAIN | {"mmapp.config"}
FLOORS: dict[str, set[str]] = {
    "mmapp.types": set(),
    "mmapp.errors": set(),
    # Settings name roles, and are nothing but nouns beside.
    "mmapp.config": {"mmapp.types"},
    # How words match and photos are framed is the same in service as in training and measuring.
    "mmapp.tasks": PLAIN | {"mmapp.documents.quotes", "model.lexical", "model.framings"},
    "mmapp.documents": WORDS | {"mmapp.processes"},
    "mmapp.storage": WORDS | {"mmapp.logs"},
    "mmapp.calibrations": PLAIN,
    "mmapp.records": PLAIN | {"mmapp.calibrations"},
    "mmapp.reviews": PLAIN,
    "mmapp.exports": PLAIN | {"mmapp.reviews"},
    "mmapp.checkpoints": PLAIN | {"mmapp.calibrations"},
    # Configs and tokenizers are read by the code of the model that needs no torch.
    "mmapp.shapes": PLAIN | {"model.config", "model.tokenizer"},
    "mmapp.db": WORDS | {"mmapp.processes"},
    "mmapp.broker": WORDS,
    "mmapp.jobs": WORDS
    | {"mmapp.tasks", "mmapp.db", "mmapp.storage", "mmapp.broker", "mmapp.documents"}
    | {"mmapp.checkpoints", "mmapp.records", "mmapp.exports", "mmapp.ids", "mmapp.logs"}
    | {"mmapp.reviews", "mmapp.shapes"},
    "mmapp.supervisor": {"mmapp", "mmapp.processes", "mmapp.guard"},
    "mmapp.stack": WORDS
    | {"mmapp.jobs", "mmapp.db", "mmapp.broker", "mmapp.logs"}
    | {"mmapp.processes", "mmapp.supervisor"},
    "mmapp.samples": PLAIN,
    "mmapp.plots": set(),
    "mmapp.reports": set(),
    "mmapp.batches": WORDS
    | {"mmapp.jobs", "mmapp.documents", "mmapp.records", "mmapp.plots", "mmapp.reports"}
    | {"mmapp.reviews"},
    "mmapp.metrics": PLAIN | {"mmapp.jobs"},
    "mmapp.api": WORDS
    | {"mmapp.jobs", "mmapp.documents", "mmapp.batches", "mmapp.exports", "mmapp.reviews"}
    | {"mmapp.metrics"},
    "mmapp.web": WORDS
    | {"mmapp.jobs", "mmapp.documents", "mmapp.batches", "mmapp.samples", "mmapp.api"}
    | {"mmapp.exports", "mmapp.records", "mmapp.reviews", "mmapp.plots"},
    "mmapp.display": PLAIN | {"mmapp.jobs", "mmapp.reviews"},
    "mmapp.cli": WORDS
    | {"mmapp.jobs", "mmapp.documents", "mmapp.batches", "mmapp.samples", "mmapp.display"}
    | {"mmapp.stack", "mmapp.db", "mmapp.checkpoints", "mmapp.logs", "mmapp.web"}
    | {"mmapp.exports", "mmapp.records", "mmapp.reviews", "mmapp.calibrations"},
    "workers": {"mmapp", "model", "mmapp.types", "mmapp.errors", "mmapp.config"}
    | {"mmapp.checkpoints", "mmapp.calibrations", "mmapp.storage"}
    | {"mmapp.jobs", "mmapp.broker", "mmapp.logs", "mmapp.processes"}
    # Evaluation asks the tasks themselves, about inputs that are in no database.
    | {"mmapp.tasks", "mmapp.batches", "mmapp.documents", "mmapp.plots", "mmapp.reports"},
    "model": set(),
}

#: Heavy libraries, and the only floors that may import them.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "torch": ("model", "workers"),
    "tokenizers": ("model",),
    "safetensors": ("model",),
    "gradio": ("mmapp.web",),
    "fastapi": ("mmapp.web", "mmapp.api"),
    # Training draws with its fonts; documents are opened in mmapp.documents alone.
    "pymupdf": ("mmapp.documents", "model.train"),
    "celery": ("mmapp.broker", "workers"),
    "kombu": ("mmapp.broker",),
    "sqlalchemy": ("mmapp.db", "mmapp.jobs"),
    "typer": ("mmapp.cli",),
    "rich": ("mmapp.cli", "mmapp.display"),
    "openpyxl": ("mmapp.batches",),
    "prometheus_client": ("mmapp.metrics",),
    "obstore": ("mmapp.storage",),
}


class Import(NamedTuple):
    file: Path
    line: int
    importer: str
    imported: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.imported}"


def imports() -> Iterator[Import]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            importer = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [_target(node.module or "", alias.name) for alias in node.names]
                else:
                    continue
                yield from (Import(file, node.lineno, importer, name) for name in names)


def _target(module: str, name: str) -> str:
    """`from mmapp import jobs` means the module mmapp.jobs; of a name in a module, the module."""
    path = ROOT.joinpath(*module.split("."), name)
    is_module = path.is_dir() or path.with_suffix(".py").exists()
    return f"{module}.{name}" if is_module else module


def floor_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "mmapp" else parts[0]


def is_allowed(imported: str, allowed: set[str]) -> bool:
    return imported in allowed or any(
        imported.startswith(f"{name}.") for name in allowed if name != "mmapp"
    )


def test_imports_run_one_way() -> None:
    breaches = [
        f"{found}: {floor_of(found.importer)} may import {sorted(allowed) or 'nothing'} of ours. "
        "Move the code to the floor that may, or pass the value in."
        for found in imports()
        if found.imported.split(".")[0] in PACKAGES
        and floor_of(found.imported) != floor_of(found.importer)
        and not is_allowed(found.imported, allowed := FLOORS.get(floor_of(found.importer), set()))
    ]
    assert not breaches, "\n".join(breaches)


def test_heavy_libraries_stay_on_their_floors() -> None:
    breaches = [
        f"{found}: only {', '.join(owners)} may. Call what that floor offers instead."
        for found in imports()
        if (owners := LIBRARIES.get(found.imported.split(".")[0]))
        and not found.importer.startswith(owners)
    ]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        ("import mmapp.cli", ("torch", "gradio", "pymupdf", "celery", "sqlalchemy", "model")),
        ("import mmapp.jobs", ("torch", "gradio", "pymupdf", "model", "workers")),
        ("import mmapp.tasks", ("torch", "gradio", "pymupdf", "celery", "sqlalchemy")),
        ("import workers.app", ("torch", "gradio", "pymupdf", "model")),
        ("import model", ("mmapp", "workers", "gradio", "celery", "sqlalchemy")),
    ],
)
def test_an_import_brings_no_heavy_library_along(statement: str, refused: tuple[str, ...]) -> None:
    code = f"{statement}; import sys; print(*sorted(set({refused!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split(), (
        f"`{statement}` brings {done.stdout}: import it where it is used"
    )


def test_every_dependency_has_an_exact_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = {_name(line) for lines in (project["dependencies"], *extras) for line in lines}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {_name(line) for line in lines if "==" in line}
    missing = wanted - pinned - {"mmapp"}
    assert not missing, f"add to constraints.txt: {sorted(missing)}"


def _name(requirement: str) -> str:
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return requirement[:end].lower().replace("_", "-")
