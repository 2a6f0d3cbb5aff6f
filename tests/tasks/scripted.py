"""An engine that writes what a script says, and documents to write about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mmapp.documents.quotes import page_text
from tests.tasks.fakes import FakeEngine, FakePrefix, likes, pdf_page

#: The words of the parts that were read and the question, to what is written.
Script = Callable[[str, str], str]


@dataclass
class ScriptedEngine(FakeEngine):
    """Writes a word at a time; ten million words of a script without an end would be written."""

    script: Script = lambda _read, _question: ""
    rule: Callable[..., float] = field(default_factory=lambda: likes("nothing"))
    questions: list[str] = field(default_factory=list)
    tokens: int = 0

    def generate(
        self,
        prefix: FakePrefix,
        prompt: str,
        *,
        max_tokens: int,
        on_token: Callable[[str], None] | None = None,
    ) -> str:
        needed = prefix.length + self.count_tokens(prompt) + max_tokens
        assert needed <= self.context_length, f"{needed} tokens > {self.context_length}"
        self.questions.append(prompt)
        written = self.script("".join(map(str, prefix.parts)), prompt)
        pieces = _pieces(written)[:max_tokens]
        for piece in pieces:
            self.tokens += 1
            if on_token:
                on_token(piece)
        return "".join(pieces)


def says(*lines: str) -> Script:
    return lambda _read, _question: "\n".join(lines) + "\n"


def _pieces(text: str) -> Sequence[str]:
    """Words with the blank after them; Chinese characters one by one."""
    pieces: list[str] = []
    for character in text:
        if pieces and pieces[-1][-1] not in " \n" and not "\u3000" < character < "\uffff":
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


ENGLISH = (
    pdf_page(
        1,
        "The bridge over the Elbe\n\n"
        "The bridge was closed on 5 March 2024. Engineers of the Hansen\n"
        "Institute found cracks in 12 piers, as Maria Keller reported.",
    ),
    pdf_page(
        2,
        "Repairs will cost 4.2 million euros. The city of Hamburg pays 35 % of it.\n\n"
        "About 1,000 cars a day take a detour of 7.5 km.",
    ),
    pdf_page(3, "The detour takes twenty minutes.\n\nThe bridge opens again in April 2025."),
)
CHINESE = (
    pdf_page(
        1,
        "长江大桥维修报告\n\n大桥于2024年3月5日关闭。汉森研究所的工程师在十二个桥墩上\n"
        "发现裂缝，王小明教授作了报告。",
    ),
    pdf_page(2, "维修费用为420万元。武汉市承担百分之三十五。\n\n每天约有一千辆汽车绕行7.5公里。"),
    pdf_page(3, "绕行需要二十分钟。\n\n大桥将于2025年4月重新开放。"),
)
assert all(page_text(page) for page in ENGLISH + CHINESE)
