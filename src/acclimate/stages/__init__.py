"""The stages of a run, one file each: settings, checks, cost estimate, work, and output.

`chain` calls them in order, `runs` creates and opens runs, `raters` supplies the scores that `filter` reads. `judge`,
`forgetting` and `curve` measure a finished run in other ways.
"""

# In the order of the chain. Kept apart from `chain.STAGES`, whose import loads everything that stages work with.
NAMES = "index sample seed generate filter steer mine train label distill evaluate".split()
