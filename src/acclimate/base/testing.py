"""Fakes for tests, here and in projects built on acclimate: a tiny corpus, an LLM, a scorer and a retriever.

None needs a model, and all are deterministic across machines.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from acclimate.records import Completion, Doc, Qrel, Query, ScoredDoc

# title | text | a query that only this document answers
_FACTS = """
Volcano | Molten rock below the crust rises and erupts through an opening as lava, ash and gas. | why does lava erupt
Glacier | A river of compressed snow creeps downhill under its own weight and carves deep valleys. | creeping river of snow
Tsunami | An earthquake under the sea floor sends long waves that pile up near a shallow coast. | waves after an earthquake
Desert | A region where less water falls as rain than evaporates, hot in Africa, cold in Asia. | region with little rain
Monsoon | Winds that turn with the seasons bring months of heavy rain to the south of Asia. | winds that turn with seasons
Tide | The pull of the moon raises and lowers the level of the ocean about twice a day. | pull of the moon on the ocean
Rainbow | Sunlight bends inside falling drops and splits into bands of color, red outermost. | how sunlight splits into colors
Lightning | A giant spark between cloud and ground heats the air so fast that it thunders. | spark between cloud and ground
Honey bee | Workers dance in the hive to tell their sisters where nectar and pollen can be found. | insects that dance in a hive
Octopus | It has three hearts, blue blood and eight arms that taste whatever they touch. | animal with three hearts
Penguin | A bird that cannot fly but swims, and keeps its egg warm on its feet through winter. | bird that swims but cannot fly
Camel | The hump stores fat, not water, and lets the animal walk for weeks without food. | what does a hump store
Bat | The only mammal that truly flies finds moths at night by listening to its own echoes. | mammal that hunts by echo
Salmon | The fish returns from the sea to the very stream where it hatched, in order to spawn. | fish that returns to its stream
Spider | Silk from its abdomen, stronger than steel of that weight, becomes a sticky web. | silk stronger than steel
Chameleon | The lizard changes the color of its skin and moves each eye on its own. | lizard that changes color
Baguette | A long thin loaf of French bread with a crisp crust, made of flour, water, yeast and salt. | long french loaf
Sushi | Vinegared rice with raw fish, rolled in dried seaweed, eaten with ginger and soy sauce. | rice and raw fish rolled in seaweed
Cheddar | A hard cheese from Somerset whose curds are cut, stacked and turned before pressing. | cheese with stacked curds
Chocolate | Cocoa beans are fermented, dried, roasted and ground with sugar into a smooth paste. | what becomes of cocoa beans
Espresso | Hot water is forced under pressure through finely ground coffee in half a minute. | coffee made under pressure
Paella | Saffron rice from Valencia, cooked in a wide pan over fire with rabbit or shellfish. | saffron rice in a wide pan
Kimchi | Korean cabbage with chilli and garlic ferments in jars for weeks until it is sour. | fermented korean cabbage
Vinegar | Bacteria turn the alcohol of wine or cider into acetic acid that keeps food from spoiling. | from wine to acetic acid
Telescope | Curved mirrors or lenses gather faint light so that distant stars and galaxies are seen. | instrument for distant stars
Compass | A magnetized needle aligns with the field of the earth and points sailors to the north. | needle that points north
Microscope | Two lenses enlarge tiny things such as cells and bacteria a thousand times. | how to enlarge tiny cells
Barometer | It measures the pressure of the air; a falling reading announces a storm. | measure air pressure before a storm
Thermometer | Mercury in a narrow glass tube expands when it is heated and shows the temperature. | mercury in a glass tube
Bicycle | Two wheels, pedals and a chain carry a rider farther on a meal than any other machine. | machine with pedals and a chain
Submarine | Tanks that are flooded let the boat dive; compressed air empties them to surface. | boat that can dive
Balloon | Air that is heated by a burner becomes lighter and lifts a basket with passengers. | basket lifted by heated air
Violin | Four strings tuned in fifths are played with a bow of horsehair under the chin. | strings played with a bow
Piano | Felt hammers strike strings when keys are pressed, softly or loudly as one likes. | hammers that strike strings
Trumpet | Buzzing lips make a column of air vibrate in a brass tube with three valves. | brass tube with valves
Chess | Two players move sixteen pieces each and try to trap the enemy king on 64 squares. | trap the enemy king
Marathon | Runners cover 42 kilometers in memory of a messenger who ran from a Greek battle. | how long do greek messengers run
Origami | A square of paper is folded, never cut or glued, into cranes, frogs and flowers. | folded paper cranes
Pyramid | Egyptian workers hauled limestone blocks on sledges to build a tomb for their pharaoh. | tomb of a pharaoh
Aqueduct | Roman engineers led water over arches for miles, falling a hand's breadth each mile. | roman water over arches
""".strip().splitlines()  # noqa: E501 (a table, a document a line)

DOCS = [
    Doc(f"d{number:02}", text.strip(), title.strip())
    for number, (title, text, _) in enumerate(line.split("|") for line in _FACTS)
]
QUERIES = [Query(f"q{number:02}", line.split("|")[2].strip()) for number, line in enumerate(_FACTS)]
QRELS = [Qrel(query.query_id, doc.doc_id, 1) for query, doc in zip(QUERIES, DOCS, strict=True)]


class FakeLLM:
    """Writes a query from the four longest words of the prompt's last document; its log-prob is a hash of the query.

    A prompt that ends in "Bad Question:" gets one word, one that ends in "Grade:" a grade from 1 to 3.
    """

    name = "fake"
    fingerprint = "fake"

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order; words count as tokens."""
        return [self._answer(prompt) for prompt in prompts]

    def decoding_as(self, decoding: object) -> FakeLLM:
        """Itself: decoding does not matter."""
        return self

    def cut(self, text: str, max_tokens: int) -> str:
        """The first `max_tokens` words."""
        words = text.split()
        return text if len(words) <= max_tokens else " ".join(words[:max_tokens])

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """The first `max_tokens` words, which count as tokens."""
        return self.cut(text, max_tokens)

    def _answer(self, prompt: str) -> Completion:
        document = prompt.rpartition("Document:")[2].strip().partition("\n")[0]
        words = list(dict.fromkeys(re.findall(r"\w+", document.lower())))
        longest = sorted(words, key=lambda word: (-len(word), word))[:4]
        text = " ".join(["what", "about", *(word for word in words if word in longest)])
        if prompt.endswith("Bad Question:"):
            text = longest[0]
        elif prompt.endswith("Grade:"):
            text = str(1 + len(document) % 3)
        surprisal = hashlib.sha256(text.encode()).digest()[0] / 256
        n_tokens = len(text.split())
        return Completion(f" {text}", (-surprisal,) * n_tokens, len(prompt.split()), n_tokens, "stop")


@dataclass(frozen=True)
class FakeScorer:
    """Scores pairs by a function of the query's text and the doc's id."""

    rate: Callable[[str, str], float]
    fingerprint: str = "fake"

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One float per (query, doc_id), in order."""
        return [self.rate(query.text, doc_id) for query, doc_id in pairs]


@dataclass(frozen=True)
class FakeRetriever:
    """Returns fixed scores: query text -> doc_id -> score."""

    scores: Mapping[str, Mapping[str, float]]
    fingerprint: str = "fake"

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, best first, ties by doc_id."""
        hits: list[ScoredDoc] = []
        for query in queries:
            ranking = sorted(self.scores.get(query.text, {}).items(), key=lambda item: (-item[1], item[0]))
            hits += [ScoredDoc(query.query_id, doc_id, score) for doc_id, score in ranking[:k]]
        return hits
