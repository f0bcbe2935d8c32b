"""A finished run in the form that other programs run: search engines, databases, model folders.

A format is a module of its name in this folder, and an entry of `formats.FORMATS`:

    def write(source: Source, folder: Path) -> Written

writes files into `folder` and says what it wrote, once it has read them back and counted. `folder` may hold what a
killed command left of the very same export: a file that is there is finished (files are written by
`base.files.atomic_write` and its like, documents in the parts that `Source.parts` names), so only what is missing is
made. `Source` has the run, what its stages left, the system to export (`--system`, else what the run recommends;
without a reranker) as members, sources and weights, and documents to stream. A format that can also fill a server has

    def load(source: Source, folder: Path, *, url: str) -> dict

beside `write`: it loads what `write` wrote into the server at `url`, and returns what is to be noted of it.

`export.export` does the rest: the folder beside the output, which is renamed when all is there, with the manifest last;
what is there already; counts; what must not be overwritten. Heavy libraries are imported where they are used, by
`formats.needed`, and are extras of the package, one by engine.
"""
