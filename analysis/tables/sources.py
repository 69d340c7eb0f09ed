"""What tables can be made from: `ReportTable.needs` names these, the steps beside the tables, and other tables."""

from __future__ import annotations

from ..schema.declare import Source

__all__ = ["ANSWERS", "BASELINES", "LOGS", "PAIRING", "PERPLEXITY_CHANGES", "PROFILE_RECORDS", "ROLE_RUNS", "SETTINGS"]

LOGS = Source("logs", "Runs and items that were read: `analysis.logs.Logs`.")
BASELINES = Source("baselines", "What each task of each run is compared with: `analysis.compare.baselines.Baselines`.")
PAIRING = Source("pairing", "What may be compared: `analysis.compare.pairing.Pairing`.")
ANSWERS = Source("answers", "Answers to all items whose options have roles: `analysis.answers.answers.Answers`.")
ROLE_RUNS = Source("role_runs", "One row a run that has such items: run, baseline, base_model, method, sparsity, bits.")
PERPLEXITY_CHANGES = Source("perplexity_changes", "Perplexities beside their baselines': table PERPLEXITIES.")
PROFILE_RECORDS = Source("profile_records", "Records of bytes, memory and speed: `analysis.logs.profiles.Profile`.")
SETTINGS = Source("settings", "What tests and intervals are made with: `analysis.Settings`.")
