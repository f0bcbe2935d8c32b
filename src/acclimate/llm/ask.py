"""Ask an LLM on behalf of stages: tasks, each a doc in a prompt, answered through the completion cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.prompts import Mix, Prompt
from acclimate.llm.protocol import LLM
from acclimate.records import Completion

MIN_BATCH = 8  # minimum prompts of a batch that shares a prefix


class Task(NamedTuple):
    """A doc in a prompt, for the `sample`th time."""

    doc_id: str
    prompt: Prompt
    sample: int
    text: str  # the filled prompt

    def decoding(self, decoding: Decoding) -> Decoding:
        """The decoding of its answer."""
        return replace(decoding, stop=self.prompt.stop, chat=self.prompt.chat, sample=self.sample)


def tasks_of(
    doc_texts: Mapping[str, str], mix: Mix, per_doc: int, *, is_drawn: bool, shuffle_seed: int | None = None
) -> Iterator[Task]:
    """The tasks, doc by doc. Without sampling, a prompt is used once per doc, as it would get the same answer again.

    shuffle_seed: for the order of examples per doc; None: the prompt's order.
    """
    for doc_id, doc_text in doc_texts.items():
        prompt_texts: dict[Prompt, str] = {}  # shared by all samples, of which there may be a million
        for prompt, sample in mix.share_out(doc_id, per_doc):
            if is_drawn or not sample:
                shown = prompt if shuffle_seed is None else prompt.shuffled(shuffle_seed, doc_id)
                text = prompt_texts.setdefault(shown, shown.render(doc_text))
                yield Task(doc_id, shown, sample, text)


def group_tasks(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Group tasks that are decoded alike, prompt by prompt, so that a batch shares everything but the doc.

    Tasks with shuffled examples are grouped by order where enough of them share it.
    """
    groups: dict[tuple[str, int], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.prompt.name, task.sample), []).append(task)
    for _, group in sorted(groups.items()):
        by_prefix: dict[str, list[Task]] = {}
        for task in group:
            by_prefix.setdefault(task.prompt.prefix, []).append(task)
        apart = len(group) >= MIN_BATCH * len(by_prefix)
        yield from (by_prefix[prefix] for prefix in sorted(by_prefix)) if apart else [group]


def ask(
    model: LLM,
    decoding: Decoding,
    completions: Completions,
    tasks: Sequence[Task],
    progress: Callable[[int, int], None] | None = None,
) -> dict[Task, Completion]:
    """Task -> answer. `progress` is called with (prompts answered, prompts in total) after each batch."""
    total = len({(task.text, task.prompt.name, task.sample) for task in tasks})
    answers: dict[Task, Completion] = {}
    done = 0

    def report(of_these: int, _total: int, _batch: list[Completion]) -> None:
        if progress is not None:
            progress(done + of_these, total)

    for group in group_tasks(tasks):
        texts = [task.text for task in group]
        completed = completions.complete(model.decoding_as(group[0].decoding(decoding)), texts, on_batch=report)
        answers.update(zip(group, completed, strict=True))
        done += len(set(texts))
    return answers


def tokens_of(answers: Mapping[Task, Completion]) -> dict[str, int]:
    """Prompt and completion tokens of the answers, cached ones included, equal prompts once."""
    different = {(task.text, task.prompt.name, task.sample): answer for task, answer in answers.items()}.values()
    return {
        "prompt": sum(answer.prompt_tokens for answer in different),
        "completion": sum(answer.completion_tokens for answer in different),
    }
