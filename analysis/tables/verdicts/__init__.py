"""May this run take the place of its baseline? One primary family a run, and one word."""
