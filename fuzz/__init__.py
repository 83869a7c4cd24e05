"""What must never happen, tried with damaged and odd inputs: audio, model folders, tables, corpora and arguments.

A *kind* is a module with three names: ``WARM`` (modules imported once, before the first input), ``prepare(seeds)``
(sound material, made once) and ``make(random, seeds, folder)``, which writes one input into a folder and returns a
:class:`~fuzz.cases.Case`: the input in words, and a judge that yields what is wrong. An input depends on kind, seed and
number only, so a failure can be tried again by its name.
"""
