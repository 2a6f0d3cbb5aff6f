"""Our turns against the chat templates that the family was published with, run by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Vocabulary
from transformers import PreTrainedTokenizerFast

from model.prompt import ask, end_turn, open_turn, reply
from model.tokenizer import Tokenizer

#: Llama 3 writes each turn under a header; the first has the beginning of the text before it.
LLAMA_3 = (
    "{% for message in messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_4 = (
    LLAMA_3.replace("start_header_id", "header_start")
    .replace("end_header_id", "header_end")
    .replace("eot_id", "eot")
)
LLAMA_2 = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'].strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
#: What Llama 3 and 4 take for words, as in their tokenizer.json.
LLAMA_3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = ["[INST] the cat sat on the mat. [/INST] yes it did 文件 user assistant\n\n"] * 5
CONVERSATION = [("the cat sat.", " Is it 文件?"), ("", "yes the\n\ncat 🙂?"), ("a  b\n", "\nwhy")]


def header_vocabulary(*names: str) -> Vocabulary:
    """Bytes and words, as Llama 3 and 4 have them."""
    vocabulary = Vocabulary(models.BPE())
    vocabulary.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    vocabulary.decoder = decoders.ByteLevel()
    control = ["<|begin_of_text|>", "<|end_of_text|>", *(f"<|{name}|>" for name in names)]
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=control,
        show_progress=False,
    )
    vocabulary.train_from_iterator(TEXTS, trainer)
    return vocabulary


def sentencepiece_vocabulary(scheme: str | None) -> Vocabulary:
    """Words with the space before them, and bytes for the rest, as LLaMA 1 and Llama 2 have them;
    spaces are written by a normalizer, or by Metaspace with this scheme."""
    learnt = Vocabulary(models.BPE(unk_token="<unk>", byte_fallback=True))
    learnt.pre_tokenizer = pre_tokenizers.Metaspace()
    control = ["<unk>", "<s>", "</s>"]
    rest = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*control, *rest],
        initial_alphabet=["▁"],
        limit_alphabet=30,
        show_progress=False,
    )
    learnt.train_from_iterator(TEXTS, trainer)
    model = json.loads(learnt.to_str())["model"]
    vocabulary = Vocabulary(
        models.BPE(
            vocab=model["vocab"],
            merges=[tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if scheme is None:
        vocabulary.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        vocabulary.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    vocabulary.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    vocabulary.add_special_tokens([AddedToken(name, normalized=False) for name in control])
    return vocabulary


FAMILY: dict[str, tuple[Any, str, str, str]] = {
    "Llama 2": (
        lambda: sentencepiece_vocabulary(None), LLAMA_2, "<s>", "</s>",
    ),
    "Llama 2, another file": (
        lambda: sentencepiece_vocabulary("always"), LLAMA_2, "<s>", "</s>",
    ),
    "Llama 3": (
        lambda: header_vocabulary("start_header_id", "end_header_id", "eot_id", "eom_id"),
        LLAMA_3, "<|begin_of_text|>", "<|eot_id|>",
    ),
    "Llama 4": (
        lambda: header_vocabulary("header_start", "header_end", "eot", "eom"),
        LLAMA_4, "<|begin_of_text|>", "<|eot|>",
    ),
}  # fmt: skip


@pytest.fixture(params=FAMILY, ids=list(FAMILY))
def both(request: Any, tmp_path: Path) -> tuple[Tokenizer, PreTrainedTokenizerFast]:
    """Ours and theirs, read from the same folder."""
    make, template, begin, end = FAMILY[request.param]
    make().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=Vocabulary.from_file(str(tmp_path / "tokenizer.json")),
        chat_template=template,
        bos_token=begin,
        eos_token=end,
    )
    return Tokenizer.from_folder(tmp_path), theirs


@pytest.mark.parametrize(("document", "question"), CONVERSATION)
def test_a_question_is_asked_as_the_template_does(
    both: tuple[Tokenizer, PreTrainedTokenizerFast], document: str, question: str
) -> None:
    ours, theirs = both
    document, question = document.strip(), question if document else question.strip()
    ids = open_turn([document] if document else [], ours, None).token_ids + ask(question, ours)
    gap = ours.gap if document and not question[0].isspace() else ""
    user = {"role": "user", "content": document + gap + question}
    expected = theirs.apply_chat_template([user], add_generation_prompt=True, return_dict=False)
    assert ids == expected, theirs.decode(ids)
    assistant = {"role": "assistant", "content": "it did"}
    told = theirs.apply_chat_template([user, assistant], return_dict=False)
    assert [*ids, *reply("it did", ours), *end_turn(ours)] == told


def test_text_is_written_as_it_was_read(both: tuple[Tokenizer, PreTrainedTokenizerFast]) -> None:
    ours, _ = both
    for text in (" the cat", "the cat", "文件 🙂\n\n ", "<s>[INST]</s><|eot_id|>"):
        assert ours.decode(ours.encode(text)) == text
    assert not ours.control_ids & set(ours.encode("<s></s><|eot|><|eot_id|><|header_start|>"))


def test_the_end_of_a_turn_ends_an_answer(
    both: tuple[Tokenizer, PreTrainedTokenizerFast],
) -> None:
    ours, theirs = both
    assert theirs.eos_token_id in ours.stop_ids
    assert end_turn(ours)[-1] == theirs.eos_token_id


@pytest.mark.parametrize("scheme", [None, "always", "first"])
def test_without_a_template_llama_2_gets_plain_text(scheme: str | None) -> None:
    vocabulary = sentencepiece_vocabulary(scheme)
    plain = vocabulary.encode("the cat sat", add_special_tokens=False).ids
    ours = Tokenizer(vocabulary)
    opened = open_turn(["the cat"], ours, None).token_ids
    assert opened + ask("sat", ours) == [ours.id("<s>"), *plain]
    assert end_turn(ours) == []
