"""What README.md, ARCHITECTURE.md and docs/ say is what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests import docs

OPERATIONS = docs.ROOT / "docs" / "operations.md"


@pytest.mark.parametrize(
    ("path", "name"), docs.PARTS, ids=lambda value: str(getattr(value, "name", value))
)
def test_a_part_made_from_the_code_is_up_to_date(path: Path, name: str) -> None:
    assert docs.written(path, name) == docs.PARTS[path, name](), "run: python -m tests.docs"


def test_every_link_to_a_file_leads_somewhere() -> None:
    for path in (*docs.ROOT.glob("*.md"), *(docs.ROOT / "docs").glob("*.md")):
        targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
        missing = [target for target in targets if not (path.parent / target).exists()]
        assert not missing, f"{path.name} links to {missing}"


def commands() -> list[str]:
    """The commands in the shell blocks of README and operations that begin with mmapp."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (docs.README, OPERATIONS))
    blocks = re.findall(r"```sh\n(.*?)```", pages, re.DOTALL)
    lines = (line.split("  #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line.startswith("mmapp ")]


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_pages_is_understood(command: str) -> None:
    """The real command line parses the words; it names a verb or flag that is not there."""
    import typer.main

    from mmapp.cli.app import app

    group = typer.main.get_command(app)
    arguments = shlex.split(command.split(" > ")[0].split(" | ")[0])[1:]
    while arguments and hasattr(group, "commands"):
        with group.make_context("mmapp", arguments, resilient_parsing=True):
            pass
        name = next(word for word in arguments if not word.startswith("-"))
        assert name in group.commands, f"there is no verb {name!r}"
        group, arguments = group.commands[name], arguments[arguments.index(name) + 1 :]
    context = group.make_context(command, list(arguments))
    assert context.params is not None
