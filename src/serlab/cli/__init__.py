"""The command line: parsing only; heavy imports happen inside the commands."""
