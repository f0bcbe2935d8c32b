"""Commands by which `against_inpars.py` runs acclimate: in float32, on the first documents of the collection."""

from __future__ import annotations

import sys

FLOAT32 = "from acclimate.base import models; models.fast_bf16 = lambda: False; "
ACCLIMATE = [sys.executable, "-c", f"{FLOAT32}from acclimate.cli.main import main; raise SystemExit(main())"]
SAMPLE = f"""{FLOAT32}
import sys
from pathlib import Path
from acclimate.api.adapt import run_until
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES
from acclimate.stages.runs import new_run
folder, corpus, encoder, docs = sys.argv[1:]
first = {{"method": "first", "n_docs": int(docs), "min_chars": 0, "windows": 0.0, "near_duplicates": 1.0}}
settings = resolve(STAGES, load_recipe("quick"), {{"sample": first, "distill": {{"base": encoder}}}})
run_until(new_run(Path(folder), corpus, settings, recipe="quick", seed=0), until="sample", progress=None)
"""
