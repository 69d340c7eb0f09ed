"""A method and a data set for lm-eval-ext, in a package of their own."""

from typing import Literal

from lm_eval_ext.contract.item import document
from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.datasets.dataset import Dataset
from lm_eval_ext.models.native.method import MatrixMethod


class Sign(MatrixMethod):
    """One bit a weight: its sign, times the mean magnitude of its row."""

    kind = "quantize"
    keeps_zeros = False
    method: Literal["sign"] = "sign"

    @property
    def asked_bits(self):
        """Bits a weight; recipes, labels and evidence state it."""
        return 1.0

    def apply(self, weight, matrix):
        """The compressed matrix; `weight` is not changed."""
        signs = 2 * (weight >= 0).to(weight.dtype) - 1
        return signs * weight.abs().mean(dim=1, keepdim=True)

    def breaches(self, weight):
        """Rows that hold more than two values, and rows looked at: a later step may not undo this one."""
        return sum(len(row.unique()) > 2 for row in weight), len(weight)


SCHEME = Scheme("parcels", {"courier": "toward", "neighbour": "against", "untold": "neutral"})
ROLES = ("courier", "neighbour", "untold")
TEXTS = ("The courier", "The neighbour", "Can't be told")


def load(metadata):
    """One question a place of the options; the last option is right."""
    for number in range(3):
        order = [(number + place) % 3 for place in range(3)]
        yield document(
            scheme=SCHEME, benchmark="parcels", category="doors", name=number, cluster="doors/1",
            context=f"A parcel was left at door {number}.", question="Who opened it?",
            options=[TEXTS[o] for o in order], roles=[ROLES[o] for o in order], key=order.index(2),
        )  # fmt: skip


PARCELS = Dataset(
    name="parcels", scheme=SCHEME, load=lambda metadata: list(load(metadata)), citation="made up", licence="CC0",
    tasks={"parcels_letters": "letters"},
)  # fmt: skip
