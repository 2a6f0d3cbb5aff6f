"""Key facts: sentences hidden in long documents, and the questions that they answer.

The documents are glued together of technical ones of the val split. The facts' wordings are of this
module alone, so that nothing measured with them was trained on. Half of the questions are in the
words of the fact, half in others. Called by the measurement of answers. Refuses (ValueError) to
hide facts in fewer characters than were asked for.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from model.train.documents import Sentence, TextDocument, is_chinese, sentences
from model.train.measure.cases import Case, paged

HIDDEN = 3  # facts in one document; another question about it is not answered
MOST_TRIES = 100
NOT_PROSE = ("|", "```", "#", ">", "<")
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Wording:
    """How a fact is said and asked for: with its own words, and with others. Each question stands
    with its answer, words of the fact."""

    fact: str
    same: tuple[str, str]
    other: tuple[str, str]


@dataclass(frozen=True)
class Fact:
    """A fact about something named, said and asked."""

    name: str
    text: str
    same: tuple[str, str]
    other: tuple[str, str]
    wording: Wording


@dataclass(frozen=True)
class Hidden:
    """A fact that stands in a document, and the one of its two questions that is asked."""

    fact: Fact
    other_words: bool

    @property
    def question(self) -> str:
        return (self.fact.other if self.other_words else self.fact.same)[0]

    @property
    def answer(self) -> str:
        return (self.fact.other if self.other_words else self.fact.same)[1]


def key_facts(
    documents: Sequence[TextDocument], lang: str, *, seed: int, count: int, characters: int
) -> list[Case]:
    """`count` questions about documents of so many characters, glued together of these.

    The depths of the facts are spread evenly over all. The fourth question about a document is not
    answered: every other one is about a like fact, of something else."""
    found: list[Case] = []
    total = math.ceil(count / (HIDDEN + 1))
    for number in range(total):
        chance = random.Random(f"{seed}/{lang}/{number}")
        asked = min(HIDDEN + 1, count - len(found))
        depths = [(place + (number + 0.5) / total) / HIDDEN for place in range(min(HIDDEN, asked))]
        text, hidden = with_facts(glued(documents, characters, chance), lang, depths, chance)
        questions: list[tuple[str, Hidden | None]] = [(one.question, one) for one in hidden]
        if asked > HIDDEN:
            is_like = number % 2 == 0
            questions.append((_unanswered(text, lang, hidden, chance, is_like=is_like), None))
        pages = tuple(paged(text.split("\n")))
        for question, one in questions:
            case = Case(
                id=f"{lang}/{len(found)}",
                kind=f"key facts {lang}",
                document=f"{lang}/{number}",
                pages=pages,
                question=question,
            )
            found.append(_answered(case, one) if one else case)
    return found


def _answered(case: Case, hidden: Hidden) -> Case:
    pages = enumerate(case.pages, start=1)
    page = next(number for number, page in pages if hidden.answer in page)
    return replace(case, answers=(hidden.answer,), page=page, other_words=hidden.other_words)


def glued(documents: Sequence[TextDocument], characters: int, chance: random.Random) -> str:
    """Whole documents in random order, none twice; the last one is cut at the end of a line."""
    lines: list[str] = []
    length = 0
    for document in chance.sample(documents, len(documents)):
        for line in document.text.split("\n"):
            if length + len(line) > characters and length >= 0.9 * characters:
                return "\n".join(lines)
            lines.append(line)
            length += len(line) + 1
    if length < 0.9 * characters:
        raise ValueError(
            f"the documents have {length:,} characters together, fewer than {characters:,}: ask "
            "for shorter ones"
        )
    return "\n".join(lines)


def with_facts(
    text: str, lang: str, depths: Sequence[float], chance: random.Random
) -> tuple[str, list[Hidden]]:
    """The text with a fact hidden at each depth, and these."""
    hidden: list[Hidden] = []
    for depth in depths:
        text, one = _hide(text, lang, depth, hidden, chance)
        hidden.append(one)
    return text, hidden


def _hide(
    text: str, lang: str, depth: float, before: Sequence[Hidden], chance: random.Random
) -> tuple[str, Hidden]:
    """A fact that is not in the text put into it, so that its answer stands there once."""
    for _ in range(MOST_TRIES):
        one = Hidden(draw_fact(lang, chance), chance.random() < 0.5)
        if one.fact.name in text or one.answer in text:
            continue
        if any(words in one.fact.text for b in before for words in (b.fact.name, b.answer)):
            continue
        whole = _put(text, one.fact.text, depth, inside=chance.random() < 0.5)
        (line,) = [line for line in whole.split("\n") if one.answer in line]
        if any(one.answer in sentence.text for sentence in sentences(line)):
            return whole, one
    raise ValueError(f"there is no place in the {lang} text to hide a fact: {text[:100]!r}")


def _unanswered(
    text: str, lang: str, hidden: Sequence[Hidden], chance: random.Random, *, is_like: bool
) -> str:
    """A question about what is not in the text; `is_like`: a hidden fact is worded like its
    answer would be."""
    wordings = [one.fact.wording for one in hidden]
    while True:
        fact = draw_fact(lang, chance, chance.choice(wordings) if is_like else None)
        if fact.name not in text and (is_like or fact.wording not in wordings):
            return chance.choice((fact.same, fact.other))[0]


def _put(text: str, fact: str, depth: float, *, inside: bool) -> str:
    """The text with the fact at about this depth: behind a sentence within its line, or on a line
    of its own."""
    found = [sentence for sentence in sentences(text) if not sentence.heading]
    if not found:
        return f"{text}\n{fact}"
    ends = [sentence.end for sentence in found]
    index = min(bisect_right(ends, depth * len(text)), len(found) - 1)
    if inside:
        order = sorted(range(len(found)), key=lambda other: abs(other - index))
        for other in order[:MOST_TRIES]:
            if _ends_within_prose(text, found[other]):
                end = found[other].end
                joint = "" if is_chinese(fact) else " "
                return text[:end] + joint + fact + text[end:]
    end = text.find("\n", ends[index])
    end = len(text) if end < 0 else end
    return f"{text[:end]}\n{fact}{text[end:]}"


def _ends_within_prose(text: str, sentence: Sentence) -> bool:
    """Whether another sentence may follow: it has an end mark and stands in no table or code."""
    line = text[text.rfind("\n", 0, sentence.start) + 1 : sentence.end]
    return sentence.text[-1] in ".!?。！？" and not line.lstrip().startswith(NOT_PROSE)


def draw_fact(lang: str, chance: random.Random, wording: Wording | None = None) -> Fact:
    """A fact with everything in it drawn; `wording`: of that wording."""
    wording = wording or chance.choice(WORDINGS[lang])
    slots = _slots(lang, chance)
    same, other = (
        (question.format(**slots), answer.format(**slots))
        for question, answer in (wording.same, wording.other)
    )
    name = slots["name"] if "{name}" in wording.fact else slots["city"]
    return Fact(name, wording.fact.format(**slots), same, other, wording)


def _slots(lang: str, chance: random.Random) -> dict[str, str]:
    year, month, day = chance.randint(1961, 2033), chance.randint(1, 12), chance.randint(1, 28)
    words = WORDS[lang]
    is_english = lang == "en"
    return {
        "name": chance.choice(words["name"]),
        "city": chance.choice(words["city"]),
        "colour": chance.choice(words["colour"]),
        "person": (" " if is_english else "").join(
            chance.choice(words[part]) for part in ("first", "last")[:: 1 if is_english else -1]
        ),
        "date": f"{day} {MONTHS[month - 1]} {year}" if is_english else f"{year}年{month}月{day}日",
        "year": str(year),
        "time": f"{chance.randint(0, 23):02}:{chance.choice((5, 15, 20, 35, 40, 50)):02}",
        "code": str(chance.randint(10_000, 99_999)),
        "number": str(chance.randint(1_000_000, 9_999_999)),
        "amount": f"{chance.randint(101, 989)},{chance.randint(1, 19) * 50:03}",
        "weight": str(chance.randint(1_101, 8_999)),
        "room": f"{chance.choice('BCDFGK')}{chance.randint(103, 689)}",
        "days": str(chance.randint(23, 49)),
        "months": str(chance.randint(37, 119)),
        "phone": f"{chance.randint(201, 989)} {chance.randint(1_001, 9_899)}",
        "serial": f"{chance.choice('HKQVZ')}{chance.choice('BRTX')}-{chance.randint(1_001, 9_899)}",
    }


MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip

WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "name": (
            "Hallberg", "Larkspur", "Tamsin", "Ostrava", "Quillan", "Wexcombe", "Brindle",
            "Thornbury", "Halcyon", "Merrow", "Petrel", "Saltmarsh", "Kestrel", "Dunmore",
            "Aldgate", "Foxglove", "Ravenna", "Juniper", "Carrick", "Blackwater", "Solveig",
            "Marlow", "Tideway", "Ashgrove", "Vintner", "Corbel",
        ),
        "city": (
            "Lisbon", "Tallinn", "Bergen", "Nairobi", "Valparaíso", "Ljubljana", "Antwerp",
            "Osaka", "Galway", "Porto", "Kraków", "Marrakesh", "Tbilisi", "Reykjavík", "Adelaide",
        ),
        "first": (
            "Anna", "Tobias", "Ingrid", "Farid", "Noemi", "Padraig", "Yusuf", "Leonie", "Ravi",
            "Ottilie", "Marek", "Chiara",
        ),
        "last": (
            "Lindqvist", "Okafor", "Brandauer", "Castellano", "Novotny", "Haverkamp", "Ishikawa",
            "Desrosiers", "Falkenrath", "Mbeki", "Petrov", "Gallagher",
        ),
        "colour": (
            "turquoise", "crimson", "violet", "maroon", "teal", "beige", "magenta", "indigo",
            "ochre", "scarlet",
        ),
    },
    "zh": {
        "name": (
            "云岭", "青禾", "鹤鸣", "星桥", "松涛", "海棠", "白鹿", "金穗", "雁门", "沧浪", "临渊",
            "紫霄", "长亭", "碧潭", "听雨", "望舒", "北辰", "翠屏", "南浦", "落霞",
        ),
        "city": (
            "里斯本", "杭州", "成都", "厦门", "兰州", "奈罗比", "大阪", "哈尔滨", "昆明", "贵阳",
            "苏州", "洛阳", "泉州",
        ),
        "first": (
            "晓燕", "国栋", "文静", "志远", "雨桐", "建华", "思源", "慧敏", "俊杰", "美玲", "浩然",
        ),
        "last": ("欧阳", "林", "郭", "沈", "唐", "秦", "谢", "韩", "诸葛", "曹", "邓"),
        "colour": ("天蓝色", "深红色", "墨绿色", "米黄色", "橘红色", "浅紫色", "咖啡色", "银灰色"),
    },
}  # fmt: skip

WORDINGS: Mapping[str, tuple[Wording, ...]] = {
    "en": (
        Wording(
            "The access code of the {name} gateway is {code}.",
            ("What is the access code of the {name} gateway?", "{code}"),
            ("Which digits open the {name} gate?", "{code}"),
        ),
        Wording(
            "The special magic number for {city} is {number}.",
            ("What is the special magic number for {city}?", "{number}"),
            ("Which secret figure belongs to {city}?", "{number}"),
        ),
        Wording(
            "The maintenance window of the {name} cluster begins at {time}.",
            ("When does the maintenance window of the {name} cluster begin?", "{time}"),
            ("At what hour may the {name} servers be taken down for service?", "{time}"),
        ),
        Wording(
            "{person} signed the {name} contract on {date}.",
            ("Who signed the {name} contract?", "{person}"),
            ("When was the {name} agreement concluded?", "{date}"),
        ),
        Wording(
            "The {name} project has a budget of {amount} euros.",
            ("What is the budget of the {name} project?", "{amount} euros"),
            ("How much money may be spent on {name}?", "{amount} euros"),
        ),
        Wording(
            "Replacement filters for the {name} pump are kept in room {room}.",
            ("Where are replacement filters for the {name} pump kept?", "{room}"),
            ("In which place do I find a spare filter for {name}?", "{room}"),
        ),
        Wording(
            "The annual meeting of the {name} society takes place in {city}.",
            ("Where does the annual meeting of the {name} society take place?", "{city}"),
            ("Which town hosts the people of {name} every year?", "{city}"),
        ),
        Wording(
            "The {name} crane can lift at most {weight} kilograms.",
            ("How many kilograms can the {name} crane lift at most?", "{weight} kilograms"),
            ("What is the maximum load of the {name} crane?", "{weight} kilograms"),
        ),
        Wording(
            "Reports of the {name} survey must be handed in by {date}.",
            ("By when must reports of the {name} survey be handed in?", "{date}"),
            ("What is the deadline of the {name} study?", "{date}"),
        ),
        Wording(
            "The door of the {name} laboratory is painted {colour}.",
            ("How is the door of the {name} laboratory painted?", "{colour}"),
            ("What colour is the entrance of the {name} lab?", "{colour}"),
        ),
        Wording(
            "{person} is responsible for the {name} archive.",
            ("Who is responsible for the {name} archive?", "{person}"),
            ("Whom should one ask about old files of {name}?", "{person}"),
        ),
        Wording(
            "The warranty of the {name} boiler ends after {months} months.",
            ("When does the warranty of the {name} boiler end?", "{months} months"),
            ("For how long is the {name} heating guaranteed?", "{months} months"),
        ),
        Wording(
            "The {name} telescope was built by {person} in {year}.",
            ("Who built the {name} telescope?", "{person}"),
            ("Which engineer made the {name} instrument?", "{person}"),
        ),
        Wording(
            "To reach the {name} help desk, dial {phone}.",
            ("What must I dial to reach the {name} help desk?", "{phone}"),
            ("How can I phone the support people of {name}?", "{phone}"),
        ),
        Wording(
            "Members of the {name} team get {days} days of leave a year.",
            ("How many days of leave do members of the {name} team get?", "{days} days"),
            ("How much holiday does the {name} staff have?", "{days} days"),
        ),
        Wording(
            "The serial number of the {name} turbine is {serial}.",
            ("What is the serial number of the {name} turbine?", "{serial}"),
            ("How is the {name} machine labelled?", "{serial}"),
        ),
        Wording(
            "The {name} generator was inspected last spring. It belongs to {person}.",
            ("To whom does the {name} generator belong?", "{person}"),
            ("Who is the owner of the {name} generator?", "{person}"),
        ),
    ),
    "zh": (
        Wording(
            "{name}网关的访问码是{code}。",
            ("{name}网关的访问码是多少？", "{code}"),
            ("登录{name}要输入哪几个数字？", "{code}"),
        ),
        Wording(
            "{city}的幸运数字是{number}。",
            ("{city}的幸运数字是多少？", "{number}"),
            ("哪个号码能给{city}带来好运？", "{number}"),
        ),
        Wording(
            "{name}集群的维护从{time}开始。",
            ("{name}集群的维护从几点开始？", "{time}"),
            ("{name}的服务器什么时候停机检修？", "{time}"),
        ),
        Wording(
            "{person}于{date}签署了{name}合同。",
            ("谁签署了{name}合同？", "{person}"),
            ("{name}的协议是哪天签订的？", "{date}"),
        ),
        Wording(
            "{name}项目的预算为{amount}元。",
            ("{name}项目的预算是多少？", "{amount}元"),
            ("{name}最多可以花多少钱？", "{amount}元"),
        ),
        Wording(
            "{name}水泵的备用滤芯存放在{room}室。",
            ("{name}水泵的备用滤芯存放在哪里？", "{room}"),
            ("到哪个房间去找{name}的替换零件？", "{room}"),
        ),
        Wording(
            "{name}协会的年会在{city}举行。",
            ("{name}协会的年会在哪里举行？", "{city}"),
            ("{name}的会员每年去哪座城市开会？", "{city}"),
        ),
        Wording(
            "{name}起重机最多能吊起{weight}公斤。",
            ("{name}起重机最多能吊起多少公斤？", "{weight}公斤"),
            ("{name}吊车的最大载重是多少？", "{weight}公斤"),
        ),
        Wording(
            "{name}调查的报告须在{date}之前提交。",
            ("{name}调查的报告须在什么时候之前提交？", "{date}"),
            ("{name}调研的截止日期是哪天？", "{date}"),
        ),
        Wording(
            "{name}实验室的大门漆成了{colour}。",
            ("{name}实验室的大门漆成了什么颜色？", "{colour}"),
            ("怎样从外观上认出{name}实验室的入口？", "{colour}"),
        ),
        Wording(
            "{name}档案馆由{person}负责管理。",
            ("{name}档案馆由谁负责管理？", "{person}"),
            ("要查{name}的旧资料该找哪一位？", "{person}"),
        ),
        Wording(
            "{name}锅炉的保修期为{months}个月。",
            ("{name}锅炉的保修期有多长？", "{months}个月"),
            ("{name}的供暖设备买来多久之内可以免费修？", "{months}个月"),
        ),
        Wording(
            "{name}团队的成员每年有{days}天年假。",
            ("{name}团队的成员每年有几天年假？", "{days}天"),
            ("在{name}上班一年能休息多久？", "{days}天"),
        ),
        Wording(
            "{name}发电机去年春天做过检修。它归{person}所有。",
            ("{name}发电机归谁所有？", "{person}"),
            ("{name}发电机的主人是哪一位？", "{person}"),
        ),
    ),
}
