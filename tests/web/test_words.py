"""Both languages say the same things, and nothing is said that no page asks for."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import mmapp.web
from mmapp.exports import QUOTES_OF
from mmapp.tasks import claims, facts
from mmapp.tasks.captions import FoundBy as ToldBy
from mmapp.tasks.compare import KINDS
from mmapp.tasks.coverage import PageState
from mmapp.tasks.extract import DEFAULT_FIELDS, FoundBy
from mmapp.tasks.figures import EVERY_VERDICT
from mmapp.types import Label, Status, TaskName
from mmapp.web.render import figure_key
from mmapp.web.words import LANGUAGES, WORDS, Words, preferred_language

SOURCES = Path(mmapp.web.__file__).parent.glob("*.py")
#: Keys that are put together: from the nouns of the application or a page's name.
COMPOSED = re.compile(
    r"(phase|unit|error|missing|mode|task|coverage|hidden|recent|documents|ask|compare|listings|batch"
    r"|results|field|found_by|kind|change|old|new|system|lane|role|worker|figure)_.*"
)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_english_and_chinese_have_the_same_placeholders() -> None:
    differing = [key for key, (en, zh) in WORDS.items() if placeholders(en) != placeholders(zh)]
    assert differing == []


def test_the_chinese_is_chinese() -> None:
    words = {key: re.sub(r"\{\w+\}", "", zh) for key, (_, zh) in WORDS.items()}
    plain = {key for key, text in words.items() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert plain == {
        "colon",
        "other_language",
        "units_of",
        "page_of",
        "headline",
        "comma",
        "figure_count",
    }


def test_every_word_is_asked_for_and_every_asked_word_is_there() -> None:
    source = "\n".join(path.read_text() for path in SOURCES if path.name != "words.py")
    asked = set(re.findall(r"""say\(\s*["'](\w+[^\W_])["']""", source))
    assert asked <= set(WORDS)
    spoken = set(re.findall(r"""["'](\w+)["']""", source))
    nouns = {value.value for noun in (Status, Label) for value in noun}
    nouns |= {"consistent", "inconsistent", "uncertain", *QUOTES_OF.values()}
    unused = {key for key in WORDS if key not in spoken | nouns and not COMPOSED.fullmatch(key)}
    assert unused == set()


MISSING = ["quote", "page", "proof", "language", "words", *facts.Kind]


@pytest.mark.parametrize(
    "noun",
    [
        *Status,
        *Label,
        *(f"task_{name}" for name in TaskName),
        *(f"kind_{kind}" for kind in claims.Kind if kind is not claims.Kind.OTHER),
        *(f"missing_{kind}" for kind in MISSING),
        *(f"coverage_{state}" for state in PageState),
    ],
)
def test_every_noun_of_the_application_has_a_word(noun: str) -> None:
    assert all(Words(language)(noun) for language in LANGUAGES)


def test_every_field_and_way_and_kind_of_change_has_a_word() -> None:
    keys = [f"field_{name}" for name in DEFAULT_FIELDS]
    keys += [f"found_by_{way.replace(' ', '_')}" for way in FoundBy]
    keys += [f"change_{kind}" for kind in KINDS]
    keys += [figure_key(verdict) for verdict in EVERY_VERDICT]
    keys += [f"figure_by_{way}" for way in ToldBy if way is not ToldBy.CAPTION]
    assert set(keys) <= set(WORDS)


def test_an_unknown_word_is_a_defect() -> None:
    with pytest.raises(KeyError):
        Words("zh")("no such word")


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "en-US,en;q=0.9", "en"),
        (None, "fr-FR,fr;q=0.9,zh-TW;q=0.5,en;q=0.4", "zh"),
        (None, "de", "en"),
        (None, "zh;q=nonsense,en;q=0.1", "en"),
        ("zh", "en-US", "zh"),
        ("klingon", "en-US", "en"),
        (None, "", "en"),
    ],
)
def test_the_language_is_the_persons_choice_or_the_browsers(
    cookie: str | None, accepted: str, language: str
) -> None:
    assert preferred_language(cookie, accepted) == language
