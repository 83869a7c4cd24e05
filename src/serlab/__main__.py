"""``python -m serlab``: the command line, as torchrun starts it (``torchrun --nproc_per_node 2 -m serlab``)."""

from serlab.cli import main

if __name__ == "__main__":
    main()
