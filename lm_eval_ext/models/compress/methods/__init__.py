"""One module a method; importing this package registers them all (without loading torch)."""

from lm_eval_ext.models.compress.methods import magnitude, mlx_affine, random, rtn, wanda

__all__ = ["magnitude", "mlx_affine", "random", "rtn", "wanda"]
