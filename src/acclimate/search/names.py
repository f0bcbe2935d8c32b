"""The names of retrievers and students, and what each is."""

# What `distill.student` may name -> the kind of retriever that it makes. `-query` trains the query encoder alone.
KINDS = {
    "dense": "dense",
    "dense-query": "dense",
    "late-interaction": "late-interaction",
    "late-interaction-query": "late-interaction",
    "sparse": "sparse",
    "sparse-query": "sparse",
    "static": "static",
}
# Kinds that no base is of: where such a student starts is made from base and corpus, and is measured, too.
MADE = ("sparse", "static")
