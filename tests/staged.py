"""A stage that writes one file, and a helper that runs it in a workspace."""

from __future__ import annotations

from acclimate.run.output import Account


class Stage:
    """Writes one file and counts its calls; `found` records what was in its folder before."""

    def __init__(self, text="content", stop=None):
        self.text = text
        self.stop = stop
        self.calls = 0
        self.found = []

    def __call__(self, folder, progress):
        self.calls += 1
        self.found = sorted(path.name for path in folder.iterdir() if path.name != "begun.json")
        assert not (folder / "manifest.json").exists()
        (folder / "part.txt").write_text("half")
        if self.stop is not None:
            raise self.stop
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "deep" / "out.txt").write_text(self.text)
        return Account(10, 7, {"short": 3, "odd": 0}, {"prompt": 5}, notes={"n": 1})


def make(workspace, work, *, settings=None, inputs=None, seed=0, stage="filter"):
    return workspace.make(
        stage,
        work,
        settings=settings or {"k": 3, "names": ("a", "b")},
        inputs=inputs or {"documents": "f00"},
        seed=seed,
    )
