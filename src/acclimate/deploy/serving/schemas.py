"""Schemas of requests and responses, for validation and OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from acclimate.corpus.marks import Piece

Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Chars = Annotated[int, Field(ge=0, le=100_000, description="Characters of each document's text.")]
Value = str | int | float | bool
GradeOfHit = Annotated[int, Field(ge=0, le=3)]


class Request(BaseModel):
    """A request body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Condition(Request):
    """Conditions on a field of a document; all that are given must hold."""

    any_of: Annotated[list[Value] | None, Field(min_length=1, max_length=1000)] = None
    gt: int | float | str | None = None
    gte: int | float | str | None = None
    lt: int | float | str | None = None
    lte: int | float | str | None = None
    prefix: str | None = None


Filters = Annotated[
    dict[Name, Value | Annotated[list[Value], Field(min_length=1, max_length=1000)] | Condition],
    Field(max_length=20, description="Document field -> a value, a list of allowed values, or a range."),
]


class Search(Request):
    """A query for one system."""

    query: Text
    system: Name | None = None
    k: int = Field(10, ge=1)
    filters: Filters = Field(default_factory=dict)
    chars: Chars = 1000


class Compare(Request):
    """A query for two systems."""

    query: Text
    systems: Annotated[list[Name], Field(min_length=2, max_length=2)] | None = None
    k: int = Field(10, ge=1)
    filters: Filters = Field(default_factory=dict)
    chars: Chars = 1000
    blind: bool = Field(False, description="Assign the systems to the sides randomly, by query and seed.")
    seed: int = Field(0, ge=0, lt=1 << 31)


class Hit(BaseModel):
    """A search result."""

    rank: int
    doc_id: str
    passage_id: str | None = Field(None, description="Id of the best passage, if documents were split.")
    title: str
    text: str
    score: float
    members: dict[str, float] = Field(description="Score of each part of the system, each on its own scale.")
    fields: dict[str, Any] = Field(default_factory=dict)


class MarkedHit(Hit):
    """A hit in a comparison."""

    other_rank: int | None = Field(None, description="Rank on the other side; none if below the compared depth.")
    marked_title: list[Piece] = Field(description="Text pieces, and whether each is a word of the query.")
    marked_text: list[Piece] = Field(description="The part of the text with the most words of the query.")


class Results(BaseModel):
    """The answer to a search."""

    query: str
    system: str
    hits: list[Hit]


class Side(BaseModel):
    """The results of one of two systems."""

    system: str
    hits: list[MarkedHit]


class Comparison(BaseModel):
    """The results of two systems for one query."""

    query: str
    left: Side
    right: Side
    shared: int = Field(description="Documents in both lists.")
    depth: int = Field(description="Number of documents compared per side.")
    seed: int


class PreferenceGiven(Request):
    """Which of two lists is better."""

    kind: Literal["preference"]
    query: Text
    left: Name
    right: Name
    preference: Literal["left", "right", "same"]
    blind: bool = False
    seed: int = Field(0, ge=0, lt=1 << 31)
    rater: str = Field("", max_length=100)


class GradeGiven(Request):
    """How well a document answers a query: 0 not at all, 1 related, 2 in part, 3 fully."""

    kind: Literal["grade"]
    query: Text
    doc_id: Name
    grade: GradeOfHit
    rater: str = Field("", max_length=100)


class ClickGiven(Request):
    """A document that a user opened."""

    kind: Literal["click"]
    query: Text
    doc_id: Name
    system: Name
    rank: int = Field(ge=1, le=1_000_000)
    rater: str = Field("", max_length=100)


FeedbackGiven = Annotated[PreferenceGiven | GradeGiven | ClickGiven, Field(discriminator="kind")]


class Kept(BaseModel):
    """Feedback was stored."""

    kept: int


class HitToGrade(BaseModel):
    """A document to grade, in random order that hides which system found it."""

    doc_id: str
    title: str
    text: str
    marked_text: list[Piece]


class ToJudge(BaseModel):
    """The next query to grade; null if all are graded."""

    query: str | None
    hits: list[HitToGrade] = Field(default_factory=list)
    graded: int = Field(description="Queries with at least one graded document.")
    queries: int = Field(description="All queries.")


class Grades(Request):
    """Grades of documents for one query."""

    query: Text
    grades: Annotated[dict[Name, GradeOfHit], Field(min_length=1, max_length=1000)]
    rater: str = Field("", max_length=100)


class Health(BaseModel):
    """The state of the service, and what it serves."""

    status: Literal["ok"]
    system: str
    systems: list[str]
    compared: tuple[str, str] = Field(description="The two systems compared by default.")
    documents: int
    fields: list[str] = Field(description="Document fields available to filters.")
    verdict: str = Field(description="Verdict of the run, with its basis unless people judged.")
    run: str = Field(description="Fingerprint of the served run.")
    problem: str | None = Field(None, description="Why a newer run could not be loaded.")


class Problem(BaseModel):
    """A one-line error."""

    error: str
