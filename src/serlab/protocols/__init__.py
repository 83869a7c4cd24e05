"""Protocols: named ways to split a corpus, and splits in files."""

from serlab.protocols.base import Fold, Split, disjoint
from serlab.protocols.named import default_protocol, definitions, fitting_split, protocol_names, split

__all__ = ["Fold", "Split", "default_protocol", "definitions", "disjoint", "fitting_split", "protocol_names", "split"]
