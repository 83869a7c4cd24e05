"""Protocols: named ways to split a corpus, and splits in files."""

from serlab.protocols.generic import PROTOCOLS, Fold, Split, default_protocol, disjoint, protocol_names, split

__all__ = ["PROTOCOLS", "Fold", "Split", "default_protocol", "disjoint", "protocol_names", "split"]
