"""What users ask in the recording: by what the first sentence of the answer says, or about a subject at large."""

from __future__ import annotations

# By the kind of the first fact. `{s}` is the subject, `{v}` what it is compared with.
ASKED = {
    "capital": (
        "What is the capital of {s}?",
        "Which city serves as the capital of {s}?",
        "Can you tell me which city is the capital of {s} and a little more?",
    ),
    "continent": ("On which continent is {s}?", "Where in the world would I have to look for {s}?"),
    "currency": (
        "Which currency is used in {s}?",
        "What do people in {s} pay with in their shops?",
        "I will visit {s} this summer, so which money do I have to take with me?",
    ),
    "population": (
        "How many people live in {s}?",
        "Roughly how many inhabitants does {s} have in all?",
        "Could you tell me, in round figures, how many people there are in {s}?",
    ),
    "area": ("How large is {s}?", "How many square kilometres does {s} cover?"),
    "border": (
        "Which countries border {s}?",
        "Which other countries could I reach from {s} over land?",
        "If I left {s} by car, which of its neighbours could I come to?",
    ),
    "city": (
        "What is the largest city of {s}?",
        "Where in {s} do the most people live in one place?",
        "If I wanted to see the largest city in {s}, to which place would I have to go?",
    ),
    "domain": ("Which internet domain does {s} have?", "How do the internet addresses of {s} end, in most cases?"),
    "people": (
        "Do more people live in {s} or in {v}?",
        "Which of the two has more inhabitants, {s} or {v}?",
        "We have a bet on this at home: do more people live in {s} or in {v}?",
    ),
    "size": (
        "Is {s} larger than {v}?",
        "Which one covers more land on the map, {s} or {v}?",
        "My friends cannot agree on it: which of the two is larger, {s} or {v}?",
    ),
    "symbol": (
        "What is the symbol of {s}?",
        "With which letters is {s} written in a chemical formula?",
        "Which one or two letters stand for {s} when a chemist writes down a formula?",
    ),
    "number": ("What is the atomic number of {s}?", "Which place in the periodic table does the element {s} have?"),
    "series": ("What kind of element is {s}?", "To which of the families of elements do chemists count {s}?"),
    "weight": ("What does an atom of {s} weigh?", "Do you happen to know the atomic weight of {s}?"),
    "period": ("In which period is {s}?", "In which row of the periodic table will I find {s}?"),
    "group": ("In which group is {s}?", "In which column of the periodic table will I find {s}?"),
    "year": (
        "When was {s} discovered?",
        "In what year did somebody discover the element {s} for the first time?",
        "Since when have chemists known that there is an element such as {s}, give or take a year?",
    ),
    "heavier": (
        "Is {s} heavier than {v}?",
        "Whose atoms are heavier by weight, those of {s} or of {v}?",
        "If I could put single atoms on a scale, would one of {s} or one of {v} be heavier?",
    ),
}

AT_LARGE = (
    "What should I know about {s}?",
    "Please describe {s} to me in a few sentences.",
    "Tell me something about {s} that I can look up.",
    "I am writing about {s} for school: what are the most important facts?",
    "Which facts and figures about {s} would you put on a single page?",
    "My daughter has to give a talk about {s} on Monday, so what should she know?",
    "What would a good encyclopedia say about {s} in its first few lines, figures included?",
)

OF_MANY = {
    "continent": (
        "Which countries are in {v}?",
        "Can you name some countries that are in {v}?",
        "Give me a few examples of countries on the map of {v}, please.",
    ),
    "currency": ("Which countries use the {v}?", "In which countries do people pay with the {v} today?"),
    "series": ("Which elements are {p}?", "Can you name some elements that chemists class as {p}?"),
    "period": (
        "Which elements stand in period {v}?",
        "Name some elements in period {v} of the periodic table, please.",
    ),
    "group": ("Which elements stand in group {v}?", "Name some elements in group {v} of the periodic table, please."),
}
