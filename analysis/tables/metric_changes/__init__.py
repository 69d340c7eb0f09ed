"""Every metric that lm_eval logged for a line, compared with the baseline's."""
