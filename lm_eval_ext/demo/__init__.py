"""The demonstration: a small real model from a package, and the main job on the packaged items."""

from lm_eval_ext.demo.model import demo_model
from lm_eval_ext.demo.run import run_demo

__all__ = ["demo_model", "run_demo"]
