"""Who teaches students: scorers rate candidates, and those that help are chosen and weighed."""
