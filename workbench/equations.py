"""Equations of a card as they are printed: from the plain notation of docstrings to rich text that Qt draws. No Qt.

The notation is that of all cards: `x_i` and `x_(t-1)` subscripts, `x^2` and `C^(-1/2)` superscripts, `w^` and `p~` hats and tildes, `w'` primes,
names of Greek letters, `sqrt(x)`, `sum_i`, `<=`, `<-`; a variable is one letter, what is longer is a word. Fractions stay on the line: with
words between the symbols only the author knows how far a numerator reaches.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.theme import Theme

FONTS = "'STIX Two Text', 'Cambria', 'Times New Roman', 'Liberation Serif', 'DejaVu Serif', serif"
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "eta": "η", "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "pi": "π",
    "sigma": "σ", "tau": "τ", "phi": "φ",
}  # fmt: skip
WIDEST_HEAD = 28
"""Characters in front of a common column at most: what is longer is no head, and leaves no room beside it where a card is narrow."""
HAT, TILDE = "\u0302", "\u0303"
_SIGNS = {"<-": "←", "->": "→", "<=": "≤", ">=": "≥", "!=": "≠", "||": "‖", "...": "…", "..": "…", "*": "∗", ".": "·", "-": "−"}

_NUMBERED = re.compile(r"^.*\S\s{3,}\(\d+\w?\)(?:\s{2,}\S.*)?$")
_LINE = re.compile(r"^(?P<text>.*?\S)\s{2,}(?P<number>\(\d+\w?\))(?:\s{2,}(?P<remark>\S.*))?$|^(?P<text1>.*\S) (?P<number1>\(\d+\w?\))$")
_HEAD = re.compile(r"^(\S.*?)\s{2,}(?=\S)")
_ARTICLE = re.compile(r" (?!(?:and|argmax|argmin|cos|exp|for|from|log|max|mean|min|sign|where|with|over)\b)(?P<word>[A-Za-z]{3,})(?!\w*\()")
_TOKEN = re.compile(
    r"""(?P<code>`[^`]+`)
    |(?P<possessive>(?<=[a-z]{2})'s\b)
    |(?P<script>(?<=[\w)\]}'~^|])_(?=[A-Za-z0-9(]))
    |(?P<power>\ \^\ (?=[A-Za-z])|(?<=[\w)\]}'|])\^(?=[A-Za-z0-9(-]))
    |(?P<hyphened>(?:[A-Za-z]{2,}|[A-Za-z](?=-[A-Za-z]{2}))(?:-[A-Za-z][A-Za-z0-9]*)+|[a-z]{3,}/[a-z]{3,}\w*|(?!loss_)[A-Za-z]{2,}(?:_[A-Za-z0-9]{3,})+)
    |(?P<word>[A-Za-z]+)(?P<digits>\d*)
    |(?P<sign><-|->|<=|>=|!=|\|\||\.\.\.?|(?<=\ )[*.](?=\ )|(?<=\b[A-Za-z])\.(?=[A-Za-z])|(?<=')\.(?=[A-Za-z])|-)
    |(?P<accent>[\^~](?=[\s_,;)\]|]|$))
    |(?P<gap>\s{2,})
    |(?P<other>\s|\d[\d.]*e-?\d+|\d[\d.,]*\d|.)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Equation:
    """A line of a block: what stands in front of the common column (a case, a name), the equation, its number, a remark.

    spans: it does not keep to the common column, and takes the room of a head too.
    """

    head: str
    body: str
    number: str
    remark: str
    spans: bool


def numbered(line: str) -> bool:
    """Whether a line ends in the number of an equation far out, or in such a number and a remark."""
    return _NUMBERED.match(line.rstrip()) is not None


def equations(lines: Sequence[str]) -> list[Equation]:
    """The lines of a block. What the author put below each other in two lines or more stays below each other: heads in front, bodies behind."""
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    parted = []
    for line in lines:
        match = _LINE.match(line[margin:].rstrip())
        given = match.groupdict() if match else {}
        text = given.get("text") or given.get("text1") or line[margin:].rstrip()
        parted.append((text, given.get("number") or given.get("number1") or "", given.get("remark") or ""))
    starts = [_second_column(text) for text, _, _ in parted]
    column = next((start for start in starts if 0 < start <= WIDEST_HEAD and starts.count(start) > 1), 0)
    found = []
    for (text, number, remark), start in zip(parted, starts, strict=True):
        at = start if start == column else 0
        found.append(Equation(text[:at].strip(), text[at:].strip(), number, remark, spans=not at))
    return found


def _second_column(text: str) -> int:
    """Where the text goes on after its first gap, or begins if it is indented; 0 where it does neither."""
    indented = len(text) - len(text.lstrip())
    if indented:
        return indented if indented > 1 else 0
    match = _HEAD.match(text)
    return match.end() if match else 0


def block_html(lines: Sequence[str], theme: Theme) -> str:
    """Equations below each other on a panel of their own: body, remark under it, number at the right."""
    rows = []
    found, number = equations(lines), f"color:{theme.muted}; white-space:nowrap"
    headed = any(each.head for each in found)
    for each in found:
        body = typeset(each.body)
        if each.remark:
            body += f"<br><span style='color:{theme.muted}; font-size:small'>{typeset(each.remark)}</span>"
        head = f"<td style='padding-right:12px; white-space:nowrap'>{typeset(each.head)}</td>" if headed and not each.spans else ""
        span = "colspan='2'" if headed and each.spans else "width='100%'"
        rows.append(f"<tr>{head}<td {span}>{body}</td><td align='right' style='{number}'>{each.number}</td></tr>")
    inside = f"<table width='100%' cellspacing='0' cellpadding='3' style=\"font-family: {FONTS}\">{''.join(rows)}</table>"
    return f"<table width='100%' cellpadding='8'><tr><td bgcolor='{theme.sunken}'>{inside}</td></tr></table>"


def typeset(text: str) -> str:
    """One line as rich text."""
    out: list[str] = []
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        assert token is not None  # The last alternative takes any character.
        found, place = token[0], token.end()
        if token["code"]:
            out.append(f"<code>{html.escape(found[1:-1])}</code>")
        elif token["script"] or token["power"]:
            argument, place = _argument(text, place, power=bool(token["power"]))
            tag = "sup" if token["power"] else "sub"
            out.append(f"<{tag}>{argument}</{tag}>")
        elif token["hyphened"]:
            out.append(found)
        elif token["possessive"]:
            out.append("’s")
        elif token["word"]:
            out.append(_word(token, text, place))
        elif token["accent"]:
            _accented(out, HAT if found == "^" else TILDE)
        elif token["gap"]:
            out.append("&nbsp;" * 3 + " ")
        elif found == "'":
            out.append("′" if re.search(r"(?:^|[^A-Za-z])d?[A-Za-z]'?$|[)\]]$", text[: place - 1]) else "’")
        elif token["sign"]:
            out.append(_SIGNS[found])
        else:
            out.append(html.escape(found))
    return "".join(out)


def _word(token: re.Match[str], text: str, end: int) -> str:
    word, digits, after = token["word"], token["digits"], text[end : end + 1]
    if word in GREEK:
        shown = f"<i>{GREEK[word]}</i>"
    elif word == "sqrt" and after == "(":
        shown = "√"
    elif word in ("sum", "prod") and after == "_":
        shown = "∑" if word == "sum" else "∏"
    elif word == "x" and re.search(r"(?:\d|\b([A-Za-z])) x (?:\d|\1\b)", text[max(0, token.start() - 2) : end + 2]):
        shown = "×"
    elif word in ("a", "A") and not digits and (noun := _ARTICLE.match(text, end)) and noun["word"] not in GREEK:
        shown = word
    elif len(word) == 1 or (len(word) == 2 and word[0] == "d" and word != "do"):
        shown = f"<i>{word}</i>"
    else:
        return word + digits
    return f"{shown}<sub>{digits}</sub>" if digits else shown


def _argument(text: str, place: int, *, power: bool) -> tuple[str, int]:
    """What a script holds: the group in brackets, without them, or a run of letters and digits; and where the text goes on."""
    if text[place] == "(":
        depth = 0
        for end in range(place, len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0:
                return typeset(text[place + 1 : end]), end + 1
    match = re.compile(r"-?(?:\d+|[A-Za-z]+)" if power else r"[A-Za-z0-9]+").match(text, place)
    if match is None:
        return html.escape(text[place]), place + 1
    run = match[0].replace("-", "−")
    letters = run.lstrip("−")
    if letters in GREEK:
        return run.replace(letters, f"<i>{GREEK[letters]}</i>"), match.end()
    if len(re.sub(r"\d", "", letters)) > 2:
        return run, match.end()  # A word: "removed", "hidden".
    return re.sub(r"([A-Za-z]+)", r"<i>\1</i>", run), match.end()


def _accented(out: list[str], accent: str) -> None:
    """Put a hat or a tilde over the letter that was written last; over a bracket or a word it stays behind it."""
    if out and re.fullmatch(r"<i>d?.</i>", out[-1]):
        out[-1] = out[-1].replace("</i>", f"{accent}</i>")
    else:
        out.append("^" if accent == HAT else "~")
