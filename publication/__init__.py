"""The project's own figures: from the tables in ``results/`` to the README and the pages of ``docs/``."""
