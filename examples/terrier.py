"""A run's systems in PyTerrier: pip install 'acclimate[terrier]'.

python examples/terrier.py run "how do I reset the thing"
"""

import argparse

import acclimate

parser = argparse.ArgumentParser()
parser.add_argument("run")
parser.add_argument("query")
arguments = parser.parse_args()

run = acclimate.open(arguments.run)
recommended, bm25 = run.terrier(k=20), run.terrier(k=20, system="bm25")

# Transformers like any others: they can be cut (%), joined (|), fed to a reranker (>>) and put into pt.Experiment.
for name, transformer in (("recommended", recommended), ("bm25", bm25)):
    results = transformer.search(arguments.query)
    print(name)
    print(results[["rank", "docno", "score"]].head(5).to_string(index=False))
