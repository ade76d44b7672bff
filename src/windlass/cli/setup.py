"""`windlass setup`: from nothing to a profile that works."""
from __future__ import annotations

import shutil

import click

from windlass.cli import token

_LOGO = r"""
 __      __.__            .___.__
/  \    /  \__| ____    __| _/|  | _____    ______ ______
\   \/\/   /  |/    \  / __ | |  | \__  \  /  ___//  ___/
 \        /|  |   |  \/ /_/ | |  |__/ __ \_\___ \ \___ \
  \__/\  / |__|___|  /\____ | |____(____  /____  >____  >
"""


@click.command(name="setup", help="Get a token for the platform of this machine, or for one elsewhere, and store it.")
@token.profile_option
@token.server_option
@click.option("--fingerprint", metavar="SHA256", help="Of the certificate that the platform shows.")
def command(profile: str | None, server: str | None, fingerprint: str | None) -> None:
    click.echo(_LOGO)
    if shutil.which("windlass") is None:
        click.echo("Note: `windlass` is not on your PATH; `python -m windlass.cli` is the same.\n")
    token.obtain(profile, server=server, fingerprint=fingerprint)
    click.echo("\nNext: write a function, and `windlass run` it. `windlass doctor` says what this machine can give.")
