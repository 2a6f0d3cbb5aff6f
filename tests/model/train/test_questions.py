"""Questions about documents: repeatable, and right and wrong passages that are what they say."""

from __future__ import annotations

import random
import re
from importlib.resources import files

import pytest

from model.train.documents import HAN, TextDocument
from model.train.questions import Asked, Questions, derived, numbered, words
from model.train.questions.facts import FactWords, checked, fact_words, invent
from model.train.questions.meetings import Meeting

CHARACTERS = 3000
PASSAGES = 8
FILE = "facts.en.toml"
MARKED = (12, 20)
TOPICS = ["budget", "crane", "harbour", "garden", "orchestra", "satellite", "bakery", "tunnel"]


@pytest.fixture(scope="module")
def documents() -> list[TextDocument]:
    chance = random.Random("documents")
    written = [_written(language, n, chance) for language in ("en", "zh") for n in range(12)]
    return [*written, _meeting()]


@pytest.fixture(scope="module")
def asked(documents: list[TextDocument]) -> list[Asked]:
    made = Questions(documents, "seed")
    return [one for n in range(600) if (one := made.asked(n, CHARACTERS, PASSAGES)) is not None]


def test_a_question_depends_on_seed_and_number_only(documents: list[TextDocument]) -> None:
    one, other = Questions(documents, "seed"), Questions(documents, "seed")
    forward = [one.asked(n, CHARACTERS, PASSAGES) for n in range(40)]
    backward = [other.asked(n, CHARACTERS, PASSAGES) for n in reversed(range(40))]
    assert forward == backward[::-1]
    assert forward != [
        Questions(documents, "another").asked(n, CHARACTERS, PASSAGES) for n in range(40)
    ]


def test_passages_stand_in_the_text_and_are_right_or_wrong(asked: list[Asked]) -> None:
    assert len(asked) > 500
    for one in asked:
        assert len(one.text) <= CHARACTERS
        assert len(one.right) <= 2
        assert one.wrong
        assert len(one.right) + len(one.wrong) <= PASSAGES
        assert len({*one.right, *one.wrong}) == len(one.right) + len(one.wrong)
        for passage in (*one.right, *one.wrong):
            assert "\n" not in passage
            assert _bare(passage) in _bare(one.text)


def test_shares(asked: list[Asked]) -> None:
    unanswered = sum(not one.right for one in asked) / len(asked)
    assert 0.09 < unanswered < 0.21
    written = [one for one in asked if "Speaker" not in one.text]
    chinese = sum(bool(HAN.search(one.question)) for one in written) / len(written)
    assert 0.4 < chinese < 0.6


@pytest.mark.parametrize("kind", ["fact", "derived", "heading", "meeting"])
def test_every_kind_asks(
    kind: str, documents: list[TextDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _of_kind(kind, documents, monkeypatch)
    assert len({one.question for one in asked}) > 3
    assert any(one.right for one in asked)


def test_a_hidden_fact_stands_in_the_text_once(
    documents: list[TextDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    originals = _bare("".join(document.text for document in documents))
    for one in _of_kind("fact", documents, monkeypatch):
        for passage in one.right:
            assert _bare(passage) not in originals
            assert _bare(one.text).count(_bare(passage)) == 1


def test_a_meetings_marked_turns_answer(
    documents: list[TextDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = documents[-1].text.split("\n")
    marked = _bare("".join(lines[MARKED[0] : MARKED[1] + 1]))
    for one in _of_kind("meeting", documents, monkeypatch):
        assert all(_bare(passage) in marked for passage in one.right)
        if one.right:
            assert not any(_bare(passage) in marked for passage in one.wrong)


def test_turns_are_found_where_lines_were_joined() -> None:
    meeting = _meeting()
    joined = TextDocument(
        id=meeting.id,
        source=meeting.source,
        lang=meeting.lang,
        text=meeting.text.replace("\n", " ").replace("Speaker ", "PhD "),
        references=(),
        queries=meeting.queries,
    )
    found = Meeting(joined).text
    assert found == meeting.text.replace("Speaker ", "PhD ")


def test_nothing_to_ask_about() -> None:
    assert Questions([], "seed").asked(0, CHARACTERS, PASSAGES) is None


def test_facts_in_many_words() -> None:
    chance = random.Random("facts")
    made = [invent(language, chance) for language in ("en", "zh") for _ in range(400)]
    said = [" ".join((*fact.told, fact.question, *fact.decoys)) for fact in made]
    assert not [words for words in said if re.search(r"[{}|]", words)]
    assert len({fact.question for fact in made}) > 700
    assert all(decoy not in fact.told for fact in made for decoy in fact.decoys)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("To create a new item, choose the **New** action.", "create a new item"),
        ("You can use `Get-Item` to read the value of a key.", "read the value of a key"),
        ("If you change the port, the service starts again.", "if I change the port"),
        ("The default port of the mail gateway is 8080.", "default port of the mail gateway"),
        ("若要创建新的销售订单，请选择“新建”。", "创建新的销售订单"),
        ("资产日记帐用于记录资产的每次变动。", "资产日记帐"),
    ],
)
def test_questions_from_sentences(sentence: str, expected: str) -> None:
    made = list(derived.questions_of(sentence, random.Random(1)))
    assert any(expected.lower() in question.lower() for _, question in made), made


@pytest.mark.parametrize(
    "sentence",
    [
        "The following table describes the fields of the page.",
        "如果遇到此问题，请重新启动服务。",
        "It is the result of the previous command.",
    ],
)
def test_what_only_its_neighbours_explain_is_not_asked(sentence: str) -> None:
    assert not list(derived.questions_of(sentence, random.Random(1)))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_patterns_example_is_asked_about(language: str) -> None:
    for kind, pattern in enumerate(derived.patterns(language)):
        made = dict(derived.questions_of(pattern.example, random.Random(1)))
        assert kind in made, pattern.example
        assert not re.search(r"\\\d|VERB|  ", made[kind])


def test_words_of_both_languages_are_of_the_same_kinds() -> None:
    english, chinese = fact_words("en"), fact_words("zh")
    assert english.entities.keys() == chinese.entities.keys()
    assert english.values.keys() == chinese.values.keys()
    assert english.openings.keys() == chinese.openings.keys()


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('their = "Their"', 'there = "Their"', "facts.en.toml: 'there' is not known"),
        ('their = "Their"', "", "facts.en.toml: 'their' is missing"),
        ('their = "Their"', "their = 1", "facts.en.toml: their: 1 is not a string"),
        ('city = ["{city}"]', "city = []", "facts.en.toml: values.city: [] is not a list with"),
        ("apart = true", "apart = 1", "apart: 1 is not true or false"),
        ("apart = true", "aparts = true", "'aparts' is not known; known are ['apart', 'asked'"),
        ("\n[openings]", "\n[openings", "facts.en.toml: Expected"),
        ('value = "port"', 'value = "harbour"', "traits[7]: 'harbour' is not known"),
        ("[openings]\nperson =", "[openings]\npersons =", "openings: 'persons' is not known"),
        ("listens on port {v}", "listens on {w}", "nothing fills {w} of '{e} listens on {w}.'"),
    ],
)
def test_wrong_words_are_refused(right: str, wrong: str, message: str) -> None:
    source = files(words).joinpath(FILE).read_text(encoding="utf-8")
    assert right in source
    with pytest.raises(words.WordsError, match=re.escape(message)):
        checked(words.parse(FactWords, source.replace(right, wrong, 1), FILE), FILE)


def _of_kind(
    kind: str, documents: list[TextDocument], monkeypatch: pytest.MonkeyPatch
) -> list[Asked]:
    monkeypatch.setattr(numbered, "KINDS", ((kind, 1.0),))
    made = Questions(documents, kind)
    return [one for n in range(150) if (one := made.asked(n, CHARACTERS, PASSAGES)) is not None]


def _bare(text: str) -> str:
    return re.sub(r"\s", "", text)


def _written(language: str, number: int, chance: random.Random) -> TextDocument:
    paragraphs = []
    for part in range(8):
        a, b = chance.sample(TOPICS, 2)
        code = f"{number}{part}"
        if language == "en":
            paragraphs += [
                f"## Set up the {a} of house {code}",
                f"To open the {a} of house {code}, choose the key of the {b} first. "
                f"The {b} near gate {code} was painted last year by three people. "
                f"If you lose the key of gate {code}, the guard closes the {a} at night.",
            ]
        else:
            paragraphs += [
                f"## 设置第{code}号{a}的参数",
                f"若要打开第{code}号{a}的大门，请先选择{b}的钥匙。"
                f"如果丢失第{code}号钥匙，则{b}会在夜里关闭。第{code}号参数由管理员在春天修改过一次。",
            ]
    text = "\n".join(paragraphs)
    return TextDocument(f"{language}-{number}", f"source-{language}", language, text, ())


def _meeting() -> TextDocument:
    chance = random.Random("meeting")
    fillers = ["we", "saw", "them", "near", "our", "house", "when", "rain", "came", "down"]
    turns = []
    for number in range(80):
        marked = MARKED[0] <= number <= MARKED[1]
        topic = "the satellite antenna costs" if marked else f"{chance.choice(TOPICS[:4])} plans"
        words = " ".join(chance.sample(fillers, 6))
        turns.append(f"Speaker {'ABC'[number % 3]}: About {topic} number {number} {words} .")
    queries = tuple(
        {
            "query": f"What did they say about the satellite {part}?",
            "answer": "The satellite antenna costs too much.",
            "turns": [[str(MARKED[0]), str(MARKED[1])]],
        }
        for part in ("antenna", "costs", "price", "dish", "launch")
    )
    return TextDocument("meeting-1", "QMSum", "en", "\n".join(turns), (), queries)
