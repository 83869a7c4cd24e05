"""Fuzzers that check serlab with damaged and odd audio, model folders, tables, corpora and arguments.

A *kind* is a module with three names: ``WARM`` (modules imported once, before the first input),
``prepare(seeds)`` (valid inputs, made once) and ``make(random, seeds, folder)``. The latter writes
one input into a folder and returns a :class:`~fuzz.cases.Case`: a description of the input, and a
judge that yields faults. An input depends only on its kind, seed and number, so a failure can be
replayed by name.
"""
