"""Phrases that stopped English readers do not come back, in docs, config and rules and in the texts of the code."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest
from conftest import ROOT

THING = (
    "anchor|batch|bin|board|box|bundle|cell|channel|class|cluster|column|detection|draw|family|feature map|file|filter|"
    "folder|frame|group|head|image|job|layer|level|line|map|model|node|number|output|pair|problem|process|row|rule|run|scale|sentence|"
    "side|size|stage|step|stride|task|tensor|thought|variant"
)
SHARE = (
    "bar|bars|bins|bits|channels|choice|comparison|convolution|dot|entry|file|frames|function|header|images|KB|line|map|maps|"
    "MB|ms|number|once|one|operator|panel|path|point|process|row|scale|score|sentence|sigmoid|steps|strides|table|tensor|text|"
    "thought|value"
)
# What is wrong, and what to say instead. Texts are searched with their line breaks as blanks.
PATTERNS = {
    rf"\b({SHARE}) an? ({THING})\b(?!'s)": "one … per …",
    r"\b(frames|images|KB|MB|GB) a second\b": "… per second",
    r"\ba (?!(and|as|at|eu\w*|if|in|is|on|one|once|or|else)\b)[aeio][a-z]+\b": "an …",
    r"\ban (?!(hour|honest|SDK|SSH|L|R|N|M|F|S|X|RV|NPU|NMS|FP|ssh)\w*)[bcdfgjklmnpqrstvwxyz][a-z]+\b": "a …",
    r"\b[Ff]or ever\b": "forever",
    r"\ban earlier day\b": "earlier, in an earlier measurement",
    r"\bcould be had\b": "could not be fetched",
    r"\bno whole images?\b": "truncated or not an image",
    r"\bfault of (this tool|ours)\b": "a bug in this tool",
    r"\bfor want of\b": "because … ran out",
    r"\b(is|are|was|were|been|not) told\b(?! apart)": "is reported",
    r"\btold of\b|\btells of\b": "reported",
    r"\bgoes on where\b|\bgo on where\b|\bit goes on\b": "resumes",
    r"\bspeaks? against\b": "no known rule predicts that it fails",
    r"\bnobody has confirmed\b": "not tested on hardware",
    r"\bwhich the \w+ has not\b": "which the … cannot run, lacks",
    r"(?<!--)\bpictures?\b": "image",
    r"\b(could|can) be had\b": "can be fetched",
    r"(?<!there )\bis no (number|file|folder|image|list|mapping|result|runtime|JSON)\b": "is not a …",
    r"\bwhat became of\b": "the result of, the state of",
    r"\bsays of itself\b": "its description of itself",
    r"\bof the house\b": "of this project",
}
# The same of pages alone, outside of their code; the code is free to use these words.
PAGE_PATTERNS = {
    r"\b[Gg]o(es)? by\b": "is measured by, depends on",
    r"\broom for\b|\bthan room\b": "holds, fits",
    r"\b[Ss]trangers?\b": "third-party, another exporter",
    r"\b(somebody|someone)('s| else's)\b": "another …",
    r"\bof (yours|theirs|ours)\b": "your own …",
    r"\bin the mean\b": "on average",
    r"(?<!makes )\bby (it|them)sel(f|ves)\b": "automatically",
    r"\bsome \d": "about …",
    r"\bnearer\b|\bfur(ther|thest) off\b": "closer, differs more, differs most",
    r"\bneither way\b": "is ignored",
    r"\b(is|are) (then )?said\b(?! to)": "is reported",
    r"\banew\b": "again",
    r"\bin (the )?place of\b": "instead of",
    r"\bwants? to be\b": "the input that the model expects",
    r"\bINT8 keeps\b|\b(keeps?|kept) (some )?0\.\d": "retention is …",
    r"\bsurest\b": "highest score",
    r"\bleast to largest\b": "lowest to highest",
    r"\bin shares of\b|\bas a share of\b": "as fractions of, divided by",
    r"\btold\b(?! apart)": "reported, says",
    r"\b(is|are|ends? in) (one|a) sentence\b": "gives a clear message",
    r"\b[Ss]ham\b": "simulated",
    r"\b[Nn]obody\b|\b[Ww]hoever\b": "no report, was not tested, the user",
    r"\bhangs on\b": "depends on",
    r"\bmended?\b": "corrected, fixed",
    r"\bdrawn in\b|\bdraws in the\b": "narrowed",
    r"\bbehind the others?\b": "after the others",
    r"\bpasses over\b": "runs … through",
}
# The same of the C code that users get, whose comments and messages are the reference of a library.
C_PATTERNS = {
    r"\bbehind\b": "after",
    r"\bbesides\b": "in addition to",
    r"\bby turns\b": "interleaved, alternately",
    r"\blooked at\b": "read, used",
    r"\b(no )?room (for|to)\b": "capacity, array of … elements",
    r"\btold\b|\b[Tt]ells?\b": "reported, read from",
    r"\bwants?\b": "expects",
    r"\bwhoever\b": "the program",
    r"(?<!there )\bis none\b": "is invalid",
    r"\bnot understood\b": "invalid",
    r"\b(that|which|what) (is|was) wrong\b": "the error",
}
GLOBS = (
    "*.md", "mkdocs.yml", "docs/*.md", "config/*.yaml", "config/*.md", "tests/README.md", "example/README.md",
    "report/*.rst", "scripts/lib/bundle/README.template.md",
)  # fmt: skip
PAGES = [path for glob in GLOBS for path in sorted(ROOT.glob(glob))]
CODE = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk")), *sorted((ROOT / "scripts").rglob("*.py"))]
C_CODE = sorted((ROOT / "scripts" / "lib").rglob("*.[ch]"))


def page(path: Path) -> str:
    """The text of a page. CONTRIBUTING shows some of the phrases in a table of before and after, which is left out."""
    return re.sub(r"^\| before \| after \|\n(\|.*\n)+", "", path.read_text("utf-8"), flags=re.MULTILINE)


def texts(path: Path) -> str:
    """Comments, docstrings and other texts of a Python or C file; only the comments of a rule's file."""
    source = path.read_text("utf-8")
    if path.suffix in (".c", ".h"):
        pieces = re.findall(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', source, re.DOTALL)
        return "\n".join(re.sub(r"^\s*/?\*+/?|\*/$", "", text, flags=re.MULTILINE) for text in pieces)
    if path.suffix != ".py":
        return "\n".join(re.findall(r"(?:^|\s)#(.*)$", source, re.MULTILINE))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return ".\n".join([" ".join(comments), *(node.value for node in nodes if isinstance(node.value, str))])


def prose(text: str) -> str:
    """A page without its code, in blocks or in lines, which quotes messages and names."""
    return re.sub(r"`[^`\n]+`", "…", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))


def wrong(text: str, patterns: dict[str, str] = PATTERNS) -> list[str]:
    """Each phrase of a text that a pattern forbids, with its neighbours and what to say instead."""
    flat = " ".join(text.split())
    return [
        f"…{flat[max(0, match.start() - 30) : match.end() + 30]}… → {instead}"
        for pattern, instead in patterns.items()
        for match in re.finditer(pattern, flat)
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_none_of_the_phrases(path):
    text = page(path)
    assert wrong(text) + wrong(prose(text), PAGE_PATTERNS) == []


def test_the_texts_of_the_code_have_none_of_the_phrases():
    assert len(CODE) > 100
    assert {str(path.relative_to(ROOT)): found for path in CODE if (found := wrong(texts(path)))} == {}


def test_the_c_code_has_none_of_the_phrases():
    assert len(C_CODE) > 15
    patterns = PATTERNS | C_PATTERNS
    assert {path.name: found for path in C_CODE if (found := wrong(texts(path), patterns))} == {}


@pytest.mark.parametrize("text", ["what the family's header wants", "the pixels behind it", "a threshold that is none"])
def test_a_phrase_forbidden_in_c_is_seen(text):
    assert wrong(text, C_PATTERNS)


@pytest.mark.parametrize(
    "text",
    [
        "one row a variant",
        "60 images a second",
        "a image",
        "an model",
        "It could be had from none of its sources",
        "4 images are no whole images",
        "(a fault of this tool)",
        "the program told of 3 of 16 images and ended",
        "a model that the board refuses is told",
        "run this again, it goes on\nwhere it was",
        "nothing known speaks against the model",
        "what the board says of itself is no JSON",
        "the exponential, which the RV1106 has not",
    ],
)
def test_a_forbidden_phrase_is_seen(text):
    assert wrong(text)


@pytest.mark.parametrize(
    "text",
    ["mAP goes by polygons", "a config of yours", "0.4 steps in the mean", "some 25 times slower", "it keeps 0.98"],
)
def test_a_phrase_forbidden_in_pages_is_seen(text):
    assert wrong(prose(text), PAGE_PATTERNS) and not wrong(prose(f"`{text}`"), PAGE_PATTERNS)


@pytest.mark.parametrize("text", ["a one-to-one head", "cannot be told apart", "an hour", "one row per variant"])
def test_a_good_phrase_is_not(text):
    assert wrong(text) == []
