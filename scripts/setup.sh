# Sourced by quickstart, test and the scripts: makes this machine and this checkout ready. Repeating it is cheap.
# Sets $root and $bin; needs bash.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.venv/bin

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# What each system package is for stands in CONTRIBUTING.md.
declare -A packages=(
  [runc]=runc [conmon]=conmon [mmdebstrap]=mmdebstrap [newuidmap]=uidmap [slirp4netns]=slirp4netns
  [nft]=nftables [ip]=iproute2 [iptables]=iptables [nsenter]=util-linux [tar]=tar [skopeo]=skopeo
  [rclone]=rclone
)
# Only what tests need.
declare -A test_packages=(
  [docker-registry]=docker-registry [busybox]=busybox-static [podman]=podman [caddy]=caddy [nginx]=nginx-light
  [mkfs.btrfs]=btrfs-progs [mkfs.xfs]=xfsprogs
)

missing_packages() {
  local command list=()
  for command in "${!packages[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || list+=("${packages[$command]}")
  done
  [ "${1:-}" = dev ] && for command in "${!test_packages[@]}"; do
    PATH=$PATH:/usr/sbin command -v "$command" >/dev/null || list+=("${test_packages[$command]}")
  done
  python3 -c 'import ensurepip, venv' 2>/dev/null || list+=(python3-venv)
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || list+=(debian-archive-keyring)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || list+=(ca-certificates)
  printf '%s\n' "${list[@]}" | sort -u | xargs
}

# install_system_packages [dev]: "dev" adds what only tests need.
install_system_packages() {
  local wanted
  wanted=$(missing_packages "${1:-}")
  [ -z "$wanted" ] && return 0
  command -v apt-get >/dev/null || die "Windlass needs these programs, and this machine has no apt-get to install them: $wanted"
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; then
      as_root=(sudo)
    else
      die "Windlass needs system packages that only an administrator can install. Ask for:
  sudo apt-get install --no-install-recommends $wanted"
    fi
  fi
  say "Installing system packages: $wanted"
  "${as_root[@]}" apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
  # shellcheck disable=SC2086 - a list of words on purpose
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null ||
    die "apt-get could not install: $wanted"
  [ "${1:-}" = dev ] || return 0
  # Tests start these programs themselves; packages start them as services.
  local service
  for service in caddy nginx docker-registry; do
    case " $wanted " in *" $service"*) "${as_root[@]}" systemctl disable -q --now "$service" 2>/dev/null || true ;; esac
  done
  # Not every release has it; without it sandboxes are tested at one level only.
  command -v runsc >/dev/null ||
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends runsc >/dev/null 2>&1 ||
    say "There is no package runsc: gVisor is not tested here."
}

python_for_venv() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  die "Windlass needs Python 3.10 or newer with venv (on Debian and Ubuntu: python3-venv)."
}

# pip before 25.1 knows no dependency groups, and Python before 3.11 reads them as pip does.
development_tools() {
  "$bin/python" - "$root/pyproject.toml" <<'PY'
import sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open(sys.argv[1], "rb") as file:
    print("\n".join(tomllib.load(file)["dependency-groups"]["dev"]))
PY
}

# install_windlass [dev]: an editable install; "dev" adds the tools of the checks and tests.
install_windlass() {
  local stamp=$root/.venv/.made-from mark
  mark=$(sha256sum "$root/pyproject.toml" | cut -c1-16)-${1:-user}
  [ "$(cat "$stamp" 2>/dev/null)" = "$mark" ] && [ -x "$bin/windlass" ] && return
  [ -x "$bin/python" ] || "$(python_for_venv)" -m venv "$root/.venv" || die "could not make the virtual environment $root/.venv"
  say "Installing Windlass into $root/.venv"
  local tools=()
  if [ "${1:-}" = dev ]; then
    mapfile -t tools < <(development_tools)
    [ ${#tools[@]} -gt 0 ] || die "pyproject.toml names no development tools"
  fi
  "$bin/python" -m pip install -q --disable-pip-version-check -e "$root" "${tools[@]}" || die "pip could not install Windlass"
  # pip does that, but not for an editable install; where Python may write no byte code, each start would compile all.
  "$bin/python" -m compileall -q "$root/src"
  echo "$mark" > "$stamp"
}

# Put the command on the PATH by a link; never replaces a file that is not our link.
link_command() {
  local folder=$HOME/.local/bin
  [ "$(id -u)" = 0 ] && folder=/usr/local/bin
  mkdir -p "$folder"
  if [ ! -e "$folder/windlass" ] || [ -L "$folder/windlass" ]; then
    ln -sfn "$bin/windlass" "$folder/windlass"
  fi
  case ":$PATH:" in
    *":$folder:"*) ;;
    *) say "Add $folder to your PATH to call 'windlass' from anywhere." ;;
  esac
}
