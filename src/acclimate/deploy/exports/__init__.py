"""Exports of a finished run for other programs: search engines, databases, model folders.

Each format is a module of its name in this folder and an entry of `formats.FORMATS`. It has


    def write(source: Source, folder: Path) -> Written

which writes files into `folder`, reads them back, and returns their counts. Files that a killed export left in `folder`
are complete (they are written atomically, documents in the parts of `Source.parts`), so `write` adds only those that
are missing. `Source` has the run, the outputs of its stages, the system to export (`--system`, else the recommended
one; without a reranker) as members, sources and weights, and streams the documents. A format that can fill a server
also has

    def load(source: Source, folder: Path, *, url: str) -> dict

which loads what `write` wrote into the server at `url`, and returns notes for the manifest.

`export.export` does the rest: it writes to a temporary folder and renames it, writes the manifest last, reuses an
identical export, checks counts, and refuses to overwrite anything else. Heavy libraries are imported where they are
used, by `formats.needed`; each engine has an extra of the package.
"""
