"""The stages, a file each: settings, check, estimate, work, and what is read and written. `chain` is their order,
`runs` begins and opens runs of them, and `judges` is whom `filter` asks."""
