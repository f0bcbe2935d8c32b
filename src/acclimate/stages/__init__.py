"""The stages, a file each: settings, check, estimate, work, and what is read and written. `chain` is their order,
`runs` begins and opens runs of them, and `judges` is whom `filter` asks."""

# In the order of the chain, whose `STAGES` has their functions: to read these is to import all that they work with.
NAMES = "index sample seed generate filter steer mine train label distill evaluate".split()
