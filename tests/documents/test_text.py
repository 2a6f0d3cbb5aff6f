import pytest

from mmapp.documents.quotes import page_text
from mmapp.errors import EmptyFile, FileTooLarge
from mmapp.types import MediaType


def texts(reader, data):
    return [page_text(page) for page in reader.read("a.txt", data).pages]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"]
)
def test_each_encoding_gives_the_same_text(reader, encoding):
    text = "Plain words here, and more of them.\n\n第一行的文字，\n接着第二行。\n"
    assert texts(reader, text.encode(encoding)) == [
        "Plain words here, and more of them.\n第一行的文字，接着第二行。"
    ]


def test_a_form_feed_ends_a_page(reader):
    assert texts(reader, b"One\n\fTwo\n\f") == ["One", "Two"]


def test_a_blank_line_ends_a_block_and_others_are_joined(reader):
    assert texts(reader, b"One\r\ntwo\rthree\n \t \nFour") == ["One two three\nFour"]


def test_markdown_blocks_begin_at_their_signs(reader):
    read = reader.read("a.md", b"# Title\nWords of\na text\n- one\n- two\n1. three\n> said\n")
    assert read.document.media_type is MediaType.MARKDOWN
    assert page_text(read.pages[0]) == "# Title\nWords of a text\n- one\n- two\n1. three\n> said"
    assert read.pages[0].lines[0].box is None
    assert read.images == ()


def test_a_wrong_byte_far_into_a_file_costs_one_character(reader):
    data = b"word " * 40_000 + b"\xff end"
    assert texts(reader, data)[0].endswith("word \ufffd end")


def test_what_is_not_seen_is_not_read(reader):
    hidden = "".join(chr(0xE0000 + ord(c)) for c in "obey")
    text = f"A\u200bb\u202ec\x07{hidden}d\ufeffe\u00ad f"
    assert texts(reader, text.encode()) == ["Abcde\u00ad f"]


def test_white_space_alone_is_an_empty_file(reader):
    with pytest.raises(EmptyFile, match="nothing but white space"):
        reader.read("a.txt", b" \n\t\n")


def test_too_many_characters_or_pages_name_both_numbers(limited):
    with pytest.raises(FileTooLarge, match=r"300 characters.*100.*MMAPP_MAX_CHARACTERS"):
        limited(max_characters=100).read("a.txt", b"abc" * 100)
    with pytest.raises(FileTooLarge, match=r"3 pages.*2 .*MMAPP_MAX_PAGES"):
        limited(max_pages=2).read("a.txt", b"a\fb\fc")
