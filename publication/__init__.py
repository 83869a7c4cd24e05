"""The project's published figures, from the tables in ``results/`` to the README and the pages of ``docs/``."""
