"""A finished run in the form that other programs run: search engines, databases, model folders.

A format is a module of its name in this folder, and an entry of `formats.FORMATS`:

    def write(source: Source, folder: Path) -> Written

writes files into `folder`, reads them back, and returns their counts. A killed export may have left files in `folder`:
they are whole, because files are written atomically and documents in the parts of `Source.parts`, so `write` makes only
those that are missing. `Source` has the run, the outputs of its stages, the system to export (`--system`, else the
recommended one; without a reranker) as members, sources and weights, and streams the documents. A format that can also
fill a server has

    def load(source: Source, folder: Path, *, url: str) -> dict

which loads what `write` wrote into the server at `url`, and returns notes for the manifest.

`export.export` does the rest: it writes beside the output and renames, the manifest last; finds an export that is there
already; checks counts; and refuses to overwrite anything else. Heavy libraries are imported where they are used, by
`formats.needed`, and are extras of the package, one for each engine.
"""
