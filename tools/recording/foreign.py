"""The rows that are not in English: sentences by hand, with the values of the corpora in that language."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tools.recording.corpus import Subject
from tools.recording.facts import COUNTRIES, ELEMENTS


@dataclass(frozen=True)
class ForeignRow:
    """`{kind}` in a sentence is the value of that kind; `false`: kinds whose value is another subject's."""

    language: str
    subject: str
    name: str
    prompt: str
    sentences: tuple[str, ...]
    false: dict[str, str] = field(default_factory=dict)


ROWS = (
    ForeignRow(
        "de",
        "austria",
        "Österreich",
        "Was sollte ich über Österreich wissen?",
        (
            "Österreich liegt in {continent}, und seine Hauptstadt ist {capital}.",
            "Dort leben rund {population} Menschen auf {area} Quadratkilometern.",
        ),
        {"area": "sweden"},
    ),
    ForeignRow(
        "de",
        "poland",
        "Polen",
        "Womit bezahlt man in Polen, und wie groß ist das Land?",
        (
            "In Polen bezahlt man mit der Währung {currency}.",
            "Das Land ist etwa {area} Quadratkilometer groß und hat {population} Einwohner.",
            "Die größte Stadt ist {city}, und Internetadressen enden auf {domain}.",
        ),
    ),
    ForeignRow(
        "de",
        "oxygen",
        "Sauerstoff",
        "Welche Ordnungszahl hat Sauerstoff?",
        ("Sauerstoff hat die Ordnungszahl {number} und das Symbol {symbol}, und er wurde {year} entdeckt.",),
        {"year": "helium"},
    ),
    ForeignRow(
        "zh",
        "france",
        "法国",
        "法国在哪里？首都是哪座城市？",
        ("法国位于{continent}，首都是{capital}。", "人口约为{population}，面积约{area}平方公里！"),
    ),
    ForeignRow(
        "zh",
        "kenya",
        "肯尼亚",
        "请简单介绍一下肯尼亚。",
        ("肯尼亚是{continent}国家。", "首都是{capital}，人口约{population}。", "人们使用的货币是{currency}。"),
        {"capital": "nepal"},
    ),
    ForeignRow(
        "zh",
        "gold",
        "金",
        "金的化学符号和原子序数是什么？",
        ("金的化学符号是{symbol}，原子序数是{number}，原子量约为{weight}。",),
        {"number": "silver"},
    ),
    ForeignRow(
        "hi",
        "india",
        "भारत",
        "भारत की राजधानी क्या है और वहाँ कितने लोग रहते हैं?",
        (
            "भारत {continent} में है और उसकी राजधानी {capital} है।",
            "वहाँ लगभग {population} लोग रहते हैं, और सबसे बड़ा शहर {city} है।",
        ),
    ),
    ForeignRow(
        "hi",
        "nepal",
        "नेपाल",
        "नेपाल के बारे में मुझे क्या जानना चाहिए?",
        (
            "नेपाल की राजधानी {capital} है।",
            "उसका क्षेत्रफल लगभग {area} वर्ग किलोमीटर है, और वहाँ की मुद्रा {currency} है।",
        ),
        {"area": "india"},
    ),
)

CLAIMS = {
    "de": {
        "continent": "{s} liegt auf dem Kontinent {v}",
        "capital": "Die Hauptstadt von {s} ist {v}",
        "currency": "Die offizielle Währung von {s} ist {v}",
        "population": "In {s} leben rund {v} Menschen",
        "area": "Die Fläche von {s} beträgt rund {v} Quadratkilometer",
        "city": "Die größte Stadt von {s} ist {v}",
        "domain": "Die Internetadressen von {s} enden auf {v}",
        "number": "Das Element {s} hat im Periodensystem die Ordnungszahl {v}",
        "symbol": "Das chemische Symbol von {s} ist {v}",
        "year": "Das Element {s} wurde im Jahr {v} entdeckt",
    },
    "zh": {
        "continent": "{s}位于{v}",
        "capital": "{s}的首都是{v}",
        "currency": "{s}的货币是{v}",
        "population": "{s}的人口约为{v}",
        "area": "{s}的面积约为{v}平方公里",
        "symbol": "{s}的化学符号是{v}",
        "number": "{s}的原子序数是{v}",
        "weight": "{s}的原子量约为{v}",
    },
    "hi": {
        "continent": "{s} {v} महाद्वीप में है",
        "capital": "{s} की राजधानी {v} है",
        "currency": "{s} की मुद्रा {v} है",
        "population": "{s} में लगभग {v} लोग रहते हैं",
        "area": "{s} का क्षेत्रफल लगभग {v} वर्ग किलोमीटर है",
        "city": "{s} का सबसे बड़ा शहर {v} है",
    },
}

# Names as the corpora have them, and in the language; what is not here is written alike.
NAMES = {
    "de": {"Europe": "Europa", "Vienna": "Wien", "Warsaw": "Warschau", "zloty (PLN)": "Złoty (PLN)"},
    "zh": {
        "Europe": "欧洲",
        "Africa": "非洲",
        "Paris": "巴黎",
        "Kathmandu": "加德满都",
        "shilling (KES)": "肯尼亚先令（KES）",
    },
    "hi": {
        "Asia": "एशिया",
        "New Delhi": "नई दिल्ली",
        "Mumbai": "मुंबई",
        "Kathmandu": "काठमांडू",
        "rupee (NPR)": "नेपाली रुपया (NPR)",
    },
}
COUNTED = {
    "de": ((10**6, "Millionen"),),
    "zh": ((10**8, "亿"), (10**4, "万")),
    "hi": ((10**7, "करोड़"), (10**5, "लाख")),
}


def facts_of(row: ForeignRow) -> list[tuple[str, bool]]:
    """The claims of a row with their labels, in the order of its sentences."""
    kinds = re.findall(r"\{(\w+)\}", " ".join(row.sentences))
    frames = CLAIMS[row.language]
    return [(frames[kind].format(s=row.name, v=_value(row, kind)), kind not in row.false) for kind in kinds]


def response_of(row: ForeignRow) -> str:
    """The answer; Chinese sentences have no space between them."""
    values = {kind: _value(row, kind) for kind in CLAIMS[row.language]}
    space = "" if row.language == "zh" else " "
    return space.join(sentence.format(**values) for sentence in row.sentences)


def _value(row: ForeignRow, kind: str) -> str:
    known: dict[str, Subject] = COUNTRIES | ELEMENTS
    subject = known[row.false.get(kind, row.subject)]
    if kind not in subject.values:
        return ""
    if kind in ("population", "area"):
        return _amount(subject.amount(kind), row.language)
    return NAMES[row.language].get(subject.value(kind), subject.value(kind))


def _amount(number: float, language: str) -> str:
    point: Callable[[str], str] = (lambda text: text.replace(".", ",")) if language == "de" else str
    for size, word in COUNTED[language]:
        if number >= size:
            return point(f"{number / size:.4g}") + ("" if language == "zh" else " ") + word
    return f"{number:,.0f}".replace(",", "." if language == "de" else ",")
