"""Tasks for lm_eval: items with stable identities, and answers logged one by one.

lm_eval reads the YAML files below this folder; the Python modules beside them are what those files call.
"""
