"""``serlab cache show`` and ``serlab cache clear``."""

from __future__ import annotations

from typing import Annotated

import typer

from serlab.cli import output


def register(app: typer.Typer) -> None:
    """Add the commands."""
    cache = typer.Typer(help="Show or clear cached features.", no_args_is_help=True)
    cache.command()(show)
    cache.command()(clear)
    app.add_typer(cache, name="cache")


def show() -> None:
    """List the cached features of each front end: entries (one view of one clip), size, time of last use.

    The cache is in the user's cache folder or in $SERLAB_CACHE. It grows to $SERLAB_CACHE_GB gigabytes (20); then the
    least recently used entries are removed.

    Example:
        serlab cache show
    """
    import time

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from serlab.core.progress import clock, shown
    from serlab.frontends.cache import features_folder, holdings, limit_bytes
    from serlab.training import encoder_folder

    held = holdings()
    table = Table("front end", "entries", "size", "last used", box=None)
    for holding in held:
        age = clock(max(0.0, time.time() - holding.used))
        table.add_row(Text(shown(_name(holding.frontend))), f"{holding.entries:,}", _size(holding.bytes), f"{age} ago")
    if held:
        Console().print(table)
    total = sum(holding.bytes for holding in held)
    output.lines([f"{_size(total)} of {_size(limit_bytes())} in {features_folder()}"])
    encoders = encoder_folder.kept()
    if encoders:
        size = sum(each for _, each in encoders)
        output.lines([f"pretrained encoders: {len(encoders)}, {_size(size)} in {encoder_folder.home()}"])


def clear(
    unused_days: Annotated[float, typer.Option(min=0, help="Only what was not used for this many days.")] = 0.0,
) -> None:
    """Remove cached features and the encoders that runs have pretrained; they are made again when they are needed.

    Examples:
        serlab cache clear

        serlab cache clear --unused-days 30
    """
    from serlab.frontends import cache
    from serlab.training import encoder_folder

    print(f"{_size(cache.clear(unused_days) + encoder_folder.clear(unused_days))} freed")


def _name(frontend: dict[str, object]) -> str:
    """Name of a front end, with the settings that distinguish it from others of its kind."""
    shown = [str(frontend.get("frontend", "?"))]
    shown += [f"{key} {frontend[key]}" for key in ("layers", "bands", "precision", "rounded") if key in frontend]
    weights = frontend.get("weights")
    return ", ".join([*shown, f"weights {str(weights)[:8]}"] if weights else shown)


def _size(count: float) -> str:
    """Format a number of bytes.

    >>> _size(512), _size(2_500_000), _size(20e9)
    ('1 kB', '2.5 MB', '20.0 GB')
    """
    if count < 1e6:
        return f"{round(count / 1e3)} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
