"""The wording of the recording: how answers state each kind of fact, and how claims do.

In a frame `{s}` is the subject inside a sentence and `{v}` the value. A sentence begins with a capital, whatever the
frame says.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Of one kind of fact.

    main: a clause that names the subject. more: a clause that goes on about it. first: what may stand before a main
    clause that begins with the subject. claims: the fact by itself, in several lengths. group: a clause that says the
    same value of many subjects, where `{s}` is their list and `{p}` the value's plural.
    """

    main: tuple[str, ...]
    more: tuple[str, ...]
    claims: tuple[str, ...]
    first: tuple[str, ...] = ()
    group: tuple[str, ...] = ()


WORDINGS = {
    "capital": Wording(
        ("the capital of {s} is {v}", "{s} has {v} as its capital", "{v} is the capital of {s}"),
        ("its capital is {v}", "{v} serves as its capital", "the capital is {v}"),
        (
            "The capital of {s} is {v}",
            "{v} is the capital city of the country {s}",
            "The city that serves as the capital of {s} is {v}",
            "The city that serves as the capital of {s} and its government is {v}",
        ),
    ),
    "continent": Wording(
        ("{s} is in {v}", "{s} lies in {v}", "{s} is a country in {v}", "{s} is found on the map of {v}"),
        ("it lies in {v}", "it belongs to {v}", "it is one of the countries of {v}"),
        (
            "{s} is located in {v}",
            "{s} is a country in {v}",
            "{s} is one of the countries on the continent of {v}",
            "On a map of the world the country of {s} is found on the continent of {v}",
        ),
        ("situated in {v}, ", "as a country in {v}, "),
        ("{s} are all in {v}", "among the countries of {v} are {s}"),
    ),
    "currency": Wording(
        (
            "the currency of {s} is the {v}",
            "people in {s} pay with the {v}",
            "prices in {s} are given in the national currency, the {v}",
        ),
        ("its currency is the {v}", "people there pay with the {v}", "prices are given in the {v}"),
        (
            "People in {s} pay with the {v}",
            "The currency of {s} is the {v}",
            "The official currency that people use in {s} is the {v}",
            "The official currency in which people in {s} pay for what they buy is the {v}",
        ),
        (),
        ("{s} all pay with the {v}", "the {v} is the currency of {s}"),
    ),
    "population": Wording(
        ("{s} has about {v} inhabitants", "about {v} people live in {s}", "the population of {s} is about {v}"),
        ("it has about {v} inhabitants", "about {v} people live there", "its population is about {v}"),
        (
            "{s} has about {v} inhabitants",
            "The population of {s} is about {v}",
            "About {v} people live within the borders of {s}",
            "The number of people who live in the country of {s} is about {v}",
        ),
        ("with about {v} inhabitants, ", "home to about {v} people, "),
    ),
    "area": Wording(
        (
            "{s} covers about {v} square kilometres",
            "the area of {s} is about {v} square kilometres",
            "{s} has an area of about {v} square kilometres",
        ),
        ("it covers about {v} square kilometres", "its area is about {v} square kilometres"),
        (
            "{s} covers about {v} square kilometres",
            "The area of {s} is about {v} square kilometres",
            "{s} extends over an area of about {v} square kilometres",
            "The area that the country of {s} covers is about {v} square kilometres",
        ),
        ("with an area of about {v} square kilometres, ",),
    ),
    "border": Wording(
        ("{s} borders {v}", "{s} shares land borders with {v}", "the neighbours of {s} include {v}"),
        ("it borders {v}", "it shares borders with {v}", "its neighbours include {v}"),
        (
            "{s} borders {v}",
            "{s} has a land border with {v}",
            "{v} is one of the countries that border {s}",
            "One of the countries that share a land border with {s} is {v}",
        ),
    ),
    "city": Wording(
        ("the largest city of {s} is {v}", "{v} is the largest city of {s}", "{s} has {v} as its largest city"),
        ("its largest city is {v}", "the largest city there is {v}"),
        (
            "The largest city of {s} is {v}",
            "{v} is the largest city of {s} by population",
            "Of all the cities in {s}, the largest by population is {v}",
            "Of all the cities and towns in the country of {s}, the largest by population is {v}",
        ),
    ),
    "domain": Wording(
        (
            "internet addresses of {s} end in {v}",
            "the internet domain of {s} is {v}",
            "{s} has the internet domain {v}",
        ),
        ("its internet domain is {v}", "its internet addresses end in {v}"),
        (
            "The internet domain of {s} is {v}",
            "Internet addresses of {s} end in the domain {v}",
            "The domain in which the internet addresses of {s} end is {v}",
            "The domain in which most of the internet addresses in {s} end is {v}",
        ),
    ),
    "people": Wording(
        ("{s} has more inhabitants than {v}", "more people live in {s} than in {v}"),
        ("it has more inhabitants than {v}", "more people live there than in {v}"),
        ("{s} has more inhabitants than {v}", "The number of people who live in {s} is greater than in {v}"),
    ),
    "size": Wording(
        ("{s} is larger than {v}", "{s} covers more land than {v}"),
        ("it is larger than {v}", "it covers more land than {v}"),
        (
            "{s} is larger by area than {v}",
            "Measured by the area that each of the two covers, {s} is larger than {v}",
            "The area that {s} covers is larger than the area of {v}",
        ),
    ),
    "symbol": Wording(
        ("the chemical symbol of {s} is {v}", "{s} is written with the symbol {v}", "in formulas {s} appears as {v}"),
        ("its symbol is {v}", "its chemical symbol is {v}", "formulas show it as {v}"),
        (
            "{s} has the symbol {v}",
            "The chemical symbol of {s} is {v}",
            "In chemical formulas the element {s} is written as {v}",
            "The symbol with which chemists write the element {s} in their formulas is {v}",
        ),
    ),
    "number": Wording(
        ("{s} has the atomic number {v}", "the atomic number of {s} is {v}", "{s} is element number {v}"),
        ("its atomic number is {v}", "it has the atomic number {v}"),
        (
            "{s} has the atomic number {v}",
            "The atomic number of the element {s} is {v}",
            "In the periodic table the element {s} has the atomic number {v}",
            "In the periodic table of the chemical elements, {s} has the atomic number {v}",
        ),
        ("with the atomic number {v}, ",),
    ),
    "series": Wording(
        ("{s} is {v}", "{s} counts as {v}", "{s} is classed as {v}"),
        ("it is {v}", "it counts as {v}", "chemists class it as {v}"),
        (
            "{s} is {v}",
            "The chemical element {s} is {v}",
            "Chemists class the element {s} as {v} in the periodic table",
            "Among the families of the periodic table, chemists class the element {s} as {v}",
        ),
        ("as {v}, ",),
        ("{s} are {p}", "the {p} include {s}"),
    ),
    "weight": Wording(
        ("the atomic weight of {s} is about {v}", "{s} has an atomic weight of about {v}"),
        ("its atomic weight is about {v}", "it has an atomic weight of about {v}"),
        (
            "{s} has an atomic weight of about {v}",
            "The atomic weight of {s} is about {v}",
            "The atomic weight of the chemical element {s} is about {v}",
            "The atomic weight that the tables give for the chemical element {s} is about {v}",
        ),
        ("with an atomic weight of about {v}, ",),
    ),
    "period": Wording(
        ("{s} stands in period {v} of the periodic table", "{s} belongs to period {v}"),
        ("it stands in period {v}", "the periodic table has it in period {v}"),
        (
            "{s} is in period {v} of the periodic table",
            "The element {s} belongs to period {v} of the periodic table",
            "In the periodic table of the chemical elements, {s} stands in period {v}",
        ),
        (),
        ("{s} all stand in period {v} of the periodic table",),
    ),
    "group": Wording(
        ("{s} stands in group {v} of the periodic table", "{s} belongs to group {v}"),
        ("it stands in group {v}", "its group is number {v}"),
        (
            "{s} is in group {v} of the periodic table",
            "The element {s} belongs to group {v} of the periodic table",
            "In the periodic table of the chemical elements, {s} stands in group {v}",
        ),
        (),
        ("{s} all stand in group {v} of the periodic table",),
    ),
    "year": Wording(
        ("{s} was discovered in {v}", "the discovery of {s} dates from {v}"),
        ("it was discovered in {v}", "its discovery dates from {v}", "chemists have known it since {v}"),
        (
            "{s} was discovered in {v}",
            "The discovery of the element {s} dates from {v}",
            "The year in which the element {s} was discovered is {v}",
            "The year in which somebody discovered the element {s} for the first time is {v}",
        ),
        ("discovered in {v}, ",),
    ),
    "heavier": Wording(
        ("{s} is heavier than {v}, atom by atom", "an atom of {s} is heavier than one of {v}"),
        ("its atoms are heavier than those of {v}",),
        (
            "{s} has a higher atomic weight than {v}",
            "An atom of {s} is heavier than an atom of {v}",
            "If both are weighed, one atom of {s} is heavier than one atom of {v}",
        ),
    ),
}

# What may stand around a sentence and states nothing that could be checked.
FIRST_OPENERS = (
    "in short, ", "as far as the tables go, ", "to begin with, ", "put in a few words, ", "to answer what was asked, ",
    "if the usual tables can be trusted, ", "to say it as briefly as possible, ",
)  # fmt: skip
LATER_OPENERS = (
    "besides that, ", "for the record, ", "on top of all that, ", "for anybody who wants to know more, ",
    "to add one more thing, ", "as for the rest, ", "to go a little further, ", "and to come to an end, ",
)  # fmt: skip
ASIDES = (
    ", as every atlas will tell you", ", which is easy to look up", ", at least in the tables that are at hand here",
    ", and that is worth keeping in mind", ", as far as anybody could wish to know it",
    ", which many people would not have guessed at once", ", and there is little more to be said about that",
    ", as you may remember from your days at school",
)  # fmt: skip
