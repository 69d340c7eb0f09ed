"""The tables of a report, a family each."""
